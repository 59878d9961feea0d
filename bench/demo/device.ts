// A real device of the demo, a process of its own: publishes this machine's counters and acts on the commands that come back.

import { setTimeout as sleep } from "node:timers/promises";

import { connect } from "../../clients/device/src/index.ts";
import { Counters, isReport } from "./counters.ts";
import { endWithParent } from "./parent.ts";

const [broker = "", name = "", first = ""] = process.argv.slice(2);
if (!isReport(first)) throw new Error(`${first} is no report.`);

const JSON_TYPE = { headers: { "content-type": "application/json" } };
/** What a command may ask of a burst and of an interval. */
const MOST_BURST = 10_000;
const LEAST_INTERVAL_MS = 10;

const counters = new Counters();
const device = connect({ brokers: [broker], device: name });
let report = first;
let intervalMs = 1000;
let wake = new AbortController();

process.once("SIGTERM", () => void device.close().then(() => process.exit(0)));
endWithParent();

const publish = (content: object): Promise<void> => device.publish(JSON.stringify(content), JSON_TYPE);

void measure();
for await (const message of device) await act(message.text());

/** Publishes for ever; a new interval or report takes effect at once. */
async function measure(): Promise<void> {
  await device.state.patch({ report, interval: intervalMs });
  while (true) {
    await publish(counters.read(report));
    await sleep(intervalMs, undefined, { signal: wake.signal }).catch(() => (wake = new AbortController()));
  }
}

/** `interval 200`, `burst 100`, `report mem`. What was done is published after it, so that whoever reads the stream knows. */
async function act(command: string): Promise<void> {
  const [verb, value = ""] = command.trim().split(" ");
  const number = Number(value);
  if (verb === "burst" && number >= 1 && number <= MOST_BURST) {
    await Promise.all(Array.from({ length: number }, (_, place) => publish({ burst: place + 1, of: number, ...counters.read(report) })));
  } else if (verb === "interval" && number >= LEAST_INTERVAL_MS) {
    intervalMs = number;
    await device.state.patch({ interval: intervalMs });
  } else if (verb === "report" && isReport(value)) {
    report = value;
    await device.state.patch({ report });
  } else {
    await publish({ cannot: command });
    return;
  }
  await publish({ did: command });
  wake.abort();
}

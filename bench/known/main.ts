// A broker with its devices in one process: the gateway's door is called as the TCP server calls it, without sockets between.

import { memoryUsage } from "node:process";
import { setImmediate as turn, setTimeout as sleep } from "node:timers/promises";

import { startBroker, type Broker } from "../../src/broker.ts";
import { settingsWith } from "../../src/config.ts";
import type { DeviceLine, DeviceSocket, Welcome } from "../../src/core/gateway/types.ts";
import { encodeBody } from "../../src/wire/body.ts";
import type { KnownPlan, KnownResult } from "./measure.ts";

const IN_FLIGHT = 6_400;
/** Devices that are made known, or opened, at the same time. */
const OPENING_AT_ONCE = 5_000;
const WARM_UP_SECONDS = 3;
const BODY = encodeBody(new Uint8Array(128).fill(0x78));

const plan = JSON.parse(process.argv[2] ?? "") as KnownPlan;
const settings = settingsWith({ data: plan.data, http: "127.0.0.1:0", device: "127.0.0.1:0", logLevel: "error", maxConnections: plan.active + OPENING_AT_ONCE });

let answered = 0;

class Device implements DeviceSocket {
  line: DeviceLine | undefined;
  last = 0;
  readonly #ready: () => void;
  readonly #answered: () => void;
  #acked = 0;

  constructor(ready: () => void, onAnswer: () => void) {
    this.#ready = ready;
    this.#answered = onAnswer;
  }

  publish(): void {
    this.last += 1;
    this.line!.publish(this.last, 0, BODY, 0, BODY.length);
  }

  welcome({ last }: Welcome): void {
    this.last = this.#acked = last;
    this.#ready();
  }

  ack(series: number): void {
    answered += series - this.#acked;
    this.#acked = series;
    this.#answered();
  }

  voided = failing("voided");
  refuse = failing("refused");
  broken = failing("broken");
  close = failing("closed");
  credit(): void {}
}

function failing(what: string): (...details: unknown[]) => void {
  return (...details) => {
    throw new Error(`A device was ${what}: ${details.join(" ")}`);
  };
}

let broker = await startBroker(settings);
await everyDevice(plan.known, (name, done) => {
  const device = new Device(
    () => device.publish(),
    () => {
      device.line!.closed();
      done();
    },
  );
  device.line = broker.node.open(device, hello(name, 1));
});
await broker.drain();
await broker.close();

const beforeStart = performance.now();
broker = await startBroker(settings);
const startSeconds = (performance.now() - beforeStart) / 1000;

const active: Device[] = [];
await everyDevice(plan.active, (name, done) => {
  const device = new Device(done, () => undefined);
  active.push(device);
  device.line = broker.node.open(device, hello(name, 2));
});
process.send!(await measure(broker));
await broker.close();
process.disconnect();

async function measure({ node }: Broker): Promise<KnownResult> {
  let sent = answered;
  const publishFor = async (seconds: number): Promise<void> => {
    const until = performance.now() + seconds * 1000;
    while (performance.now() < until) {
      for (; sent - answered < IN_FLIGHT; sent += 1) active[Math.floor(Math.random() * active.length)]!.publish();
      await turn();
    }
  };
  await publishFor(WARM_UP_SECONDS);
  const [answeredBefore, written, started] = [answered, node.status().numbers["checkpoint_bytes_total"] ?? Number.NaN, performance.now()];
  await publishFor(plan.seconds);
  const elapsed = (performance.now() - started) / 1000;
  const perSecond = (answered - answeredBefore) / elapsed;
  const checkpointBytes = (node.status().numbers["checkpoint_bytes_total"] ?? Number.NaN) - written;
  while (answered < sent) await sleep(10);
  return { perSecond, startSeconds, residentMiB: memoryUsage().rss / 2 ** 20, checkpointMiBPerSecond: checkpointBytes / elapsed / 2 ** 20 };
}

/** Calls `open` for each device's name, a bounded number of them unfinished at a time. */
async function everyDevice(count: number, open: (name: string, done: () => void) => void): Promise<void> {
  let unfinished = 0;
  for (let number = 0; number < count; number += 1) {
    unfinished += 1;
    open(`known-${number}`, () => (unfinished -= 1));
    while (unfinished >= OPENING_AT_ONCE) await turn();
  }
  while (unfinished > 0) await turn();
}

function hello(device: string, round: number) {
  const nonce = (BigInt(Date.now()) << 22n) + BigInt(round);
  return { device, session: 0, nonce, leaves: 0, oldest: 1, next: 1, window: 1024 };
}

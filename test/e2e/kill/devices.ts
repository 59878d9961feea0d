// A process of real devices with file outboxes: each keeps a number of publishes unanswered at all times, and journals what it publishes and what was answered.
// Arguments: broker's device address, folder, first device, count, publishes kept in flight.

import { connect, DeviceError } from "../../../clients/device/src/index.ts";
import { Journal, readJournal } from "./journal.ts";

const [, , broker, folder, first, count, inFlight] = process.argv;

let unanswered = 0;

function run(name: string): void {
  const path = `${folder}/${name}.journal`;
  const journal = new Journal(path);
  // p: about to be published, a: answered. The next number goes on after the last one that was about to be.
  let next = readJournal(path).reduce((last, line) => (line.startsWith("p ") ? Math.max(last, Number(line.slice(2))) : last), 0) + 1;
  const device = connect({ brokers: broker!, device: name, outbox: `${folder}/${name}.outbox`, window: 256, maxBackoff: 0.5 });
  let waiting = 0;

  const fill = (): void => {
    const batch: number[] = [];
    while (waiting + batch.length < Number(inFlight)) batch.push(next++);
    for (const number of batch) journal.add(`p ${number}`);
    journal.write();
    for (const number of batch) void publish(number);
  };
  const publish = async (number: number): Promise<void> => {
    waiting += 1;
    unanswered += 1;
    try {
      await device.publish(`${name} ${number}`);
      journal.add(`a ${number}`);
    } catch (error) {
      journal.add(`r ${number} ${error instanceof DeviceError ? error.code : "error"}`);
    }
    waiting -= 1;
    unanswered -= 1;
    if (!due) {
      due = true;
      setImmediate(settle);
    }
  };
  let due = false;
  const settle = (): void => {
    due = false;
    journal.write();
    if (!stopping) fill();
  };
  device.on("broken", (what) => {
    journal.add(`b ${JSON.stringify(what)}`);
    journal.write();
  });
  device.on("connection", ({ state, error }) => {
    if (state === "stopped") journal.add(`b stopped: ${String(error)}`);
    if (process.env["KILL_TRACE"] !== undefined) journal.add(`t ${Date.now()} ${state} ${String(error)}`);
    journal.write();
  });
  fill();
}

let stopping = false;
for (let i = 0; i < Number(count); i += 1) run(`device-${Number(first) + i}`);

process.on("message", (message) => {
  if (message === "count") process.send!({ unanswered });
  if (message === "stop") {
    stopping = true;
    const look = setInterval(() => {
      if (unanswered > 0) return;
      clearInterval(look);
      process.send!({ unanswered: 0 });
      process.exit(0);
    }, 10);
  }
});
process.send!("ready");

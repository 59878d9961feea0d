// What one node's core costs per message, from line to ACK, without disk and sockets: few devices, and many of which each message takes another. `npx tsx bench/micro/node.ts`.
// Processor time, the best of the runs, so that the machine's noise counts least.

import { limitsOf } from "../../src/broker.ts";
import { settingsWith } from "../../src/config.ts";
import type { DeviceLine, DeviceSocket, Welcome } from "../../src/core/gateway/types.ts";
import { CoreNode, type NodeEffects } from "../../src/core/node.ts";
import { Table } from "../../src/core/table/table.ts";

const BUCKETS = 64;
const IN_FLIGHT = 6_400;
/** Messages of one group of the log. */
const GROUP = 1_600;
const RUNS = 5;
const MESSAGES = 320_000;
const BODY = new Uint8Array(128).fill(0x78);
const NOTHING = (): void => {};

const waiting: Device[] = [];

class Device implements DeviceSocket {
  line: DeviceLine | undefined;
  #series = 0;

  publish(): void {
    this.#series += 1;
    this.line!.publish(this.#series, 0, BODY, 0, BODY.length);
  }

  ack(): void {
    acks += 1;
  }

  welcome({ last }: Welcome): void {
    this.#series = last;
    waiting.push(this);
  }

  voided(): void {}
  refuse(): void {
    throw new Error("a publish was refused");
  }

  credit(): void {}
  broken(): void {}
  close(): void {}
}

let acks = 0;

function measure(count: number): void {
  let ticket = 0;
  const table = new Table();
  table.apply(1, "n1.1.1", [{ type: "register", node: "n1", store: "s1", seen: 0, clean: true, address: { http: "", device: "", peer: "" }, zone: "z1" }]);
  table.apply(2, "n1.1.2", [{ type: "begin", bucketCount: BUCKETS, copies: 1, minCopies: 1 }]);
  // The log of a disk that is as fast as memory: each group has a ticket.
  const effects: NodeEffects = {
    write: () => ticket, reset: () => ticket, fill: () => ticket, mark: () => ticket, floor: NOTHING, load: NOTHING, install: NOTHING,
    send: NOTHING, propose: NOTHING, wake: NOTHING, hop: NOTHING, answer: NOTHING, beat: NOTHING,
  };
  const core: CoreNode = new CoreNode({
    id: "n1", incarnation: 1, table, effects, limits: limitsOf(settingsWith({ bucketCount: BUCKETS, maxConnections: 1_000_000 })),
    copyAtStart: () => ({ floor: 1, base: 0, baseEpoch: 0, last: 0, epochs: [], incomplete: false, applied: 0, lastTime: 0 }),
    stateOf: () => ({ get: () => undefined, range: () => [] }),
  });
  const turn = (): void => {
    core.clock(performance.now(), Date.now());
    core.flush();
    core.durable(ticket);
    core.flush();
    ticket += 1;
  };
  core.clock(performance.now(), Date.now());
  ticket = 1;
  core.start();
  turn();
  const devices: Device[] = [];
  while (devices.length < count) {
    const device = new Device();
    device.line = core.open(device, { device: `known-${devices.length}`, session: 0, nonce: 1n, leaves: 0, oldest: 1, next: 1, window: 1024 });
    devices.push(device);
    if (devices.length % GROUP === 0) turn();
  }
  for (let left = 20; left > 0 && waiting.length < count; left -= 1) turn();
  if (waiting.length !== count) throw new Error(`${waiting.length} devices of ${count} are welcome`);
  waiting.length = 0;
  let random = 1;
  const durable: number[] = [];
  let best = Infinity;
  for (let run = 0; run < RUNS; run += 1) {
    const before = process.cpuUsage();
    for (let sent = 0; sent < MESSAGES; sent += GROUP) {
      core.clock(performance.now(), Date.now());
      for (let i = 0; i < GROUP; i += 1) {
        random = (Math.imul(random, 1_664_525) + 1_013_904_223) >>> 0;
        devices[Math.floor((random / 2 ** 32) * count)]!.publish();
      }
      core.flush();
      durable.push(ticket);
      ticket += 1;
      if (durable.length > IN_FLIGHT / GROUP) core.durable(durable.shift()!);
      core.flush();
      core.tick();
    }
    const { user, system } = process.cpuUsage(before);
    best = Math.min(best, ((user + system) * 1000) / MESSAGES);
  }
  if (acks === 0) throw new Error("nothing was acknowledged");
  console.log(`${`from line to ACK, 128 bytes, ${count.toLocaleString("en")} devices`.padEnd(56)} ${best.toFixed(0).padStart(8)} ns a message`);
}

measure(Number(process.argv[2] ?? 1_000));
if (process.argv[2] === undefined) measure(100_000);

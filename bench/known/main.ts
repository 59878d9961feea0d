// A broker with its devices in one process: the gateway's door is called as the TCP server calls it, without sockets between.

import { readFileSync } from "node:fs";
import { memoryUsage } from "node:process";
import { setImmediate as turn } from "node:timers/promises";

import { startBroker } from "../../src/broker.ts";
import { note } from "../../src/cli/output.ts";
import { settingsWith } from "../../src/config.ts";
import type { DeviceLine, DeviceSocket, Welcome } from "../../src/core/gateway/types.ts";
import type { NodeApi } from "../../src/node/api.ts";
import { encodeBody } from "../../src/wire/body.ts";
import type { KnownPlan, KnownResult } from "./measure.ts";

const IN_FLIGHT = 6_400;
/** Devices that are made known, or opened, at the same time. */
const OPENING_AT_ONCE = 5_000;
/** A line of progress for so many devices made known. */
const TOLD_EVERY = 100_000;
const WARM_UP_SECONDS = 3;
const BODY = encodeBody(new Uint8Array(128).fill(0x78));

const plan = JSON.parse(process.argv[2] ?? "") as KnownPlan;
const connections = (plan.step === "measure" ? plan.active : 0) + OPENING_AT_ONCE;
const settings = settingsWith({ data: plan.data, http: "127.0.0.1:0", device: "127.0.0.1:0", logLevel: "error", maxConnections: connections });

let answered = 0;
/** What the gateway told since the last turn: it must not be called from inside its own calls. */
const welcomed: Device[] = [];
const acked: Device[] = [];

class Device implements DeviceSocket {
  line: DeviceLine | undefined;
  #last = 0;
  #acked = 0;

  publish(): void {
    this.#last += 1;
    this.line!.publish(this.#last, 0, BODY, 0, BODY.length);
  }

  welcome({ last }: Welcome): void {
    this.#last = this.#acked = last;
    welcomed.push(this);
  }

  ack(series: number): void {
    answered += series - this.#acked;
    this.#acked = series;
    acked.push(this);
  }

  voided(series: number, code: string): void {
    fail("voided", series, code);
  }

  refuse(expected: number, code: string): void {
    fail("refused", expected, code);
  }

  broken(generation: number, last: number): void {
    fail("broken", generation, last);
  }

  close(code: string, detail: string): void {
    fail("closed", code, detail);
  }

  credit(): void {}
}

function fail(what: string, ...details: unknown[]): never {
  throw new Error(`A device was ${what}: ${details.join(" ")}`);
}

/** Processor time of this thread so far, microseconds. */
function threadMicroseconds(): number {
  return Number(readFileSync("/proc/thread-self/schedstat", "utf8").split(" ")[0]) / 1000;
}

const beforeStart = performance.now();
const broker = await startBroker(settings);
const startSeconds = (performance.now() - beforeStart) / 1000;
if (plan.step === "make") await makeKnown(broker.node, plan.known);
else process.send!(await measure(broker.node, await connectActive(broker.node, plan.active), plan.seconds));
await broker.close();
process.disconnect();

function open(node: NodeApi, number: number): Device {
  const device = new Device();
  device.line = node.open(device, { device: `known-${number}`, session: 0, nonce: BigInt(Date.now()) << 22n, leaves: 0, oldest: 1, next: 1, window: 1024 });
  return device;
}

/** Every device connects, publishes once and leaves. */
async function makeKnown(node: NodeApi, known: number): Promise<void> {
  let opened = 0;
  for (let left = 0; left < known; await turn()) {
    node.turn();
    for (; opened < known && opened - left < OPENING_AT_ONCE; opened += 1) open(node, opened);
    for (const device of welcomed.splice(0)) device.publish();
    for (const device of acked.splice(0)) {
      device.line!.closed();
      left += 1;
      if (left % TOLD_EVERY === 0) note(`${left.toLocaleString("en")} of ${known.toLocaleString("en")} devices are known; ${Math.round(memoryUsage().rss / 2 ** 20)} MiB resident`);
    }
  }
}

async function connectActive(node: NodeApi, active: number): Promise<readonly Device[]> {
  const devices: Device[] = [];
  for (let connected = 0; connected < active; await turn()) {
    node.turn();
    while (devices.length < active && devices.length - connected < OPENING_AT_ONCE) devices.push(open(node, devices.length));
    connected += welcomed.splice(0).length;
  }
  return devices;
}

async function measure(node: NodeApi, devices: readonly Device[], measuredSeconds: number): Promise<KnownResult> {
  let sent = answered;
  const publishFor = async (seconds: number): Promise<void> => {
    for (const until = performance.now() + seconds * 1000; performance.now() < until; await turn()) {
      node.turn();
      acked.length = 0;
      for (; sent - answered < IN_FLIGHT; sent += 1) devices[Math.floor(Math.random() * devices.length)]!.publish();
    }
  };
  const checkpointBytes = (): number => node.status().numbers["checkpoint_bytes_total"];

  await publishFor(WARM_UP_SECONDS);
  const before = { answered, written: checkpointBytes(), at: performance.now(), processor: threadMicroseconds() };
  await publishFor(measuredSeconds);
  const elapsed = (performance.now() - before.at) / 1000;
  const perSecond = (answered - before.answered) / elapsed;
  const microseconds = (threadMicroseconds() - before.processor) / (answered - before.answered);
  const checkpointMiBPerSecond = (checkpointBytes() - before.written) / elapsed / 2 ** 20;
  while (answered < sent) await turn();
  return { perSecond, microseconds, startSeconds, residentMiB: memoryUsage().rss / 2 ** 20, checkpointMiBPerSecond };
}

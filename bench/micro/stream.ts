// What the streams cost per message, without log, disk and sockets: `npx tsx bench/micro/stream.ts`. Processor time, the best of five runs, so that the machine's noise counts least.

import { ENTRY_KIND, type Entry } from "../../src/core/entry.ts";
import type { HopAnswer } from "../../src/core/hop.ts";
import { Admission } from "../../src/core/stream/admission.ts";
import { StreamMachine } from "../../src/core/stream/machine.ts";

const MESSAGES = 400_000;
/** Messages proposed before they are committed, as a turn of the node would. */
const TURN = 800;
const GATEWAY = { node: "n1", incarnation: 1 };

interface Rig {
  readonly machine: StreamMachine;
  readonly admission: Admission;
  /** Entries proposed and not yet applied. */
  readonly tail: Entry[];
  readonly handles: number[];
  acked: number;
}

function rig(devices: number, cachedDevices: number): Rig {
  const tail: Entry[] = [];
  let index = 0;
  const append = (payload: Uint8Array, time: number): number => {
    index += 1;
    tail.push({ index, epoch: 1, kind: ENTRY_KIND.machine, time, payload });
    return index;
  };
  const machine = new StreamMachine({ get: () => undefined, range: () => [] }, { cachedDevices });
  const limits = { window: 64, sessionsPerDevice: 4, keyRetentionMs: 1000, keySpaceBytes: 1_000_000, bodyBytes: 65_536, held: 64, waiting: devices + 1, seats: devices + 1 };
  const made: Rig = { machine, tail, handles: [], acked: 0, admission: new Admission(machine, limits, (_, answer) => take(made, answer)) };
  made.admission.serve({ propose: append, confirm: () => 1 });
  made.admission.wall = 1_795_185_720_000;
  made.admission.opened(1);
  for (let device = 0; device < devices; device += 1) {
    made.admission.request(GATEWAY, { type: "open", request: device, device: `device-${device}`, publisher: "", nonce: 1n, window: 64, leaves: 0, attach: true });
  }
  commit(made);
  return made;
}

function take(rig: Rig, answer: HopAnswer): void {
  if (answer.type === "attached") rig.handles.push(answer.handle);
  else if (answer.type === "acked") rig.acked = Math.max(rig.acked, answer.series);
}

function commit({ machine, admission, tail }: Rig): void {
  for (const entry of tail) machine.apply(entry);
  tail.length = 0;
  admission.appliedTo(machine.index);
}

function nanosecondsSince(start: NodeJS.CpuUsage): number {
  const { user, system } = process.cpuUsage(start);
  return (user + system) * 1000;
}

function measure(name: string, devices: number, bytes: number): void {
  const made = rig(devices, devices);
  const { handles } = made;
  const body = new Uint8Array(bytes).fill(0x61);
  let series = 0;
  let best = Infinity;
  for (let run = 0; run < 5; run += 1) {
    const start = process.cpuUsage();
    for (let done = 0; done < MESSAGES; ) {
      for (let turn = 0; turn < TURN; turn += 1, done += 1) {
        const device = done % devices;
        if (device === 0) series += 1;
        made.admission.publish(handles[device]!, series, 0, body, 0, bytes);
      }
      commit(made);
    }
    best = Math.min(best, nanosecondsSince(start) / MESSAGES);
  }
  const published = made.machine.index - devices;
  if (published !== 5 * MESSAGES) throw new Error(`${name}: ${published} messages applied, not ${5 * MESSAGES}`);
  console.log(`${name.padEnd(56)} ${best.toFixed(0).padStart(8)} ns a message`);
}

function measureCheckpoint(devices: number): void {
  const made = rig(devices, devices);
  const body = new Uint8Array(128);
  let best = Infinity;
  let bytes = 0;
  for (let series = 1; series <= 100; series += 1) {
    for (const handle of made.handles) made.admission.publish(handle, series, 0, body, 0, 128);
    commit(made);
    if (series % 10 !== 0) continue;
    const start = process.cpuUsage();
    const { writes } = made.machine.checkpoint();
    best = Math.min(best, nanosecondsSince(start) / devices);
    if (writes.length < devices) throw new Error(`${writes.length} records, but ${devices} devices changed`);
    bytes = writes.reduce((sum, { value }) => sum + (value?.length ?? 0), 0) / devices;
    made.machine.checkpointed();
  }
  console.log(`${`take a checkpoint of ${devices} devices`.padEnd(56)} ${best.toFixed(0).padStart(8)} ns and ${bytes.toFixed(0)} bytes a device`);
}

measure("admit, encode, apply, acknowledge 128 bytes, 100 devices", 100, 128);
measure("the same, 1 KiB", 100, 1024);
measure("the same, 128 bytes, 100,000 devices", 100_000, 128);
measureCheckpoint(5_000);

// Idle devices: how much resident memory the broker needs for each connection that it holds.

import { readFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";

import { bellhopDriver } from "./load/bellhop.ts";
import type { Connection } from "./load/driver.ts";
import { needOpenFiles } from "./machine.ts";

const CONNECTIONS = 10_000;
/** Each is a file of the broker and one of this process, which have some others open. */
const OPEN_FILES = CONNECTIONS + 200;
const OPENING_AT_ONCE = 64;
/** Time for collections of garbage and for a checkpoint to pass by. */
const SETTLE_MS = 10_000;

/** Opens devices, each with a session of its own, and reads the broker's resident size before and after, as Linux tells it. */
export async function measureIdle(at: string, pid: number): Promise<string> {
  needOpenFiles(OPEN_FILES);
  const driver = bellhopDriver({
    peer: "bellhop", at, httpAt: "", run: "idle", connections: CONNECTIONS, inFlight: 1, payloadBytes: 4, rate: 0, warmUpSeconds: 0, seconds: 0, readBack: false,
  });
  let lost = 0;
  const events = { answered: () => undefined, failed: () => void (lost += 1) };
  const before = residentBytes(pid);
  const connections: Connection[] = [];
  while (connections.length < CONNECTIONS) {
    const first = connections.length;
    const count = Math.min(OPENING_AT_ONCE, CONNECTIONS - first);
    connections.push(...(await Promise.all(Array.from({ length: count }, (_, place) => driver.connect(first + place, events)))));
  }
  await sleep(SETTLE_MS);
  const after = residentBytes(pid);
  for (const connection of connections) connection.close();
  if (lost > 0) throw new Error(`${lost} of ${CONNECTIONS} idle connections were lost.`);
  const each = (after - before) / CONNECTIONS / 1024;
  return `Idle: ${CONNECTIONS.toLocaleString("en")} connected devices take ${each.toFixed(1)} KiB of resident memory each (${mib(before)} MiB before, ${mib(after)} MiB with them).\n`;
}

function residentBytes(pid: number): number {
  return Number(/^VmRSS:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1]) * 1024;
}

function mib(bytes: number): string {
  return (bytes / 1024 / 1024).toFixed(0);
}

// Nodes that the others cannot reach: a new one and one that comes back, beside two that hear each other. They depart nobody and are departed; the others go on (R6).

import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { startBroker, type Broker } from "../../src/broker.ts";
import { settingsWith, type Settings } from "../../src/config.ts";
import { MemoryControl, SharedControl } from "../../src/control/memory.ts";
import type { Command } from "../../src/core/table/commands.ts";
import { freePort } from "../../bench/processes.ts";
import { eventually, PATIENCE_MS } from "../cluster/eventually.ts";
import { ask } from "../cluster/steady.ts";

const shared = new SharedControl();
const running = new Map<string, Broker>();
let folder: string;

/** Brokers in one process, each over its own door to one control log: a stall is a stall of all, and nobody's silence. */
async function start(node: string, chosen: Partial<Settings> = {}): Promise<void> {
  const ports = { http: "127.0.0.1:0", device: "127.0.0.1:0", peer: "127.0.0.1:0" };
  const settings = settingsWith({ node, data: join(folder, node), ...ports, cluster: "c", copies: 3, minCopies: 2, bucketCount: 4, logLevel: "fatal", minFreeBytes: 0, ...chosen });
  running.set(node, await startBroker(settings, { control: new MemoryControl(shared) }));
}

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "bellhop-unreached-"));
  await Promise.all(["n1", "n2", "n3"].map((node) => start(node)));
}, PATIENCE_MS);
afterAll(async () => {
  for (const broker of running.values()) await broker.close();
  rmSync(folder, { recursive: true });
});

async function departures(): Promise<Extract<Command, { type: "depart" }>[]> {
  const { json } = await ask(running.get("n1")!.httpAddress, "GET", "/v1/control-log?after=0&limit=1000");
  const entries = json.entries as { readonly commands: readonly Command[] }[];
  return entries.flatMap(({ commands }) => commands).filter((command) => command.type === "depart");
}

test("they depart nobody, and what is published meanwhile is stored", { timeout: 3 * PATIENCE_MS }, async () => {
  await running.get("n3")!.close();
  const before = (await departures()).length;
  const nobodyListens = `127.0.0.1:${await freePort()}`;
  await start("n3", { advertisePeer: nobodyListens });
  await start("n4", { advertisePeer: nobodyListens });
  // Each is departed once, begins anew, and is departed again: this time the others wait for longer than it would.
  const twice = (all: Awaited<ReturnType<typeof departures>>): boolean => ["n3", "n4"].every((bad) => new Set(all.filter(({ node }) => node === bad).map(({ incarnation }) => incarnation)).size > 1);
  const found = await eventually(async () => (await departures()).slice(before), twice);
  expect(twice(found)).toBe(true);
  expect(found.filter(({ by }) => by === "n3" || by === "n4")).toEqual([]);
  const stored = await ask(running.get("n1")!.httpAddress, "POST", "/v1/devices/lamp/messages", { body: "on", headers: { "content-type": "text/plain" } });
  expect(stored.status).toBe(201);
});

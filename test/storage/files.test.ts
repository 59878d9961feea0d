// What only real files show: the lock, restarts, inspecting, the state store's compaction, retention on the disk.

import { spawn } from "node:child_process";
import { existsSync, readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { open } from "lmdb";
import { afterEach, beforeEach, expect, test } from "vitest";
import { inspectLog } from "../../src/storage/inspect.ts";
import type { LogItem } from "../../src/storage/inspect.ts";
import { openStorage } from "../../src/storage/open.ts";
import type { Storage } from "../../src/storage/open.ts";
import type { LogEvents } from "../../src/storage/port.ts";
import { openStateStore } from "../../src/storage/state-store.ts";
import { entry } from "../conformance/storage.ts";

const EVENTS: LogEvents = {
  durable: () => undefined,
  full: () => undefined,
  failed: (error) => {
    throw error;
  },
};
const SMALL = { segmentBytes: 64 * 1024, groupBytes: 4096, pinnedSegments: 1, poolSegments: 1 };

let directory: string;
let storage: Storage | undefined;

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "bellhop-files-"));
});

afterEach(async () => {
  await storage?.close();
  storage = undefined;
  await rm(directory, { recursive: true });
});

async function openSmall(): Promise<Storage> {
  storage = await openStorage(directory, SMALL, EVENTS);
  return storage;
}

async function close(): Promise<void> {
  await storage?.close();
  storage = undefined;
}

async function inspect(): Promise<LogItem[]> {
  const items: LogItem[] = [];
  for await (const item of inspectLog(directory)) items.push(item);
  return items;
}

/** Appends in turns, so that there are groups, and waits for the disk. */
async function append(bucket: number, from: number, to: number): Promise<void> {
  for (let index = from; index <= to; index += 1) {
    storage?.log.append(bucket, entry(index, 1, `entry ${index} `.repeat(10)));
    if (index % 20 === 0) await storage?.log.sync();
  }
  await storage?.log.sync();
}

test("a directory that is open is locked: in this process, in another, and not by a dead one", async () => {
  await openSmall();
  await expect(openStorage(directory, SMALL, EVENTS)).rejects.toMatchObject({ name: "StorageError", code: "locked" });
  await close();
  expect(existsSync(join(directory, "lock"))).toBe(false);

  const child = spawn(process.execPath, ["-e", "setInterval(() => {}, 1000)"], { stdio: "ignore" });
  try {
    const stat = readFileSync(`/proc/${child.pid}/stat`, "latin1");
    writeFileSync(join(directory, "lock"), `${child.pid} ${stat.slice(stat.lastIndexOf(")") + 2).split(" ")[19]}`);
    await expect(openSmall()).rejects.toThrow(`Process ${child.pid} has ${directory} open`);
  } finally {
    const gone = new Promise((resolve) => child.once("exit", resolve));
    child.kill("SIGKILL");
    await gone;
  }
  await openSmall();
  await close();

  // The same process id at another time is another process.
  writeFileSync(join(directory, "lock"), `${process.ppid} 1`);
  await openSmall();
});

test("restarts without a clean end leave small files, and lose nothing", async () => {
  for (let start = 0; start < 5; start += 1) {
    const { recovery } = await openSmall();
    expect(recovery).toMatchObject({ clean: true });
    await append(3, start * 10 + 1, start * 10 + 10);
    await close();
  }
  const sizes = readdirSync(join(directory, "log")).filter((name) => name.endsWith(".seg")).map((name) => statSync(join(directory, "log", name)).size);
  expect(sizes.filter((size) => size >= SMALL.segmentBytes).length).toBeLessThanOrEqual(1);
  const { log } = await openSmall();
  expect(await log.readRange(3, 1, 100, 1e6)).toHaveLength(50);
});

test("inspecting shows segments, groups and records as they are, changes nothing, and names damage", async () => {
  await openSmall();
  await append(1, 1, 40);
  storage?.log.floor(1, 5);
  await storage?.log.sync();
  const before = readdirSync(join(directory, "log"));
  const items = await inspect();
  expect(readdirSync(join(directory, "log"))).toEqual(before);
  expect(items.filter((item) => item.what === "record" && item.type === "entry")).toHaveLength(40);
  expect(items.find((item) => item.what === "record" && item.type === "floor")).toMatchObject({ bucket: 1, index: 5 });
  expect(items.filter((item) => item.what === "damage")).toEqual([]);
  await close();

  const group = items.filter((item) => item.what === "group")[1];
  const path = join(directory, "log", "00000001.seg");
  const bytes = readFileSync(path);
  bytes[(group?.offset ?? 0) + 60] = (bytes[(group?.offset ?? 0) + 60] as number) ^ 255;
  writeFileSync(path, bytes);
  expect((await inspect()).find((item) => item.what === "damage")).toMatchObject({ segment: 1, text: expect.stringMatching(/group \d+ follows group \d+$/) as string });
});

test("segments go when they may, files are used again, and a slow bucket does not hold them", async () => {
  const { log } = await openSmall();
  await append(9, 1, 3); // the slow one: never checkpointed
  for (let round = 0; round < 12; round += 1) {
    await append(1, round * 400 + 1, round * 400 + 400);
    log.floor(1, round * 400 + 300);
    log.checkpointed(1, round * 400 + 350);
    await log.sync();
  }
  for (let tries = 0; log.segments().length > 6 && tries < 100; tries += 1) await log.sync();
  expect(log.stats().bytesWritten).toBeGreaterThan(12 * SMALL.segmentBytes / 2);
  expect(log.segments().length).toBeLessThanOrEqual(6);
  expect(readdirSync(join(directory, "log")).length).toBeLessThanOrEqual(9);
  expect((await log.readRange(9, 1, 3, 1e6)).map((one) => one.index)).toEqual([1, 2, 3]);
  expect((await log.read(1, [5], 1e6)).length).toBe(0);
  await close();
  const reopened = await openSmall();
  expect(reopened.recovery).toMatchObject({ clean: true, damage: [] });
  expect((await reopened.log.readRange(9, 1, 3, 1e6)).map((one) => one.index)).toEqual([1, 2, 3]);
});

test("a state file that is mostly free pages is copied compactly at opening, with nothing lost", async () => {
  let state = await openStateStore(directory);
  const keys = Array.from({ length: 4000 }, (_, i) => `device/${i}`);
  await state.checkpoint(1, 10, keys.map((key) => ({ key, value: new Uint8Array(8000).fill(key.length) })));
  await state.checkpoint(1, 11, keys.slice(10).map((key) => ({ key, value: undefined })));
  const before = state.stats().bytes;
  await state.close();
  state = await openStateStore(directory);
  expect(state.stats().bytes).toBeLessThan(before / 4);
  expect(state.applied(1)).toBe(11);
  expect([...state.range(1, "device/")].map(([key]) => key)).toEqual(keys.slice(0, 10));
  expect(state.get(1, "device/3")).toHaveLength(8000);
  await state.close();
  expect(readdirSync(directory).filter((name) => name.includes("compact"))).toEqual([]);
});

test("whatever byte of the state store's records is another, the next start says so", async () => {
  let state = await openStateStore(directory);
  const writes = Array.from({ length: 300 }, (_, i) => ({ key: `device/${i}`, value: Buffer.from(`value-of-${i}-`.repeat(3)) }));
  await state.checkpoint(3, 10, writes);
  await state.checkpoint(3, 11, [{ key: "device/7", value: undefined }, { key: "device/8", value: Buffer.from("another") }, { key: "new", value: Buffer.from("one") }]);
  await state.replace(4, 5, writes.slice(0, 3));
  await state.replace(4, 6, writes.slice(1, 2));
  await state.drop(5);
  await state.close();
  const path = join(directory, "state.lmdb");
  const good = readFileSync(path);
  state = await openStateStore(directory);
  expect([state.applied(3), state.applied(4), [...state.range(3, "")].length]).toEqual([11, 6, 300]);
  await state.close();
  for (const text of ["value-of-100-value", "device/100", "another"]) {
    const bad = Buffer.from(good);
    let found = 0;
    // Older pages hold it too: every place is hit, so that the one that counts is among them.
    for (let at = bad.indexOf(text); at >= 0; at = bad.indexOf(text, at + 1)) {
      bad[at + text.length - 1]! ^= 1;
      found += 1;
    }
    expect(found).toBeGreaterThan(0);
    writeFileSync(path, bad);
    await expect(openStateStore(directory), text).rejects.toMatchObject({ code: "damaged" });
  }
  writeFileSync(path, good);
  await (await openStateStore(directory)).close();
});

test("a checkpoint is one transaction: the store never has the writes without the index, or one bucket's key in another's range", async () => {
  const state = await openStateStore(directory);
  await state.checkpoint(255, 4, [{ key: "k", value: Buffer.from("v") }]);
  await state.checkpoint(256, 5, [{ key: "k", value: Buffer.from("w") }]);
  expect([...state.range(255, "")]).toHaveLength(1);
  await expect(state.checkpoint(255, 9, [{ key: "x".repeat(2000), value: Buffer.from("v") }, { key: "other", value: Buffer.from("v") }])).rejects.toThrow(/1900 bytes/);
  expect(state.applied(255)).toBe(4);
  expect(state.get(255, "other")).toBeUndefined();
  await state.close();
  const plain = open({ path: join(directory, "state.lmdb"), noSubdir: true, encoding: "binary", keyEncoding: "binary" });
  expect(plain.getCount()).toBe(4);
  await plain.close();
});

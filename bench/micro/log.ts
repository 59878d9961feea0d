// The log's own cost: what an append takes on the caller's thread, and what the disk takes for a group. Run: npx tsx bench/micro/log.ts [DIRECTORY]

import { constants as fsConstants, mkdtempSync, rmSync } from "node:fs";
import { open } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { crc32c } from "../../src/base/crc32c.ts";
import { openStorage } from "../../src/storage/open.ts";

const ENTRY_BYTES = 150;
const PAYLOAD = new Uint8Array(ENTRY_BYTES - 32).fill(7);
const BUCKETS = 64;
const APPENDS = 2_000_000;
const TURN = 1000;
const ROUNDS = 200;

const base = process.argv[2] ?? tmpdir();
const directory = mkdtempSync(join(base, "bellhop-bench-"));
try {
  benchCrc();
  await benchAppend();
  await benchDisk();
} finally {
  rmSync(directory, { recursive: true });
}

function benchCrc(): void {
  const view = new DataView(new Uint8Array(1 << 20).fill(3).buffer);
  for (const length of [ENTRY_BYTES, 1024]) {
    let sum = 0;
    const times = [];
    for (let round = 0; round < ROUNDS; round += 1) {
      const start = performance.now();
      for (let i = 0; i < TURN; i += 1) sum ^= crc32c(view, (i * 151) & 0x7ffff, ((i * 151) & 0x7ffff) + length);
      times.push(((performance.now() - start) * 1e6) / TURN);
    }
    print(`crc32c of ${length} B`, `${median(times).toFixed(0)} ns (${(length / median(times)).toFixed(2)} GB/s), ${sum === 0 ? "even" : "odd"}`);
  }
}

/** Appends in turns of 1,000 with a wait for the turn's end, as a busy broker does; the time counts the appends alone. */
async function benchAppend(): Promise<void> {
  const storage = await openStorage(join(directory, "store"), {}, { durable: () => undefined, full: () => undefined, failed: (error) => { throw error; } });
  const turns: number[] = [];
  const start = performance.now();
  for (let i = 0; i < APPENDS; i += TURN) {
    const turn = performance.now();
    for (let k = i; k < i + TURN; k += 1) {
      storage.log.append(k % BUCKETS, { index: Math.floor(k / BUCKETS) + 1, epoch: 1, kind: 1, time: 1_700_000_000_000, payload: PAYLOAD });
    }
    turns.push(((performance.now() - turn) * 1e6) / TURN);
    while (storage.log.stats().bytesWaiting > 4 * 1024 * 1024) await nextTurn();
    await nextTurn();
  }
  await storage.log.sync();
  const seconds = (performance.now() - start) / 1000;
  const { groups, bytesWritten } = storage.log.stats();
  print(`append, ${ENTRY_BYTES} B`, `${median(turns).toFixed(0)} ns an entry (median turn; p99 ${percentile(turns, 0.99).toFixed(0)})`);
  print("durable", `${Math.round(APPENDS / seconds / 1000)}k entries/s, ${Math.round(APPENDS / groups)} a group, ${(bytesWritten / APPENDS).toFixed(0)} B each on disk`);
  await storage.close();
}

/** The same bytes into space that was filled before by O_DSYNC writes, appended by them, and written then synced. */
async function benchDisk(): Promise<void> {
  for (const size of [4096, 65_536, 262_144]) {
    const bytes = new Uint8Array(size).fill(1);
    const figures: Record<string, number> = {};
    for (const [name, flag, filled] of [["O_DSYNC, filled", fsConstants.O_DSYNC, true], ["O_DSYNC, appended", fsConstants.O_DSYNC, false], ["write + fdatasync, filled", 0, true]] as const) {
      const file = await open(join(directory, "file"), fsConstants.O_RDWR | fsConstants.O_CREAT | fsConstants.O_TRUNC | flag);
      if (filled) await file.write(new Uint8Array(size * ROUNDS), 0, size * ROUNDS, 0);
      await file.sync();
      const times = [];
      for (let i = 0; i < ROUNDS; i += 1) {
        const start = performance.now();
        await file.write(bytes, 0, size, i * size);
        if (flag === 0) await file.datasync();
        times.push((performance.now() - start) * 1000);
      }
      await file.close();
      figures[name] = median(times);
    }
    const best = figures["O_DSYNC, filled"] as number;
    print(`${size / 1024} KiB to the disk`, Object.entries(figures).map(([name, us]) => `${name} ${us.toFixed(0)} µs (${(us / best).toFixed(2)}×)`).join(", "));
  }
}

function nextTurn(): Promise<void> {
  return new Promise((resolve) => {
    setImmediate(resolve);
  });
}

function median(values: readonly number[]): number {
  return percentile(values, 0.5);
}

function percentile(values: readonly number[], share: number): number {
  return [...values].sort((a, b) => a - b)[Math.floor((values.length - 1) * share)] as number;
}

function print(what: string, figures: string): void {
  process.stdout.write(`${what.padEnd(24)} ${figures}\n`);
}

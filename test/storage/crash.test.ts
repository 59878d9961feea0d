// Crash at every operation of small workloads, with what a disk may leave of the writes under way; again during recovery; again after it.

import { describe, expect, test } from "vitest";
import { Prng } from "../../src/base/prng.ts";
import { known, Model, NO_EVENTS, openOn, recoverAndCheck, WORKLOADS } from "./crash.ts";
import type { Known, Workload } from "./crash.ts";
import { crashImages, SimDisk } from "./sim-fs.ts";
import type { CrashPoint, SimDiskOptions } from "./sim-fs.ts";

interface Snapshot {
  readonly point: CrashPoint;
  readonly known: Known;
}

async function turns(times = 1): Promise<void> {
  for (let i = 0; i < times; i += 1) {
    await new Promise((resolve) => {
      setImmediate(resolve);
    });
  }
}

/** Runs a workload on a slow disk and takes a snapshot before every operation's completion. */
async function snapshots(workload: Workload, options: SimDiskOptions, files?: Map<string, Uint8Array>, begin?: Parameters<typeof recoverAndCheck>[1]): Promise<Snapshot[]> {
  const taken: Snapshot[] = [];
  let model = undefined as Model | undefined;
  const disk = new SimDisk({
    ...options,
    slow: true,
    onStep: (one) => {
      taken.push({ point: one.crashPoint(one.done[one.done.length - 1] ?? "start"), known: model === undefined ? begin ?? { states: new Map([[0, new Map()]]), acknowledged: 0, applied: new Map() } : known(model) });
    },
  }, files);
  const { log } = await openOn(disk, { ...NO_EVENTS, durable: (ticket) => { if (model !== undefined) model.acknowledged = ticket; } });
  const start = begin === undefined ? undefined : [...begin.states.values()].pop();
  model = new Model(log, start, begin?.applied);
  for (const text of begin?.erasing ?? []) model.erasing.add(text);
  await workload(model, turns);
  await log.sync();
  await turns(30);
  disk.stop();
  return taken;
}

/** Subsets tried where there are too many to try them all; and the images from one after which a second crash is tried to the next. */
const SAMPLES = Number(process.env["CRASH_SAMPLES"] ?? 2);
const SECOND_CRASH_EVERY = Number(process.env["CRASH_EVERY"] ?? 20);

async function check(taken: readonly Snapshot[], seed: number, each: (files: Map<string, Uint8Array>, what: Known, context: string) => Promise<void>): Promise<number> {
  const chance = new Prng(seed);
  let images = 0;
  for (const [at, { point, known: what }] of taken.entries()) {
    for (const tear of [512, 4096] as const) {
      for (const files of crashImages(point, tear, SAMPLES, chance)) {
        images += 1;
        await each(files, what, `seed ${seed}, step ${at} after ${point.operation}, tear ${tear}, image ${images}`);
      }
    }
  }
  return images;
}

/** Crash, recover, crash at each operation of that recovery, recover again: a recovery that did not finish has changed nothing. */
async function crashDuringRecovery(files: Map<string, Uint8Array>, what: Known, context: string, chance: Prng): Promise<number> {
  const points: CrashPoint[] = [];
  const disk = new SimDisk({ onStep: (one) => points.push(one.crashPoint(one.done[one.done.length - 1] ?? "start")) }, files);
  const { opened } = await recoverAndCheck(disk, what, context);
  await opened.log.close();
  let images = 0;
  for (const [at, point] of points.entries()) {
    for (const image of crashImages(point, 512, 1, chance)) {
      images += 1;
      await recoverAndCheck(new SimDisk({}, image), what, `${context}; again at step ${at} of its recovery, after ${point.operation}`);
    }
  }
  return images;
}

/** Goes on after a recovery, crashes again: what was cut by the first must not come back. */
async function crashAgain(files: Map<string, Uint8Array>, what: Known, context: string, seed: number): Promise<number> {
  const disk = new SimDisk({}, files);
  const { opened, state } = await recoverAndCheck(disk, what, context);
  await opened.log.close();
  const after: Known = { ...what, states: new Map([[0, state]]), acknowledged: 0 };
  const more: Workload = async (model, turn) => {
    for (let i = 0; i < 12; i += 1) {
      const bucket = i % 3;
      model.append(bucket, model.last(bucket) + 1, 100);
      if (i % 3 === 2) await turn(2);
    }
  };
  // Where the first crash left it, not where the check's own opening did.
  const taken = await snapshots(more, { seed }, files, after);
  return check(taken.slice(-12), seed, async (image, known2, context2) => {
    await recoverAndCheck(new SimDisk({}, image), known2, `${context}; then ${context2}`);
  });
}

describe.each(Object.entries(WORKLOADS))("crash at every operation: %s", (_name, workload) => {
  test.each([1, 2, 3])("what was acknowledged is there, nothing else appears, and recovery is clean (seed %i)", async (seed) => {
    const taken = await snapshots(workload, { seed });
    expect(taken.length).toBeGreaterThan(10);
    const images = await check(taken, seed, async (files, what, context) => {
      await recoverAndCheck(new SimDisk({}, files), what, context);
    });
    expect(images).toBeGreaterThan(taken.length * 2);
  }, 60_000);

  test("a second crash, at every operation of the recovery", async () => {
    const taken = await snapshots(workload, { seed: 4 });
    const chance = new Prng(4);
    let images = 0;
    let at = 0;
    await check(taken, 4, async (files, what, context) => {
      at += 1;
      if (at % SECOND_CRASH_EVERY === 0) images += await crashDuringRecovery(files, what, context, chance);
    });
    expect(images).toBeGreaterThan(50);
  }, 60_000);

  test("a second crash, while it goes on after the recovery", async () => {
    const taken = await snapshots(workload, { seed: 5 });
    let images = 0;
    let at = 0;
    await check(taken, 5, async (files, what, context) => {
      at += 1;
      if (at % (4 * SECOND_CRASH_EVERY) === 0) images += await crashAgain(files, what, context, 5);
    });
    expect(images).toBeGreaterThan(50);
  }, 60_000);
});

test("the workloads reach what they are for", async () => {
  const reached = new Set<string>();
  for (const [name, workload] of Object.entries(WORKLOADS)) {
    for (const { point } of await snapshots(workload, { seed: 1 })) {
      const [kind, path] = point.operation.split(" ");
      reached.add(`${name}: ${kind} ${path?.replace(/.*\//, "").replace(/\d+/, "N") ?? ""}`);
      if (point.writes.length >= 2) reached.add(`${name}: two writes under way`);
    }
  }
  expect([...reached]).toEqual(expect.arrayContaining([
    "append: two writes under way", "roll: two writes under way", "roll: rename free-N", "retire: rename N.seg", "retire: write free-N", "retire: rename free-N", "roll: rename recovery", "erase: rename rewriting",
  ]));
});

test("a disk that says a write is done before it is, is found out: the check looks", async () => {
  const taken = await snapshots(WORKLOADS["append"] as Workload, { seed: 1, lies: true });
  await expect(check(taken, 1, async (files, what, context) => {
    await recoverAndCheck(new SimDisk({}, files), what, context);
  })).rejects.toThrow(/no ticket from|readable header/);
});

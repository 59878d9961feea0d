// What every implementation of the control log's port must do (R1, R10). Run on each by test/control/*.test.ts.

import { afterEach, beforeEach, describe, expect, test } from "vitest";

import type { ControlEntry, ControlLog, ControlWatcher } from "../../src/control/port.ts";
import type { Command } from "../../src/core/table/commands.ts";
import { Table } from "../../src/core/table/table.ts";

export interface ControlHarness {
  /** A client of the one log that this harness holds; the same one again where the log serves a single process. */
  connect(): Promise<ControlLog>;
  /** Ends the process of all clients without a word, and opens what it left. */
  crash(): Promise<ControlLog>;
  destroy(): Promise<void>;
}

/** How long anything here may take before the test fails, in ms. */
const PATIENCE_MS = 10_000;

/** Gathers what a watch brings. */
export class Gathered implements ControlWatcher {
  readonly all: ControlEntry[] = [];
  wasCompacted = false;
  #waiter: (() => void) | undefined;

  entries(entries: readonly ControlEntry[]): void {
    this.all.push(...entries);
    this.#waiter?.();
  }

  compacted(): void {
    this.wasCompacted = true;
    this.#waiter?.();
  }

  get ids(): string[] {
    return this.all.map(({ id }) => id);
  }

  async until(holds: () => boolean): Promise<void> {
    let timer: NodeJS.Timeout | undefined;
    await new Promise<void>((resolve, reject) => {
      const look = (): void => {
        if (holds()) resolve();
      };
      timer = setTimeout(() => reject(new Error(`after ${PATIENCE_MS} ms the watch has brought ${this.all.length} entries`)), PATIENCE_MS);
      this.#waiter = look;
      look();
    }).finally(() => clearTimeout(timer));
  }
}

const drain = (node: string, on: boolean): Command => ({ type: "drain", node, incarnation: 1, on });

export function controlConformance(name: string, create: () => Promise<ControlHarness>): void {
  describe(`${name}: the control log's port`, () => {
    let harness: ControlHarness;
    let log: ControlLog;

    beforeEach(async () => {
      harness = await create();
      log = await harness.connect();
    });
    afterEach(() => harness.destroy());

    /** Everything after `from`, once the log has brought what is known to be in it. */
    const read = async (of: ControlLog, from: number, count: number): Promise<Gathered> => {
      const gathered = new Gathered();
      const watch = of.watch(from, gathered);
      await gathered.until(() => gathered.all.length >= count);
      watch.close();
      return gathered;
    };

    test("an empty log has an empty snapshot at position 0", async () => {
      expect(await log.snapshot()).toEqual({ position: 0, state: new Uint8Array() });
    });

    test("batches come to every watcher, whole and in the order of their positions, which rise", async () => {
      const other = await harness.connect();
      const watchers = [new Gathered(), new Gathered()];
      log.watch(0, watchers[0]!);
      await log.append("a.1.1", [drain("a", true), drain("b", false)]);
      await other.append("b.1.1", []);
      await log.append("a.1.2", [drain("ü\n", true)]);
      other.watch(0, watchers[1]!);
      for (const watcher of watchers) {
        await watcher.until(() => watcher.all.length === 3);
        expect(watcher.all.map(({ id, commands }) => [id, commands])).toEqual([
          ["a.1.1", [drain("a", true), drain("b", false)]],
          ["b.1.1", []],
          ["a.1.2", [drain("ü\n", true)]],
        ]);
        const positions = watcher.all.map(({ position }) => position);
        expect(positions).toEqual(positions.toSorted((a, b) => a - b));
        expect(new Set(positions).size).toBe(3);
        expect(positions[0]).toBeGreaterThan(0);
      }
      expect(watchers[0]!.all).toEqual(watchers[1]!.all);
    });

    test("the same id again resolves alike and adds nothing, also while the first is on its way", async () => {
      await Promise.all([log.append("a.1.1", [drain("a", true)]), log.append("a.1.1", [drain("a", true)])]);
      await log.append("a.1.1", [drain("a", true)]);
      await log.append("a.1.2", []);
      expect((await read(log, 0, 2)).ids).toEqual(["a.1.1", "a.1.2"]);
    });

    test("what a caller does to its commands afterwards does not change the log", async () => {
      const commands = [drain("a", true)];
      await log.append("a.1.1", commands);
      commands.push(drain("b", true));
      expect((await read(log, 0, 1)).all[0]!.commands).toEqual([drain("a", true)]);
    });

    test("a watch from a position brings what is after it", async () => {
      for (const seq of [1, 2, 3]) await log.append(`a.1.${seq}`, []);
      const { all } = await read(log, 0, 3);
      expect((await read(log, all[0]!.position, 2)).ids).toEqual(["a.1.2", "a.1.3"]);
    });

    test("watches that begin during appends miss nothing and double nothing", async () => {
      const watchers: Gathered[] = [];
      const appends: Promise<void>[] = [];
      for (let seq = 1; seq <= 60; seq += 1) {
        appends.push(log.append(`a.1.${seq}`, [drain("a", true)]));
        if (seq % 10 !== 0) continue;
        if (seq % 20 === 0) await appends.at(-1);
        watchers.push(new Gathered());
        log.watch(0, watchers.at(-1)!);
      }
      await Promise.all(appends);
      for (const watcher of watchers) {
        await watcher.until(() => watcher.all.length >= 60);
        expect(new Set(watcher.ids).size).toBe(60);
        expect(watcher.all).toEqual(watchers[0]!.all);
      }
    });

    test("a watcher is never called from inside watch or append, nor after its close", async () => {
      let isInside = false;
      let calls = 0;
      const watcher: ControlWatcher = {
        entries: () => {
          expect(isInside).toBe(false);
          calls += 1;
        },
        compacted: () => undefined,
      };
      await log.append("a.1.1", []);
      isInside = true;
      const watch = log.watch(0, watcher);
      const appended = log.append("a.1.2", []);
      isInside = false;
      await appended;
      await read(log, 0, 2);
      watch.close();
      const before = calls;
      await log.append("a.1.3", []);
      await read(log, 0, 3);
      expect(calls).toBe(before);
      expect(before).toBeGreaterThan(0);
    });

    test("appenders beside one another: every batch once, each appender's in its order", async () => {
      const clients = await Promise.all(["a", "b", "c", "d"].map(async (node) => ({ node, client: await harness.connect() })));
      await Promise.all(clients.map(async ({ node, client }) => {
        for (let seq = 1; seq <= 25; seq += 1) await client.append(`${node}.1.${seq}`, [drain(node, true)]);
      }));
      const { ids } = await read(log, 0, 100);
      expect(ids.length).toBe(100);
      for (const { node } of clients) {
        const own = ids.filter((id) => id.startsWith(node));
        expect(own).toEqual(Array.from({ length: 25 }, (_, index) => `${node}.1.${index + 1}`));
      }
    });

    test("trim: the snapshot is served, what it folds is compacted, and what is after it stays", async () => {
      for (const seq of [1, 2, 3, 4]) await log.append(`a.1.${seq}`, []);
      const { all } = await read(log, 0, 4);
      const second = all[1]!.position;
      const snapshot = { position: second, state: new Uint8Array([1, 10, 255, 0]) };
      await log.trim(snapshot);
      expect(await log.snapshot()).toEqual(snapshot);
      const late = new Gathered();
      log.watch(0, late);
      await late.until(() => late.wasCompacted);
      expect(late.all).toEqual([]);
      expect((await read(log, second, 2)).all).toEqual(all.slice(2));
      await log.append("a.1.5", []);
      expect((await read(log, second, 3)).ids).toEqual(["a.1.3", "a.1.4", "a.1.5"]);
    });

    test("an older snapshot than the one that is kept changes nothing", async () => {
      for (const seq of [1, 2, 3]) await log.append(`a.1.${seq}`, []);
      const { all } = await read(log, 0, 3);
      const kept = { position: all[2]!.position, state: new Uint8Array([3]) };
      await log.trim(kept);
      await log.trim({ position: all[0]!.position, state: new Uint8Array([1]) });
      expect(await log.snapshot()).toEqual(kept);
    });

    test("a watcher that keeps up sees no trim", async () => {
      const watcher = new Gathered();
      log.watch(0, watcher);
      for (const seq of [1, 2, 3]) await log.append(`a.1.${seq}`, []);
      await watcher.until(() => watcher.all.length === 3);
      await log.trim({ position: watcher.all[2]!.position, state: new Uint8Array([1]) });
      await log.append("a.1.4", []);
      await watcher.until(() => watcher.all.length === 4);
      expect(watcher.wasCompacted).toBe(false);
    });

    test("the table folded from a snapshot and the rest is the table folded from the start (invariant 16)", async () => {
      const address = { http: "h:1", device: "d:1", peer: "p:1" };
      for (const node of ["a", "b", "c"]) await log.append(`${node}.1.0`, [{ type: "register", node, store: node, seen: 0, clean: true, address, zone: "z" }]);
      await log.append("a.1.1", [{ type: "begin", bucketCount: 4, copies: 3, minCopies: 2 }]);
      await log.append("a.1.2", [{ type: "depart", node: "c", incarnation: 1, by: "a", byIncarnation: 1, alive: ["a", "b"] }]);
      const { all } = await read(log, 0, 5);
      const whole = new Table();
      const early = new Table();
      for (const { position, id, commands } of all) whole.apply(position, id, commands);
      for (const { position, id, commands } of all.slice(0, 4)) early.apply(position, id, commands);
      await log.trim({ position: early.position, state: early.snapshot() });
      const snapshot = await log.snapshot();
      const restored = Table.restore(snapshot.position, snapshot.state);
      for (const { position, id, commands } of (await read(log, snapshot.position, 1)).all) restored.apply(position, id, commands);
      expect(restored.digest()).toBe(whole.digest());
      expect(restored.buckets[0]!.members.length).toBe(2);
    });

    test("after a crash everything that was resolved is there, in its place, and an id is still known", async () => {
      for (const seq of [1, 2, 3]) await log.append(`a.1.${seq}`, [drain("a", true)]);
      const { all } = await read(log, 0, 3);
      const again = await harness.crash();
      await again.append("a.1.2", [drain("a", false)]);
      await again.append("a.1.4", []);
      const after = await read(again, 0, 4);
      expect(after.all.slice(0, 3)).toEqual(all);
      expect(after.ids).toEqual(["a.1.1", "a.1.2", "a.1.3", "a.1.4"]);
    });

    test("after a crash the snapshot is there, and the entries after it", async () => {
      for (const seq of [1, 2, 3]) await log.append(`a.1.${seq}`, []);
      const { all } = await read(log, 0, 3);
      const snapshot = { position: all[1]!.position, state: new Uint8Array([7]) };
      await log.trim(snapshot);
      await log.append("a.1.4", []);
      const again = await harness.crash();
      expect(await again.snapshot()).toEqual(snapshot);
      expect((await read(again, snapshot.position, 2)).ids).toEqual(["a.1.3", "a.1.4"]);
    });

    test("a lease is alive until its time is over, and a renewal prolongs it", async () => {
      const other = await harness.connect();
      const left = await log.lease("a", 1, 60_000);
      expect(left).toBeGreaterThan(0);
      expect(left).toBeLessThanOrEqual(60_000);
      await other.lease("b", 3, 1_000);
      const alive = await other.alive();
      expect(alive.toSorted((x, y) => (x.node < y.node ? -1 : 1))).toEqual([{ node: "a", incarnation: 1 }, { node: "b", incarnation: 3 }]);
      const end = performance.now() + PATIENCE_MS;
      while ((await log.alive()).some(({ node }) => node === "b") && performance.now() < end) await new Promise((resolve) => setTimeout(resolve, 20));
      expect(await log.alive()).toEqual([{ node: "a", incarnation: 1 }]);
    });

    test("a later incarnation's lease takes the place of the earlier one's, never the other way", async () => {
      await log.lease("a", 1, 60_000);
      await log.lease("a", 2, 60_000);
      await log.lease("a", 1, 60_000);
      expect(await log.alive()).toEqual([{ node: "a", incarnation: 2 }]);
    });

    test("after close nothing is taken and no watcher is called; a second close is none", async () => {
      const watcher = new Gathered();
      log.watch(0, watcher);
      await log.close();
      await log.close();
      await expect(log.append("a.1.1", [])).rejects.toMatchObject({ code: "stopping" });
      expect(watcher.all).toEqual([]);
    });
  });
}

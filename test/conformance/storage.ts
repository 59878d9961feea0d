// What every implementation of the storage port must do. Run on the files and on the twin in memory.

import { afterEach, beforeEach, describe, expect, test } from "vitest";
import type { Entry } from "../../src/core/entry.ts";
import type { Storage } from "../../src/storage/open.ts";
import type { LogEvents } from "../../src/storage/port.ts";

export interface StorageUnderTest {
  open(events: LogEvents): Promise<Storage>;
  remove(): Promise<void>;
}

export function entry(index: number, epoch = 1, text = `entry ${index} of ${epoch}`): Entry {
  return { index, epoch, kind: 1, time: 1_700_000_000_000 + index, payload: Buffer.from(text) };
}

export function storageConformance(name: string, make: () => Promise<StorageUnderTest>): void {
  describe(`storage port: ${name}`, () => {
    let under: StorageUnderTest;
    let storage: Storage;
    let durable: number[];
    let inCall: boolean;

    const events: LogEvents = {
      durable(ticket) {
        expect(inCall).toBe(false);
        durable.push(ticket);
      },
      full() {
        throw new Error("not full here");
      },
      failed(error) {
        throw error;
      },
    };

    beforeEach(async () => {
      inCall = false;
      durable = [];
      under = await make();
      storage = await under.open(events);
    });

    afterEach(async () => {
      await storage.close();
      await under.remove();
    });

    async function reopen(): Promise<void> {
      await storage.close();
      storage = await under.open(events);
      expect(storage.recovery.clean).toBe(true);
    }

    function call<T>(action: () => T): T {
      inCall = true;
      try {
        return action();
      } finally {
        inCall = false;
      }
    }

    async function texts(bucket: number, from: number, to: number): Promise<string[]> {
      return (await storage.log.readRange(bucket, from, to, 1e6)).map((one) => Buffer.from(one.payload).toString());
    }

    function copy(bucket: number) {
      return storage.recovery.copies.find((one) => one.bucket === bucket);
    }

    test("a fresh store has an id, no copies, and keeps the id", async () => {
      expect(storage.recovery).toMatchObject({ clean: true, damage: [], copies: [] });
      const { storeId } = storage.recovery;
      expect(storeId).toMatch(/^[0-9a-f]{32}$/);
      await reopen();
      expect(storage.recovery.storeId).toBe(storeId);
    });

    test("entries come back as they were, before and after they are durable, and after opening again", async () => {
      const written = [entry(1), { ...entry(2, 1, ""), kind: 0 as const }, entry(3, 7)];
      let ticket = 0;
      for (const one of written) ticket = call(() => storage.log.append(5, one));
      expect(await storage.log.readRange(5, 1, 3, 1e6)).toEqual(written.map((one) => ({ ...one, payload: Uint8Array.from(one.payload) })));
      await storage.log.sync();
      expect(durable[durable.length - 1]).toBeGreaterThanOrEqual(ticket);
      expect([...durable].sort((a, b) => a - b)).toEqual(durable);
      expect(await storage.log.read(5, [1, 3], 1e6)).toHaveLength(2);
      await reopen();
      expect(copy(5)).toEqual({ bucket: 5, floor: 1, base: 0, baseEpoch: 0, last: 3, epochs: [{ epoch: 1, first: 1 }, { epoch: 7, first: 3 }], incomplete: false });
      expect(await storage.log.readRange(5, 1, 3, 1e6)).toEqual(written.map((one) => ({ ...one, payload: Uint8Array.from(one.payload) })));
    });

    test("the payload is taken at the call: what its owner's buffer holds later does not matter to a reader", async () => {
      storage.log.append(1, entry(1, 1, "mine"));
      const [read] = await storage.log.read(1, [1], 10);
      (read?.payload as Uint8Array).fill(0);
      expect(await texts(1, 1, 1)).toEqual(["mine"]);
    });

    test("an entry takes the place of those at its index and above, of its own bucket only", async () => {
      for (let i = 1; i <= 6; i += 1) {
        storage.log.append(1, entry(i));
        storage.log.append(2, entry(i));
      }
      storage.log.append(1, entry(4, 2));
      await storage.log.sync();
      const expected = ["entry 1 of 1", "entry 2 of 1", "entry 3 of 1", "entry 4 of 2"];
      expect(await texts(1, 1, 10)).toEqual(expected);
      await reopen();
      expect(await texts(1, 1, 10)).toEqual(expected);
      expect(copy(1)).toMatchObject({ last: 4, epochs: [{ epoch: 1, first: 1 }, { epoch: 2, first: 4 }] });
      expect(copy(2)?.last).toBe(6);
    });

    test("an entry that leaves a gap, or lies at the base or below, breaks an invariant", async () => {
      expect(() => storage.log.append(1, entry(2))).toThrow(/joins on/);
      storage.log.reset(3, 10, 1);
      expect(() => storage.log.append(3, entry(10))).toThrow(/joins on/);
      expect(() => storage.log.append(3, entry(12))).toThrow(/joins on/);
    });

    test("RESET empties a copy, marks it incomplete, and history fills it without replacing", async () => {
      for (let i = 1; i <= 5; i += 1) storage.log.append(1, entry(i));
      storage.log.reset(1, 100, 3);
      expect(await texts(1, 1, 200)).toEqual([]);
      storage.log.append(1, entry(101, 3));
      storage.log.fill(1, [entry(98, 2), entry(99, 3)]);
      storage.log.append(1, entry(102, 3));
      storage.log.fill(1, [entry(100, 3)]);
      storage.log.floor(1, 98);
      await storage.log.sync();
      const expected = ["entry 98 of 2", "entry 99 of 3", "entry 100 of 3", "entry 101 of 3", "entry 102 of 3"];
      expect(await texts(1, 1, 200)).toEqual(expected);
      await reopen();
      expect(await texts(1, 1, 200)).toEqual(expected);
      expect(copy(1)).toEqual({ bucket: 1, floor: 98, base: 100, baseEpoch: 3, last: 102, epochs: [{ epoch: 2, first: 98 }, { epoch: 3, first: 99 }], incomplete: true });
      storage.log.mark(1, false);
      await reopen();
      expect(copy(1)?.incomplete).toBe(false);
    });

    test("the floor is kept and never falls; entries above floor or checkpoint stay", async () => {
      for (let i = 1; i <= 9; i += 1) storage.log.append(1, entry(i));
      storage.log.floor(1, 6);
      storage.log.floor(1, 3);
      storage.log.checkpointed(1, 3);
      await reopen();
      expect(copy(1)).toMatchObject({ floor: 6, last: 9, epochs: [{ epoch: 1, first: 6 }] });
      expect(await texts(1, 4, 9)).toHaveLength(6);
      expect(() => storage.log.floor(1, 11)).toThrow(/floor/);
    });

    test("a copy whose entries may all be forgotten keeps its last one: its epoch is needed", async () => {
      for (let i = 1; i <= 4; i += 1) storage.log.append(1, entry(i));
      storage.log.floor(1, 5);
      storage.log.checkpointed(1, 4);
      await reopen();
      expect(copy(1)).toMatchObject({ floor: 5, last: 4 });
      expect(await texts(1, 4, 4)).toEqual(["entry 4 of 1"]);
      storage.log.append(1, entry(5, 2));
      expect(await texts(1, 5, 5)).toEqual(["entry 5 of 2"]);
    });

    test("a dropped copy is gone, and a new one begins at 1", async () => {
      for (let i = 1; i <= 4; i += 1) storage.log.append(1, entry(i));
      storage.log.drop(1);
      expect(await texts(1, 1, 4)).toEqual([]);
      await reopen();
      expect(copy(1)).toBeUndefined();
      storage.log.append(1, entry(1, 9));
      await reopen();
      expect(copy(1)).toMatchObject({ last: 1, epochs: [{ epoch: 9, first: 1 }] });
    });

    test("a read answers a prefix within its bytes, at least one entry, and leaves out what is not there", async () => {
      for (let i = 1; i <= 20; i += 1) storage.log.append(1, entry(i, 1, "x".repeat(1000)));
      for (const durably of [false, true]) {
        if (durably) await storage.log.sync();
        expect((await storage.log.read(1, [1, 2, 3], 1)).map((one) => one.index)).toEqual([1]);
        const some = await storage.log.readRange(1, 5, 20, 5000);
        expect(some.length).toBeGreaterThanOrEqual(3);
        expect(some.length).toBeLessThanOrEqual(5);
        expect(some.map((one) => one.index)).toEqual(Array.from(some, (_, i) => 5 + i));
        expect((await storage.log.read(1, [3, 17, 19, 25], 1e6)).map((one) => one.index)).toEqual([3, 17, 19]);
        expect(await storage.log.read(9, [1], 10)).toEqual([]);
      }
    });

    test("a long record comes back whole", async () => {
      const payload = Buffer.alloc(700_000, "bellhop ");
      storage.log.append(1, { ...entry(1), payload });
      storage.log.append(1, entry(2));
      await storage.log.sync();
      expect(Buffer.compare((await storage.log.read(1, [1], 1))[0]?.payload ?? Buffer.alloc(0), payload)).toBe(0);
      await reopen();
      expect(Buffer.compare((await storage.log.read(1, [1], 1))[0]?.payload ?? Buffer.alloc(0), payload)).toBe(0);
      expect(await texts(1, 2, 2)).toEqual(["entry 2 of 1"]);
    });

    test("a closed log says so", async () => {
      await storage.log.close();
      await expect(storage.log.read(1, [1], 1)).rejects.toMatchObject({ code: "closed" });
    });

    test("state: a checkpoint is applied whole, per bucket, and kept", async () => {
      const { state } = storage;
      expect(state.applied(7)).toBe(0);
      await state.checkpoint(7, 12, [{ key: "a", value: Buffer.from("1") }, { key: "b", value: Buffer.from("2") }, { key: "gone", value: Buffer.from("3") }]);
      await state.checkpoint(8, 3, [{ key: "a", value: Buffer.from("other") }]);
      await state.checkpoint(7, 15, [{ key: "gone", value: undefined }, { key: "b", value: Buffer.from("22") }]);
      await reopen();
      expect(storage.state.applied(7)).toBe(15);
      expect(storage.state.applied(8)).toBe(3);
      expect(Buffer.from(storage.state.get(7, "b") ?? []).toString()).toBe("22");
      expect(storage.state.get(7, "gone")).toBeUndefined();
      expect(storage.state.get(9, "a")).toBeUndefined();
    });

    test("state: ranges are by prefix, after a key, in byte order, of one bucket", async () => {
      const keys = ["d/b", "d/a", "d/é", "d/z", "d", "e/a", "c/z", "d/😀"];
      await storage.state.checkpoint(1, 1, keys.map((key) => ({ key, value: Buffer.from(key) })));
      await storage.state.checkpoint(2, 1, [{ key: "d/other", value: Buffer.from("x") }]);
      const names = (prefix: string, after?: string): string[] => [...storage.state.range(1, prefix, after)].map(([key]) => key);
      expect(names("d/")).toEqual(["d/a", "d/b", "d/z", "d/é", "d/😀"]);
      expect(names("d/", "d/b")).toEqual(["d/z", "d/é", "d/😀"]);
      expect(names("d/", "d/bb")).toEqual(["d/z", "d/é", "d/😀"]);
      expect(names("d/", "zzz")).toEqual([]);
      expect(names("")).toHaveLength(keys.length);
      for (const [key, value] of storage.state.range(1, "d")) expect(Buffer.from(value).toString()).toBe(key);
    });

    test("state: replace leaves nothing of the old, drop leaves nothing", async () => {
      await storage.state.checkpoint(1, 5, [{ key: "old", value: Buffer.from("1") }]);
      await storage.state.checkpoint(2, 5, [{ key: "old", value: Buffer.from("1") }]);
      await storage.state.replace(1, 9, [{ key: "new", value: Buffer.from("2") }]);
      expect([...storage.state.range(1, "")].map(([key]) => key)).toEqual(["new"]);
      expect(storage.state.applied(1)).toBe(9);
      await storage.state.drop(1);
      expect(storage.state.applied(1)).toBe(0);
      expect([...storage.state.range(1, "")]).toEqual([]);
      expect(storage.state.applied(2)).toBe(5);
      expect(storage.state.stats().checkpoints).toBeGreaterThanOrEqual(3);
    });

    test("state: the bytes that are read are the reader's own", async () => {
      await storage.state.checkpoint(1, 1, [{ key: "a", value: Buffer.from("abc") }]);
      storage.state.get(1, "a")?.fill(0);
      const held = storage.state.get(1, "a") as Uint8Array;
      await storage.state.checkpoint(1, 2, [{ key: "a", value: Buffer.from("xyz") }, { key: "b", value: Buffer.alloc(5000) }]);
      storage.state.get(1, "b");
      expect(Buffer.from(held).toString()).toBe("abc");
    });
  });
}

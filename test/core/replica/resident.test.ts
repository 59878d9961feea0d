// What is kept in memory of a log is what was added, through growth, cuts, restarts and releases.

import fc from "fast-check";
import { expect, test } from "vitest";
import type { Entry, EntryKind } from "../../../src/core/entry.ts";
import { entryBytes, Resident } from "../../../src/core/replica/resident.ts";

const step = fc.oneof(
  { weight: 8, arbitrary: fc.record({ add: fc.uint8Array({ maxLength: 40 }), kind: fc.integer({ min: 0, max: 3 }), epoch: fc.maxSafeNat(), time: fc.maxSafeNat() }) },
  { weight: 1, arbitrary: fc.record({ cut: fc.integer({ min: 0, max: 30 }) }) },
  { weight: 1, arbitrary: fc.record({ restart: fc.integer({ min: 1, max: 2 ** 40 }) }) },
  { weight: 2, arbitrary: fc.record({ release: fc.integer({ min: 0, max: 40 }), bytes: fc.integer({ min: 0, max: 2000 }) }) },
);

test("entries come out as they went in", () => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 200 }), (steps) => {
      const resident = new Resident(7);
      let next = 7;
      let held: Entry[] = [];
      for (const drawn of steps) {
        if ("add" in drawn) {
          const framed = Uint8Array.of(1, ...drawn.add, 2); // a payload is mostly a part of a greater buffer
          const entry: Entry = { index: next, epoch: drawn.epoch, time: drawn.time, kind: drawn.kind as EntryKind, payload: framed.subarray(1, framed.length - 1) };
          resident.add(entry);
          held.push(entry);
          next += 1;
        } else if ("cut" in drawn) {
          next -= drawn.cut;
          resident.cut(next);
          held = held.filter(({ index }) => index < next);
        } else if ("restart" in drawn) {
          next = drawn.restart;
          resident.restart(next);
          held = [];
        } else {
          const upTo = next - drawn.release;
          resident.release(upTo, drawn.bytes);
          while (held.length > 0 && held[0]!.index <= upTo && bytesOf(held) > drawn.bytes) held.shift();
        }
        expect(resident.bytes).toBe(bytesOf(held));
        expect(resident.get(next)).toBeUndefined();
        expect(resident.get((held[0]?.index ?? next) - 1)).toBeUndefined();
        for (const entry of held) expect(resident.get(entry.index)).toEqual({ ...entry, payload: new Uint8Array(entry.payload) });
      }
    }),
  );
});

function bytesOf(entries: readonly Entry[]): number {
  return entries.reduce((sum, entry) => sum + entryBytes(entry), 0);
}

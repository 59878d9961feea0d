// A second state machine behind the replica (B13): a counter, with a hash over everything it was told, so that equal states are equal histories.

import { assert } from "../../../src/base/assert.ts";
import { ENTRY_KIND, type Entry } from "../../../src/core/entry.ts";
import { murmur3Bytes } from "../../../src/core/hash.ts";
import type { Machine } from "../../../src/core/replica/types.ts";

const VERSION = 1;

/** Adds `amount`, 0 … 255. */
export function add(amount: number): Uint8Array {
  return Uint8Array.of(VERSION, amount);
}

export class Counter implements Machine {
  applied = 0;
  sum = 0;
  history = 0;

  apply(entry: Entry): void {
    assert(entry.index === this.applied + 1, `the counter is told ${entry.index} after ${this.applied}`);
    this.applied = entry.index;
    this.history = murmur3Bytes(Uint8Array.of(...u32(this.history), ...u32(entry.index), ...u32(entry.epoch), entry.kind, ...u32(entry.time % 2 ** 32), ...entry.payload));
    if (entry.kind === ENTRY_KIND.machine) {
      assert(entry.payload[0] === VERSION, "the counter knows version 1");
      this.sum += entry.payload[1]!;
    }
  }

  snapshot(): Uint8Array {
    return Uint8Array.of(...u32(this.applied), ...u32(this.sum), ...u32(this.history));
  }

  restore(snapshot: Uint8Array, applied: number): void {
    const view = new DataView(snapshot.buffer, snapshot.byteOffset, snapshot.byteLength);
    this.applied = applied;
    this.sum = view.getUint32(4);
    this.history = view.getUint32(8);
  }
}

function u32(value: number): number[] {
  return [(value >>> 24) & 255, (value >>> 16) & 255, (value >>> 8) & 255, value & 255];
}

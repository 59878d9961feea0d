// A counter: the second small state machine behind the replicas (B13). It adds numbers and remembers how many each client had added.

import { ENTRY_KIND, type Entry } from "../../src/core/entry.ts";
import type { Machine } from "../../src/core/replica/types.ts";

const FORMAT = 1;

/** `[format, client, number u32, amount]`: the client's number tells one addition from another. */
export function encodeAddition(client: number, number: number, amount: number): Uint8Array {
  const bytes = new Uint8Array(7);
  const view = new DataView(bytes.buffer);
  bytes[0] = FORMAT;
  bytes[1] = client;
  view.setUint32(2, number);
  bytes[6] = amount;
  return bytes;
}

export class Counter implements Machine {
  applied = 0;
  sum = 0;
  /** Over every entry in order, so that two histories with the same sum still differ. */
  hash = 0;
  /** Client → number of its newest addition. */
  newest = new Map<number, number>();
  readonly #onApply: (entry: Entry) => void;

  constructor(onApply: (entry: Entry) => void) {
    this.#onApply = onApply;
  }

  apply(entry: Entry): void {
    if (entry.index !== this.applied + 1) throw new Error(`the counter is at ${this.applied} and got entry ${entry.index}`);
    this.applied = entry.index;
    this.hash = Math.imul(this.hash ^ entry.index ^ (entry.epoch << 8), 0x01000193);
    this.hash = Math.imul(this.hash ^ (entry.time | 0), 0x01000193);
    if (entry.kind === ENTRY_KIND.machine) {
      const view = new DataView(entry.payload.buffer, entry.payload.byteOffset, entry.payload.length);
      this.sum += view.getUint8(6);
      this.newest.set(view.getUint8(1), view.getUint32(2));
      this.hash = Math.imul(this.hash ^ view.getUint32(2), 0x01000193);
    }
    this.#onApply(entry);
  }

  snapshot(): Uint8Array {
    return new TextEncoder().encode(JSON.stringify([this.sum, this.hash, [...this.newest].sort((a, b) => a[0] - b[0])]));
  }

  restore(snapshot: Uint8Array, applied: number): void {
    const [sum, hash, newest] = JSON.parse(new TextDecoder().decode(snapshot)) as [number, number, [number, number][]];
    this.applied = applied;
    this.sum = sum;
    this.hash = hash;
    this.newest = new Map(newest);
  }
}

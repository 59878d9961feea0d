// The newest entries of a log, in memory. Kept as numbers and as places in their payloads' buffers, not as objects:
// tens of thousands stay here for lagging peers and readers, and each would be moved and marked by the garbage collector.

import { assert } from "../../base/assert.ts";
import type { Entry, EntryKind } from "../entry.ts";

/** What an entry costs in memory and in a message beside its payload, about. */
const ENTRY_OVERHEAD_BYTES = 64;
/** Numbers kept of each entry: epoch, time, kind, where its payload begins in its buffer, the payload's length. */
const FIELDS = 5;
const FEWEST_SLOTS = 16;

export function entryBytes(entry: Entry): number {
  return entry.payload.length + ENTRY_OVERHEAD_BYTES;
}

export class Resident {
  /** Of all entries here, with their overhead. */
  bytes = 0;
  /** Entries `#first` … `#end` − 1 are here, each at its index modulo the slots, a power of two. */
  #first: number;
  #end: number;
  #buffers = new Array<ArrayBufferLike | undefined>(FEWEST_SLOTS);
  #numbers = new Float64Array(FEWEST_SLOTS * FIELDS);

  /** @param next index of the entry that is added first */
  constructor(next: number) {
    this.#first = next;
    this.#end = next;
  }

  /** The entry after the last one. */
  add({ index, epoch, time, kind, payload }: Entry): void {
    assert(index === this.#end, "entries follow one another without a hole");
    if (index - this.#first === this.#buffers.length) this.#grow();
    const slot = this.#slot(index);
    this.#buffers[slot] = payload.buffer;
    const numbers = this.#numbers;
    const at = slot * FIELDS;
    numbers[at] = epoch;
    numbers[at + 1] = time;
    numbers[at + 2] = kind;
    numbers[at + 3] = payload.byteOffset;
    numbers[at + 4] = payload.length;
    this.#end = index + 1;
    this.bytes += payload.length + ENTRY_OVERHEAD_BYTES;
  }

  has(index: number): boolean {
    return index >= this.#first && index < this.#end;
  }

  get(index: number): Entry | undefined {
    if (!this.has(index)) return undefined;
    const slot = this.#slot(index);
    const numbers = this.#numbers;
    const at = slot * FIELDS;
    const payload = new Uint8Array(this.#buffers[slot]!, numbers[at + 3], numbers[at + 4]);
    return { index, epoch: numbers[at]!, kind: numbers[at + 2] as EntryKind, time: numbers[at + 1]!, payload };
  }

  /** Every entry from `index` on goes; `index` is added next. */
  cut(index: number): void {
    for (let i = Math.max(index, this.#first); i < this.#end; i += 1) this.#forget(i);
    this.#first = Math.min(this.#first, index);
    this.#end = index;
  }

  /** All go; `index` is added next. */
  restart(index: number): void {
    this.cut(this.#first);
    this.#first = index;
    this.#end = index;
  }

  /** The oldest go, up to `index`, while they are more than `bytes`. */
  release(index: number, bytes: number): void {
    while (this.bytes > bytes && this.#first <= index && this.#first < this.#end) {
      this.#forget(this.#first);
      this.#first += 1;
    }
  }

  #forget(index: number): void {
    const slot = this.#slot(index);
    this.bytes -= this.#numbers[slot * FIELDS + 4]! + ENTRY_OVERHEAD_BYTES;
    this.#buffers[slot] = undefined;
  }

  #slot(index: number): number {
    return index & (this.#buffers.length - 1);
  }

  #grow(): void {
    const buffers = this.#buffers;
    const numbers = this.#numbers;
    this.#buffers = new Array<ArrayBufferLike | undefined>(buffers.length * 2);
    this.#numbers = new Float64Array(numbers.length * 2);
    for (let index = this.#first; index < this.#end; index += 1) {
      const from = index & (buffers.length - 1);
      const to = this.#slot(index);
      this.#buffers[to] = buffers[from];
      for (let field = 0; field < FIELDS; field += 1) this.#numbers[to * FIELDS + field] = numbers[from * FIELDS + field]!;
    }
  }
}

// A map from whole numbers to items in one flat array: a look-up among 100,000 touches one cache line, where a Map touches three.

import { assert } from "./assert.ts";

const FEWEST_SLOTS = 8;

export class NumberMap<T extends object> {
  /** Key and item side by side, twice as many places as slots; a slot without a key is free. Invariant: at most half of the slots are taken. */
  #slots: (number | T | undefined)[] = new Array<undefined>(FEWEST_SLOTS * 2);
  /** Slots − 1, a power of two less one. */
  #mask = FEWEST_SLOTS - 1;
  #size = 0;

  get size(): number {
    return this.#size;
  }

  get(key: number): T | undefined {
    return this.#slots[this.#find(key) * 2 + 1] as T | undefined;
  }

  set(key: number, item: T): void {
    assert(Number.isSafeInteger(key), "a key is a whole number");
    if (this.#size * 2 > this.#mask) this.#grow();
    const place = this.#find(key) * 2;
    if (this.#slots[place] === undefined) this.#size += 1;
    this.#slots[place] = key;
    this.#slots[place + 1] = item;
  }

  delete(key: number): boolean {
    let hole = this.#find(key);
    if (this.#slots[hole * 2] === undefined) return false;
    // What stands behind and is at home at the hole or before it moves up, so that every key is found from its home on without passing a free slot.
    for (let slot = (hole + 1) & this.#mask; this.#slots[slot * 2] !== undefined; slot = (slot + 1) & this.#mask) {
      const home = this.#home(this.#slots[slot * 2] as number);
      if (((slot - home) & this.#mask) < ((slot - hole) & this.#mask)) continue;
      this.#slots[hole * 2] = this.#slots[slot * 2];
      this.#slots[hole * 2 + 1] = this.#slots[slot * 2 + 1];
      hole = slot;
    }
    this.#slots[hole * 2] = undefined;
    this.#slots[hole * 2 + 1] = undefined;
    this.#size -= 1;
    return true;
  }

  clear(): void {
    this.#slots = new Array<undefined>(FEWEST_SLOTS * 2);
    this.#mask = FEWEST_SLOTS - 1;
    this.#size = 0;
  }

  /** A copy of the items, in no order that means anything but the same for the same calls: the map may be changed while they are walked. */
  items(): T[] {
    const items: T[] = [];
    for (let place = 1; place < this.#slots.length; place += 2) if (this.#slots[place] !== undefined) items.push(this.#slots[place] as T);
    return items;
  }

  /** The slot that holds the key, or the free one where it would stand. */
  #find(key: number): number {
    let slot = this.#home(key);
    for (let held = this.#slots[slot * 2]; held !== undefined && held !== key; held = this.#slots[slot * 2]) slot = (slot + 1) & this.#mask;
    return slot;
  }

  /** Where the search for a key begins: Fibonacci hashing, since sessions and handles often come in rows. */
  #home(key: number): number {
    const spread = Math.imul(key ^ (key / 0x100000000), 0x9e3779b1);
    return (spread ^ (spread >>> 15)) & this.#mask;
  }

  #grow(): void {
    const before = this.#slots;
    this.#slots = new Array<undefined>(before.length * 2);
    this.#mask = this.#mask * 2 + 1;
    for (let place = 0; place < before.length; place += 2) {
      if (before[place] === undefined) continue;
      const to = this.#find(before[place] as number) * 2;
      this.#slots[to] = before[place];
      this.#slots[to + 1] = before[place + 1];
    }
  }
}

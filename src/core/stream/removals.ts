// Removed devices, as replicated state: what they left in the state goes a bounded number of records with each entry,
// and which they were is remembered until the log has forgotten their entries, so that every copy can blank them (docs/storage.md, "Removed devices").

import { assert } from "../../base/assert.ts";
import { Reader, Writer } from "./bytes.ts";
import type { Device } from "./device.ts";
import type { Keys } from "./keys.ts";
import { chunkName, REMOVED, removedName } from "./names.ts";
import type { Overlay } from "./overlay.ts";

/** Records of removed devices dropped at most by one entry. */
const DROPPED_AT_ONCE = 64;
const VERSION = 1;

/** A device of this name, known since that entry, was removed by the entry at `index`: its entries are between. */
export interface Removal {
  readonly index: number;
  readonly device: string;
  readonly since: number;
}

/** What a removed device left in the state: index chunks first … last, then its keys, those after the name `keys`. */
interface Leftover {
  readonly device: string;
  readonly since: number;
  first: number;
  readonly last: number;
  keys: string;
}

const out = new Writer();

export class Removals {
  readonly #records: Overlay;
  readonly #keys: Keys;
  #leftovers: Leftover[] = [];

  constructor(records: Overlay, keys: Keys) {
    this.#records = records;
    this.#keys = keys;
  }

  /** Removed devices that have left something in the state. */
  get left(): number {
    return this.#leftovers.length;
  }

  add(device: Device, index: number): void {
    const { id, since, firstChunk, sealed } = device;
    this.#records.set(removedName(index), out.u8(VERSION).text(id).integer(since).take());
    this.#leftovers.push({ device: id, since, first: firstChunk, last: sealed - 1, keys: "" });
  }

  /** Removals at or above a log index, in their order, as long as the log may hold entries of theirs. */
  *from(index: number): Iterable<Removal> {
    for (const [name, bytes] of this.#records.range(REMOVED, removedName(index - 1))) {
      const from = new Reader(bytes);
      assert(from.u8() === VERSION, "the record of a removal has a known version");
      yield { index: Number.parseInt(name.slice(REMOVED.length), 16), device: from.text(), since: from.integer() };
    }
  }

  /** The log forgets everything below: so do we. */
  forgetBelow(floor: number): void {
    const gone: number[] = [];
    for (const { index } of this.from(1)) {
      if (index >= floor || gone.length === DROPPED_AT_ONCE) break;
      gone.push(index);
    }
    for (const index of gone) this.#records.set(removedName(index), undefined);
  }

  /** With each entry: the next few records of what was left. */
  drop(): void {
    const leftover = this.#leftovers[0];
    if (leftover === undefined) return;
    let left = DROPPED_AT_ONCE;
    for (; left > 0 && leftover.first <= leftover.last; left -= 1) {
      this.#records.set(chunkName(leftover.device, leftover.since, leftover.first), undefined);
      leftover.first += 1;
    }
    if (left === 0) return;
    const next = this.#keys.forgetOf(leftover.device, leftover.since, leftover.keys, left);
    if (next === undefined) this.#leftovers.shift();
    else leftover.keys = next;
  }

  write(to: Writer): void {
    to.integer(this.#leftovers.length);
    for (const { device, since, first, last, keys } of this.#leftovers) to.text(device).integer(since).integer(first).integer(last + 1).text(keys);
  }

  read(from: Reader): void {
    this.#leftovers = Array.from({ length: from.integer() }, () => ({
      device: from.text(), since: from.integer(), first: from.integer(), last: from.integer() - 1, keys: from.text(),
    }));
  }
}

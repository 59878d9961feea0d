// A replica's view of its log: where each epoch begins, which entries are in memory, and up to where everything is durable (R11).

import { assert } from "../../base/assert.ts";
import { Ring } from "../../base/ring.ts";
import type { Entry } from "../entry.ts";
import { entryBytes, Resident } from "./resident.ts";
import type { EpochStart, Ticket } from "./types.ts";

export interface LogStart {
  readonly floor: number;
  readonly base: number;
  readonly baseEpoch: number;
  readonly last: number;
  readonly epochs: readonly EpochStart[];
  readonly time: number;
}

/** Written under a ticket, up to `index`. */
interface Write {
  readonly ticket: Ticket;
  index: number;
}

export class LogView {
  /** Entries below may be forgotten. */
  floor: number;
  /** The log joins on after this index (0, or where a snapshot was installed). */
  base: number;
  last: number;
  /** Every entry up to here is durable. */
  durableTo: number;
  /** No entry was written with a greater time (R32). */
  lastTime: number;
  #epochs: EpochStart[];
  /** Entries … `last`. */
  readonly #resident: Resident;
  /** What `batch` answered last, until the log changes. */
  #batch: readonly Entry[] = NO_ENTRIES;
  readonly #writes = new Ring<Write>();
  #newest: Write | undefined;

  constructor(start: LogStart) {
    this.floor = start.floor;
    this.base = start.base;
    this.last = start.last;
    this.durableTo = start.last; // R23: recovery has proved it synced
    this.lastTime = start.time;
    this.#epochs = epochsWithBase(start);
    this.#resident = new Resident(start.last + 1);
  }

  get residentBytes(): number {
    return this.#resident.bytes;
  }

  get epochs(): readonly EpochStart[] {
    return this.#epochs;
  }

  get lastEpoch(): number {
    return this.#epochs.at(-1)?.epoch ?? 0;
  }

  /** The epoch of the entry at `index`: 0 before the first entry, undefined where the log does not reach or has forgotten. */
  epochAt(index: number): number | undefined {
    if (index === 0) return 0;
    if (index > this.last) return undefined;
    for (let i = this.#epochs.length - 1; i >= 0; i -= 1) {
      const start = this.#epochs[i]!;
      if (start.first <= index) return start.epoch;
    }
    return undefined;
  }

  /** The first known index of the epoch that the entry at `index` is of. */
  firstOfEpochAt(index: number): number {
    for (let i = this.#epochs.length - 1; i >= 0; i -= 1) {
      const start = this.#epochs[i]!;
      if (start.first <= index) return start.first;
    }
    return index;
  }

  /** The entry, if it is in memory. */
  get(index: number): Entry | undefined {
    return this.#resident.get(index);
  }

  isResident(index: number): boolean {
    return this.#resident.has(index);
  }

  /** Entries from `from` on, which is in memory, as many as `bytes` hold and one in any case. The same array again until the log changes: what goes to each follower is made once. */
  batch(from: number, bytes: number): readonly Entry[] {
    if (this.#batch[0]?.index === from) return this.#batch;
    const entries: Entry[] = [];
    let sum = 0;
    for (let index = from; index <= this.last; index += 1) {
      const entry = this.#resident.get(index)!;
      sum += entryBytes(entry);
      if (entries.length > 0 && sum > bytes) break;
      entries.push(entry);
    }
    this.#batch = entries;
    return entries;
  }

  /** Adds the entry after the last one, written under `ticket`. */
  add(entry: Entry, ticket: Ticket): void {
    if (entry.epoch !== this.lastEpoch) {
      assert(entry.epoch > this.lastEpoch, "epochs rise along the log");
      this.#epochs.push({ epoch: entry.epoch, first: entry.index });
    }
    this.#resident.add(entry);
    this.#batch = NO_ENTRIES;
    this.last = entry.index;
    if (entry.time > this.lastTime) this.lastTime = entry.time;
    this.#wrote(entry.index, ticket);
  }

  /** Takes off every entry from `index` on: a write at `index` follows and takes their place in the file (R24). */
  truncate(index: number): void {
    this.#resident.cut(index);
    this.#batch = NO_ENTRIES;
    this.last = index - 1;
    while (this.#epochs.length > 0 && this.#epochs.at(-1)!.first >= index) this.#epochs.pop();
    // What is not durable yet may still become so, but never stands for what is written in its place.
    this.durableTo = Math.min(this.durableTo, this.last);
    for (let i = 0; i < this.#writes.size; i += 1) {
      const write = this.#writes.at(i)!;
      write.index = Math.min(write.index, this.last);
    }
  }

  /** Everything makes way for a snapshot (R24). */
  reset(start: LogStart, ticket: Ticket): void {
    this.#resident.restart(start.last + 1);
    this.#batch = NO_ENTRIES;
    this.#writes.clear();
    this.#newest = undefined;
    this.floor = start.floor;
    this.base = start.base;
    this.last = start.last;
    this.#epochs = epochsWithBase(start);
    this.lastTime = Math.max(this.lastTime, start.time);
    this.durableTo = 0;
    this.#wrote(start.last, ticket);
  }

  /** Every ticket up to `ticket` is durable; answers whether `durableTo` moved. */
  durable(ticket: Ticket): boolean {
    const before = this.durableTo;
    let write = this.#writes.first();
    while (write !== undefined && write.ticket <= ticket) {
      this.durableTo = write.index; // R14: only with every earlier group
      this.#writes.shift();
      if (write === this.#newest) this.#newest = undefined;
      write = this.#writes.first();
    }
    return this.durableTo > before;
  }

  raiseFloor(floor: number): void {
    this.floor = floor;
    while (this.#epochs.length > 1 && this.#epochs[1]!.first <= floor) this.#epochs.shift();
  }

  /** Forgets the oldest entries in memory, up to `index`, while they are more than `bytes`. */
  release(index: number, bytes: number): void {
    this.#resident.release(index, bytes);
  }

  #wrote(index: number, ticket: Ticket): void {
    const newest = this.#newest;
    if (newest !== undefined && newest.ticket === ticket) {
      newest.index = index;
      return;
    }
    assert(newest === undefined || ticket > newest.ticket, "tickets rise");
    this.#newest = { ticket, index };
    this.#writes.push(this.#newest);
  }
}

const NO_ENTRIES: readonly Entry[] = [];

/** The epochs of floor … last; where the base's own is not among them, it stands in front. */
function epochsWithBase(start: LogStart): EpochStart[] {
  const epochs = [...start.epochs];
  const knowsBase = epochs.some(({ first }) => first <= start.base);
  if (start.base > 0 && !knowsBase) epochs.unshift({ epoch: start.baseEpoch, first: start.base });
  return epochs;
}

/** The last index at which two logs are sure to be the same: in one epoch one leader wrote, in order. 0 when they share no epoch. */
export function commonIndex(mine: readonly EpochStart[], myLast: number, theirs: readonly EpochStart[], theirLast: number): number {
  for (let i = theirs.length - 1; i >= 0; i -= 1) {
    const epoch = theirs[i]!.epoch;
    const at = mine.findIndex((start) => start.epoch === epoch);
    if (at < 0) continue;
    const theirEnd = i + 1 < theirs.length ? theirs[i + 1]!.first - 1 : theirLast;
    const myEnd = at + 1 < mine.length ? mine[at + 1]!.first - 1 : myLast;
    return Math.min(theirEnd, myEnd);
  }
  return 0;
}

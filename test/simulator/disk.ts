// A node's simulated disk: one log of groups for all buckets, with page cache and sync, and a store of checkpoints (R21–R24).
// It outlives the process; a `DiskHandle` is what one incarnation of the process holds of it.

import type { Entry } from "../../src/core/entry.ts";
import type { CopyAtStart } from "../../src/core/replica/types.ts";
import type { Prng } from "../../src/base/prng.ts";
import { check, type Process, type World } from "./world.ts";

export type LogRecord =
  | { readonly type: "entry"; readonly bucket: number; readonly entry: Entry }
  | { readonly type: "reset"; readonly bucket: number; readonly index: number; readonly epoch: number }
  | { readonly type: "fill"; readonly bucket: number; readonly entries: readonly Entry[] }
  | { readonly type: "mark"; readonly bucket: number; readonly incomplete: boolean }
  | { readonly type: "floor"; readonly bucket: number; readonly index: number }
  | { readonly type: "drop"; readonly bucket: number };

interface Group {
  readonly ticket: number;
  readonly records: LogRecord[];
  /** The ticket known to be synced when this group was written (R21). */
  durableThrough: number;
  /** On the platter: survives a loss of power, if every group before it does. */
  synced: boolean;
  damaged: boolean;
}

/** One bucket's copy as the log's records make it. */
export class Copy {
  floor = 1;
  base = 0;
  baseEpoch = 0;
  last = 0;
  incomplete = false;
  readonly entries = new Map<number, Entry>();

  add(record: LogRecord): void {
    switch (record.type) {
      case "entry":
        this.cutFrom(record.entry.index);
        this.entries.set(record.entry.index, record.entry);
        this.last = record.entry.index;
        return;
      case "reset":
        this.entries.clear();
        this.floor = 1;
        this.base = record.index;
        this.baseEpoch = record.epoch;
        this.last = record.index;
        this.incomplete = true;
        return;
      case "fill":
        this.#fill(record);
        return;
      case "mark":
        this.incomplete = record.incomplete;
        return;
      case "floor":
        this.floor = Math.max(this.floor, record.index);
        return;
      case "drop":
        this.entries.clear();
        this.floor = 1;
        this.base = this.baseEpoch = this.last = 0;
        this.incomplete = false;
    }
  }

  #fill(record: Extract<LogRecord, { type: "fill" }>): void {
    const { last } = this;
    for (const entry of record.entries) if (!this.entries.has(entry.index)) this.entries.set(entry.index, entry);
    check(this.last >= last, "R24 (a copied record replaces)", () => `bucket ${record.bucket}: ${this.last} after ${last}`);
  }

  cutFrom(index: number): void {
    for (let at = index; at <= this.last; at += 1) this.entries.delete(at);
    this.last = Math.min(this.last, index - 1);
  }

  epochOf(index: number): number {
    if (index === this.base) return this.baseEpoch;
    return this.entries.get(index)?.epoch ?? -1;
  }

  atStart(applied: number): CopyAtStart {
    const epochs: { epoch: number; first: number }[] = [];
    for (let index = this.floor; index <= this.last; index += 1) {
      const entry = this.entries.get(index);
      if (entry !== undefined && entry.epoch !== epochs.at(-1)?.epoch) epochs.push({ epoch: entry.epoch, first: index });
    }
    const { floor, base, baseEpoch, last, incomplete } = this;
    return { floor, base, baseEpoch, last, epochs, incomplete, applied, lastTime: this.entries.get(last)?.time ?? 0 };
  }
}

/** A bucket's records in the state store, as of `applied`. */
export interface Stored {
  applied: number;
  readonly records: Map<string, Uint8Array>;
}

export interface Checkpoint {
  readonly applied: number;
  readonly writes: readonly { readonly key: string; readonly value: Uint8Array | undefined }[];
  /** The writes are the whole state, and take the place of what is stored. */
  readonly whole: boolean;
}

/** What a start finds. */
export interface SimRecovery {
  readonly store: string;
  readonly clean: boolean;
  readonly copies: ReadonlyMap<number, CopyAtStart>;
}

export interface DiskTimes {
  /** Microseconds that a sync takes, least and most. */
  readonly syncUs: readonly [number, number];
  /** Groups in flight at once. */
  readonly inFlight: number;
  /** Microseconds that a checkpoint takes at most. */
  readonly checkpointUs: number;
}

export interface DiskEvents {
  durable(ticket: number): void;
  full(isFull: boolean): void;
  failed(): void;
}

export class Disk {
  store: string;
  /** Copies as the records make them, unsynced ones included, and as the synced ones alone do. */
  view = new Map<number, Copy>();
  durable = new Map<number, Copy>();
  /** The state store, by bucket. */
  checkpoints = new Map<number, Stored>();
  /** Damage was found, and no Register has told the table yet. */
  unclean = false;
  /** Faults switched on from outside. */
  isFull = false;
  slowFactor = 1;
  failNextSync = false;
  handle: DiskHandle | undefined;
  groups: Group[] = [];
  readonly world: World;
  readonly random: Prng;
  readonly times: DiskTimes;

  constructor(world: World, random: Prng, times: DiskTimes, store: string) {
    this.world = world;
    this.random = random;
    this.times = times;
    this.store = store;
  }

  copy(bucket: number): Copy {
    return copyIn(this.view, bucket);
  }

  durableCopy(bucket: number): Copy {
    return copyIn(this.durable, bucket);
  }

  open(process: Process, events: DiskEvents): DiskHandle {
    this.handle = new DiskHandle(this, process, events);
    return this.handle;
  }

  /** The process ended: what it had not handed over is lost; of what was in flight, any prefix is there. With `power`, of everything not synced. */
  crash(power: boolean): void {
    const reached = this.groups.findIndex((group) => !group.synced);
    const handedOver = this.handle?.handedOver ?? 0;
    this.handle = undefined;
    if (reached === -1) return;
    const firstInFlight = power ? reached : Math.max(reached, this.groups.findIndex((group) => group.ticket > handedOver));
    const keep = firstInFlight + this.random.below(this.groups.length - firstInFlight + 1);
    this.groups.length = Math.min(this.groups.length, keep);
    this.#rebuild();
  }

  /** Someone replaced the disk. */
  wipe(store: string): void {
    this.store = store;
    this.groups = [];
    this.checkpoints.clear();
    this.unclean = false;
    this.#rebuild();
  }

  /** A synced group is found broken at the next start. Returns false when there is none that a later header vouches for. */
  damage(): boolean {
    const through = this.groups.reduce((most, group) => Math.max(most, group.durableThrough), 0);
    const candidates = this.groups.filter((group) => group.ticket <= through);
    if (candidates.length === 0) return false;
    this.random.pick(candidates).damaged = true;
    return true;
  }

  /** What the next incarnation starts from (R21–R23). */
  recover(): SimRecovery {
    const through = this.groups.reduce((most, group) => (group.damaged ? most : Math.max(most, group.durableThrough)), 0);
    if (this.groups.some((group) => group.damaged && group.ticket <= through)) this.unclean = true;
    const clean = !this.unclean;
    const firstDamaged = this.groups.findIndex((group) => group.damaged);
    if (firstDamaged !== -1) this.groups.length = firstDamaged; // What follows a broken group cannot be trusted to join on.
    if (!clean) {
      this.#rebuild();
      // Durable before it registers, so that the next start knows it too (R22); as `unclean` is, until the table knows.
      const buckets = new Set([...this.view.keys(), ...this.checkpoints.keys()]);
      this.groups.push({ ...emptyGroup(this.#nextTicket()), records: [...buckets].map((bucket) => ({ type: "mark", bucket, incomplete: true })) });
    }
    // Everything above what is known to be synced is written again and synced before the node registers (R23).
    for (const group of this.groups) group.synced = true;
    this.#rebuild();
    const copies = new Map<number, CopyAtStart>();
    for (const [bucket, copy] of this.view) {
      let checkpoint = this.checkpoints.get(bucket);
      if (checkpoint !== undefined && checkpoint.applied > copy.last) {
        // The log was cut below the checkpoint (damage): what remains cannot carry it.
        this.checkpoints.delete(bucket);
        checkpoint = undefined;
      }
      copies.set(bucket, copy.atStart(checkpoint?.applied ?? 0));
    }
    return { store: this.store, clean, copies };
  }

  #nextTicket(): number {
    return (this.groups.at(-1)?.ticket ?? 0) + 1;
  }

  #rebuild(): void {
    this.view = new Map();
    this.durable = new Map();
    for (const group of this.groups) {
      for (const record of group.records) {
        this.copy(record.bucket).add(record);
        if (group.synced) this.durableCopy(record.bucket).add(record);
      }
    }
  }
}

/** What one incarnation of the process holds of its disk. Implements the log as the replica's driver needs it: tickets, groups in order. */
export class DiskHandle {
  /** Greatest ticket whose group was handed to the disk. */
  handedOver: number;
  readonly #disk: Disk;
  readonly #process: Process;
  readonly #events: DiskEvents;
  #open: Group;
  #flushing = false;
  #inFlight = 0;
  #durable: number;
  readonly #checkpointedAt = new Map<number, number>();
  readonly #waiting: { ticket: number; run: () => void }[] = [];

  constructor(disk: Disk, process: Process, events: DiskEvents) {
    this.#disk = disk;
    this.#process = process;
    this.#events = events;
    this.#durable = this.handedOver = disk.groups.at(-1)?.ticket ?? 0;
    this.#open = emptyGroup(this.#durable + 1);
  }

  add(record: LogRecord): number {
    const group = this.#open;
    if (group.records.length === 0) this.#disk.groups.push(group);
    group.records.push(record);
    this.#disk.copy(record.bucket).add(record);
    if (!this.#flushing) {
      this.#flushing = true;
      this.#disk.world.after(20, this.#process, "flush", "", () => {
        this.#flushing = false;
        this.#flush();
      });
    }
    return group.ticket;
  }

  /** Runs once everything written so far is durable; in the order of the calls. */
  whenDurable(run: () => void): void {
    const ticket = this.#open.records.length > 0 ? this.#open.ticket : this.handedOver;
    if (ticket <= this.#durable && this.#waiting.length === 0) run();
    else this.#waiting.push({ ticket, run });
  }

  /** Writes a checkpoint, atomic with its applied index, after the log that it covers is durable; those of one bucket in order. */
  checkpoint(bucket: number, checkpoint: Checkpoint, done: () => void): void {
    this.whenDurable(() => {
      const { world, random, times } = this.#disk;
      const at = Math.max(world.now + random.below(times.checkpointUs), this.#checkpointedAt.get(bucket) ?? 0);
      this.#checkpointedAt.set(bucket, at);
      world.after(at - world.now, this.#process, "checkpoint", bucket, () => {
        this.#store(bucket, checkpoint);
        done();
      });
    });
  }

  #store(bucket: number, { applied, writes, whole }: Checkpoint): void {
    const stored = this.#disk.checkpoints.get(bucket) ?? { applied: 0, records: new Map<string, Uint8Array>() };
    this.#disk.checkpoints.set(bucket, stored);
    stored.applied = applied;
    if (whole) stored.records.clear();
    for (const { key, value } of writes) {
      if (value === undefined) stored.records.delete(key);
      else stored.records.set(key, value);
    }
  }

  read(bucket: number, from: number, to: number, most: number): Entry[] {
    const copy = this.#disk.copy(bucket);
    const entries: Entry[] = [];
    // What is below the floor and in a checkpoint may be forgotten.
    if (from < Math.min(copy.floor, (this.#disk.checkpoints.get(bucket)?.applied ?? 0) + 1)) return entries;
    for (let index = from; index <= to && entries.length < most; index += 1) {
      const entry = copy.entries.get(index);
      if (entry === undefined) break;
      entries.push(entry);
    }
    return entries;
  }

  /** There is room again, or there was a change of the fault. */
  fullChanged(): void {
    this.#events.full(this.#disk.isFull);
    this.#flush();
  }

  #flush(): void {
    const disk = this.#disk;
    if (this.#open.records.length === 0 || this.#inFlight >= disk.times.inFlight || disk.isFull) return;
    const group = this.#open;
    group.durableThrough = this.#durable;
    this.#open = emptyGroup(group.ticket + 1);
    this.handedOver = group.ticket;
    this.#inFlight += 1;
    const [least, most] = disk.times.syncUs;
    const delay = disk.random.between(least, most) * disk.slowFactor;
    disk.world.after(delay, this.#process, "synced", group.ticket, () => this.#synced(group));
  }

  #synced(group: Group): void {
    if (this.#disk.failNextSync) {
      this.#disk.failNextSync = false;
      this.#events.failed(); // R24: the node stops.
      return;
    }
    this.#inFlight -= 1;
    group.synced = true;
    this.#tellDurable(group);
    this.#flush();
  }

  /** A group is durable only when every earlier one is (R14). */
  #tellDurable(group: Group): void {
    const groups = this.#disk.groups;
    let at = groups.lastIndexOf(group);
    while (at > 0 && groups[at - 1]!.ticket > this.#durable) at -= 1;
    if (!groups[at]!.synced) return;
    for (; at < groups.length && groups[at]!.synced; at += 1) {
      this.#durable = groups[at]!.ticket;
      for (const record of groups[at]!.records) this.#disk.durableCopy(record.bucket).add(record);
    }
    this.#events.durable(this.#durable);
    while (this.#waiting.length > 0 && this.#waiting[0]!.ticket <= this.#durable) this.#waiting.shift()!.run();
  }
}

function emptyGroup(ticket: number): Group {
  return { ticket, records: [], durableThrough: 0, synced: false, damaged: false };
}

function copyIn(copies: Map<number, Copy>, bucket: number): Copy {
  let copy = copies.get(bucket);
  if (copy === undefined) copies.set(bucket, (copy = new Copy()));
  return copy;
}

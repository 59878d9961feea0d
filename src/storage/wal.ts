// The write-ahead log of a node (docs/storage.md): records go into the open group, groups to the disk in their order, several at once.

import { assert } from "../base/assert.ts";
import { TimeHistogram } from "../base/counts.ts";
import { Ring } from "../base/ring.ts";
import type { Entry } from "../core/entry.ts";
import { locate, offsetOf } from "./copies.ts";
import type { Copies, Copy } from "./copies.ts";
import { StorageError } from "./errors.ts";
import { Group, GROUP_HEADER } from "./group.ts";
import type { Erasure, Log, LogEvents, LogStats, SegmentView, Ticket } from "./port.ts";
import { readEntries } from "./reader.ts";
import { control, MAX_PAYLOAD, RECORD_HEADER, RECORD_TYPE } from "./record.ts";
import type { LogRecord } from "./record.ts";
import { openingRecords } from "./recovery.ts";
import type { Recovered } from "./recovery.ts";
import type { Segment } from "./segment.ts";
import type { LogSettings } from "./settings.ts";
import { Upkeep } from "./upkeep.ts";
import { isFull } from "./vfs.ts";
import type { Vfs } from "./vfs.ts";

interface Waiter {
  readonly ticket: Ticket;
  readonly resolve: () => void;
  readonly reject: (error: Error) => void;
}

export class WriteAheadLog implements Log {
  readonly writeTimes = new TimeHistogram();
  readonly #copies: Copies;
  readonly #events: LogEvents;
  readonly #settings: LogSettings;
  readonly #upkeep: Upkeep;
  #active: Segment;
  #open: Group | undefined;
  /** Closed, not yet handed to the disk. */
  readonly #waiting = new Ring<Group>();
  /** Being written, in the order of their sequence. */
  readonly #inFlight = new Ring<Group>();
  readonly #buffers: Uint8Array[] = [];
  #sequence: number;
  #durable: number;
  #lastCrc: number;
  #flushing = false;
  #rollDue = false;
  #bytesWaiting = 0;
  #bytesWritten = 0;
  #groups = 0;
  readonly #fullFor = new Set<object>();
  readonly #retries = new Set<NodeJS.Timeout>();
  readonly #waiters: Waiter[] = [];
  #failure: Error | undefined;
  #closed = false;

  constructor(recovered: Recovered, vfs: Vfs, directory: string, storeId: string, settings: LogSettings, events: LogEvents) {
    const active = recovered.segments[recovered.segments.length - 1];
    assert(active !== undefined, "recovery leaves an active segment");
    this.#active = active;
    this.#copies = recovered.copies;
    this.#settings = settings;
    this.#events = events;
    this.#sequence = recovered.durable;
    this.#durable = recovered.durable;
    this.#lastCrc = active.lastCrc;
    this.#upkeep = new Upkeep(recovered, vfs, directory, storeId, settings, {
      write: (record) => this.#write(record),
      read: (bucket, indexes, maxBytes) => this.read(bucket, indexes, maxBytes),
      prepared: () => this.#submit(),
      full: (who, full) => this.#setFull(who, full),
      failed: (error) => this.#fail(error),
    });
  }

  append(bucket: number, entry: Entry): Ticket {
    const payload = entry.payload;
    const size = RECORD_HEADER + payload.length;
    const group = this.#open !== undefined && this.#open.fits(size) ? this.#open : this.#openGroup(size);
    const copy = this.#copies.ensure(bucket);
    this.#copies.append(copy, group.segment, entry.index, entry.epoch, group.start + group.used);
    group.add(RECORD_TYPE.entry, bucket, entry.kind, entry.index, entry.epoch, entry.time, payload);
    return group.sequence;
  }

  reset(bucket: number, index: number, epoch: number): Ticket {
    return this.#write(control(RECORD_TYPE.reset, bucket, { index, epoch }));
  }

  fill(bucket: number, entries: readonly Entry[]): Ticket {
    const base = this.#copies.get(bucket)?.base ?? 0;
    for (const entry of entries) {
      assert(entry.index <= base, "history ends at the base of a RESET");
      this.#write({ type: RECORD_TYPE.copied, bucket, ...entry });
    }
    return this.#sequence;
  }

  mark(bucket: number, incomplete: boolean): Ticket {
    return this.#write(control(RECORD_TYPE.mark, bucket, { kind: incomplete ? 1 : 0 }));
  }

  floor(bucket: number, index: number): Ticket {
    const copy = this.#copies.ensure(bucket);
    assert(index <= copy.last + 1, "the floor is at most behind the last entry");
    if (index <= copy.floor) return this.#sequence; // never falls
    return this.#write(control(RECORD_TYPE.floor, bucket, { index }));
  }

  checkpointed(bucket: number, applied: number): void {
    const copy = this.#copies.get(bucket);
    if (copy === undefined) return;
    copy.applied = applied;
    this.#upkeep.soon();
  }

  drop(bucket: number): Ticket {
    return this.#copies.get(bucket) === undefined ? this.#sequence : this.#write(control(RECORD_TYPE.drop, bucket));
  }

  settle(): Ticket {
    this.#upkeep.unclean = false;
    this.#upkeep.soon();
    return this.#write(control(RECORD_TYPE.unclean, 0));
  }

  async read(bucket: number, indexes: readonly number[], maxBytes: number): Promise<Entry[]> {
    this.#check();
    return this.#guarded(() => readEntries(bucket, indexes, maxBytes, (index) => this.#find(bucket, index)));
  }

  /** Damage that is met stops the node, and the next opening scans everything. */
  async #guarded<T>(reads: () => Promise<T>): Promise<T> {
    try {
      return await reads();
    } catch (error) {
      if (error instanceof StorageError && error.code === "damaged") await this.#upkeep.damageRead(error);
      throw error;
    }
  }

  async readRange(bucket: number, from: number, to: number, maxBytes: number): Promise<Entry[]> {
    const last = Math.min(to, this.#copies.get(bucket)?.last ?? 0);
    return this.read(bucket, Array.from({ length: Math.max(0, last - from + 1) }, (_, i) => from + i), maxBytes);
  }

  async erase(erasure: Erasure): Promise<{ readonly blanked: number; readonly isWhole: boolean }> {
    this.#check();
    return this.#guarded(() => this.#upkeep.erase(erasure));
  }

  roll(): void {
    this.#rollDue = true;
  }

  segments(): readonly SegmentView[] {
    return this.#upkeep.segments.map((segment) => {
      const last = new Map<number, number>();
      for (const { bucket, from, to } of segment.extents) if (from < to) last.set(bucket, Math.max(last.get(bucket) ?? 0, to - 1));
      return { bytes: heldBytes(segment), sealed: segment.sealed, last };
    });
  }

  async sync(): Promise<void> {
    this.#check();
    if (this.#durable >= this.#sequence) return;
    const ticket = this.#sequence;
    await new Promise<void>((resolve, reject) => {
      this.#waiters.push({ ticket, resolve, reject });
    });
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    if (this.#failure === undefined && this.#fullFor.size === 0 && this.#durable < this.#sequence) {
      await new Promise<void>((resolve) => {
        this.#waiters.push({ ticket: this.#sequence, resolve, reject: () => resolve() });
      });
    }
    for (const timer of this.#retries) clearTimeout(timer);
    await this.#upkeep.close();
  }

  stats(): LogStats {
    const segments = this.#upkeep.segments;
    return {
      segments: segments.length,
      bytes: segments.reduce((sum, segment) => sum + heldBytes(segment), 0),
      groups: this.#groups,
      groupsInFlight: this.#inFlight.size,
      bytesWaiting: this.#bytesWaiting + (this.#open?.used ?? 0),
      bytesWritten: this.#bytesWritten,
      full: this.#fullFor.size > 0,
    };
  }

  /** Any record but an entry, whose path is `append`. */
  #write(record: LogRecord): Ticket {
    const group = this.#groupWith(RECORD_HEADER + record.payload.length);
    this.#put(group, record);
    if (record.type === RECORD_TYPE.floor || record.type === RECORD_TYPE.drop || record.type === RECORD_TYPE.reset) this.#upkeep.soon();
    return group.sequence;
  }

  #groupWith(size: number): Group {
    return this.#open !== undefined && this.#open.fits(size) ? this.#open : this.#openGroup(size);
  }

  #put(group: Group, record: LogRecord): void {
    const offset = group.start + group.used;
    if (record.type === RECORD_TYPE.copied) {
      const copy = this.#copies.ensure(record.bucket);
      this.#copies.fill(copy, group.segment, record.index, record.epoch, offset);
    } else {
      this.#copies.control(record);
      group.segment.items?.push(record);
    }
    group.addRecord(record);
  }

  /** Opens the next group, with room for `size` bytes; in a new segment where the active one has too little. */
  #openGroup(size: number): Group {
    this.#check();
    assert(size <= RECORD_HEADER + MAX_PAYLOAD, "a record is at most 16 MiB");
    if (this.#open !== undefined) this.#closeOpen();
    const isDue = this.#rollDue && this.#active.firstSequence > 0;
    const opening = isDue || this.#active.bytes - this.#active.end < GROUP_HEADER + size ? this.#roll() : [];
    const needed = opening.reduce((sum, record) => sum + RECORD_HEADER + record.payload.length, GROUP_HEADER + size);
    const room = this.#active.bytes - this.#active.end;
    assert(needed <= room, "segmentBytes leaves room for the copies' records and the greatest record");
    const capacity = Math.min(room, Math.max(this.#settings.groupBytes, needed));
    const buffer = (capacity <= this.#settings.groupBytes ? this.#buffers.pop() : undefined) ?? new Uint8Array(Math.max(capacity, this.#settings.groupBytes));
    this.#sequence += 1;
    const group = new Group(this.#active, this.#sequence, this.#active.end, buffer, capacity);
    this.#open = group;
    for (const record of opening) this.#put(group, record);
    if (!this.#flushing) {
      this.#flushing = true;
      setImmediate(this.#flush);
    }
    return group;
  }

  /** Goes on in the next segment; returns what its first group begins with. */
  #roll(): LogRecord[] {
    const before = this.#active;
    this.#rollDue = false;
    this.#active = this.#upkeep.next();
    return openingRecords(this.#copies, before, this.#upkeep.retiredThrough, this.#upkeep.unclean);
  }

  #closeOpen(): void {
    const group = this.#open as Group;
    const segment = group.segment;
    this.#open = undefined;
    segment.end += group.size;
    segment.lastSequence = group.sequence;
    if (segment.firstSequence === 0) segment.firstSequence = group.sequence;
    this.#bytesWaiting += group.size;
    this.#waiting.push(group);
    if (segment.end > segment.bytes / 2) this.#upkeep.prepare();
  }

  readonly #flush = (): void => {
    this.#flushing = false;
    if (this.#failure !== undefined) return;
    if (this.#open !== undefined && this.#waiting.size === 0 && this.#inFlight.size < this.#settings.groupsInFlight) this.#closeOpen();
    this.#submit();
  };

  #submit(): void {
    while (this.#failure === undefined && this.#inFlight.size < this.#settings.groupsInFlight) {
      const group = this.#waiting.first();
      if (group === undefined || group.segment.file === undefined) return; // its segment is still being prepared
      this.#waiting.shift();
      this.#inFlight.push(group);
      group.handedAt = performance.now();
      const segment = group.segment;
      if (segment.firstSequence === group.sequence) segment.crcBefore = this.#lastCrc;
      const bytes = group.finish(this.#durable, this.#lastCrc);
      this.#lastCrc = group.crc;
      segment.lastCrc = group.crc;
      this.#hand(group, bytes);
    }
  }

  /** Hands a group to the disk, again and again while that is full: whole, from the same buffer, to the same place. */
  #hand(group: Group, bytes: Uint8Array): void {
    group.segment.file?.write(bytes, group.start).then(
      () => this.#onWritten(group, bytes.length),
      (error: unknown) => {
        if (this.#failure !== undefined) return;
        if (!isFull(error)) {
          this.#fail(error);
          return;
        }
        this.#setFull(group, true);
        const timer = setTimeout(() => {
          this.#retries.delete(timer);
          if (!this.#closed) this.#hand(group, bytes);
        }, this.#settings.fullRetryMs);
        this.#retries.add(timer);
      },
    ).catch((error: unknown) => this.#fail(error));
  }

  #onWritten(group: Group, bytes: number): void {
    if (this.#failure !== undefined) return; // nothing becomes durable after a failure (R24)
    group.written = true;
    this.writeTimes.record(performance.now() - group.handedAt);
    this.#bytesWritten += bytes;
    this.#groups += 1;
    this.#setFull(group, false);
    const before = this.#durable;
    // R14: a group counts only when every earlier one is durable.
    for (let first = this.#inFlight.first(); first?.written === true; first = this.#inFlight.first()) {
      this.#inFlight.shift();
      this.#durable = first.sequence;
      this.#bytesWaiting -= first.size;
      this.#release(first);
    }
    this.#flush();
    if (this.#durable > before) this.#tellDurable();
  }

  #release(group: Group): void {
    if (group.bytes.length === this.#settings.groupBytes && this.#buffers.length <= this.#settings.groupsInFlight) this.#buffers.push(group.bytes);
  }

  #tellDurable(): void {
    this.#events.durable(this.#durable);
    while (this.#waiters[0] !== undefined && this.#waiters[0].ticket <= this.#durable) this.#waiters.shift()?.resolve();
    this.#upkeep.durable(this.#durable);
  }

  /** Where an entry is to be had: its bytes while its group is held in memory, else its place on the disk. */
  #find(bucket: number, index: number): { segment: Segment; offset: number; held: Group | undefined } | undefined {
    const copy: Copy | undefined = this.#copies.get(bucket);
    const extent = copy === undefined ? undefined : locate(copy, index);
    if (extent === undefined) return undefined;
    const offset = offsetOf(extent, index);
    return { segment: extent.segment, offset, held: this.#heldGroup(extent.segment, offset) };
  }

  #heldGroup(segment: Segment, offset: number): Group | undefined {
    const holds = (group: Group | undefined): boolean => group !== undefined && group.segment === segment && offset >= group.start && offset < group.start + group.used;
    if (holds(this.#open)) return this.#open;
    for (const ring of [this.#inFlight, this.#waiting]) {
      for (let i = 0; i < ring.size; i += 1) if (holds(ring.at(i))) return ring.at(i);
    }
    return undefined;
  }

  #setFull(who: object, full: boolean): void {
    const before = this.#fullFor.size > 0;
    if (full) this.#fullFor.add(who);
    else this.#fullFor.delete(who);
    if (before !== this.#fullFor.size > 0) this.#events.full(!before);
  }

  #fail(error: unknown): void {
    if (this.#failure !== undefined) return;
    this.#failure = error instanceof Error ? error : new Error(String(error));
    for (const waiter of this.#waiters.splice(0)) waiter.reject(this.#failure);
    this.#events.failed(this.#failure);
  }

  #check(): void {
    if (this.#failure !== undefined) throw new StorageError("failed", "The log has failed; the node must stop.", this.#failure);
    if (this.#closed) throw new StorageError("closed", "The log is closed.");
  }
}

/** What a segment takes on the disk: each start seals the active one where it stands and cuts the rest off, so a sealed one may be much smaller than its size. */
function heldBytes(segment: Segment): number {
  return segment.sealed ? segment.end : segment.bytes;
}

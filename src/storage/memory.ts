// The storage port's twin in memory: the same answers, nothing on a disk. What was handed over is "durable" at the end of the turn.

import { TimeHistogram } from "../base/counts.ts";
import { assert } from "../base/assert.ts";
import { ENTRY_KIND, type Entry } from "../core/entry.ts";
import { StorageError } from "./errors.ts";
import type { Storage } from "./open.ts";
import type { Erasure, Log, LogEvents, LogStats, RecoveredCopy, SegmentView, StateStore, StateStoreWrite, Ticket } from "./port.ts";

interface MemoryCopy {
  floor: number;
  base: number;
  baseEpoch: number;
  last: number;
  incomplete: boolean;
  applied: number;
  readonly entries: Map<number, Entry>;
}

/** What outlives a close: open the storage again on the same one. */
export class MemoryDisk {
  readonly storeId = "00000000000000000000000000000001";
  readonly copies = new Map<number, MemoryCopy>();
  readonly state = new Map<number, { applied: number; readonly values: Map<string, Uint8Array> }>();
}

export function openMemoryStorage(disk: MemoryDisk, events: LogEvents): Storage {
  const log = new MemoryLog(disk, events);
  const state = new MemoryStateStore(disk);
  const copies = [...disk.copies].map(([bucket, copy]) => recovered(bucket, copy)).sort((a, b) => a.bucket - b.bucket);
  for (const { bucket } of copies) log.checkpointed(bucket, state.applied(bucket));
  return { recovery: { storeId: disk.storeId, clean: true, damage: [], copies }, log, state, close: () => log.close() };
}

class MemoryLog implements Log {
  readonly writeTimes = new TimeHistogram();
  readonly #disk: MemoryDisk;
  readonly #events: LogEvents;
  #ticket: Ticket = 1;
  #durable: Ticket = 0;
  #scheduled = false;
  #closed = false;
  #waiting: (() => void)[] = [];

  constructor(disk: MemoryDisk, events: LogEvents) {
    this.#disk = disk;
    this.#events = events;
  }

  append(bucket: number, entry: Entry): Ticket {
    const copy = this.#ensure(bucket);
    assert(entry.index > copy.base && entry.index <= copy.last + 1, "an entry joins on to its bucket's log");
    for (let index = entry.index; index <= copy.last; index += 1) copy.entries.delete(index);
    copy.entries.set(entry.index, { ...entry, payload: new Uint8Array(entry.payload) });
    copy.last = entry.index;
    return this.#written();
  }

  reset(bucket: number, index: number, epoch: number): Ticket {
    const copy = this.#ensure(bucket);
    copy.entries.clear();
    Object.assign(copy, { floor: 1, base: index, baseEpoch: epoch, last: index, incomplete: true });
    return this.#written();
  }

  fill(bucket: number, entries: readonly Entry[]): Ticket {
    const copy = this.#ensure(bucket);
    for (const entry of entries) {
      assert(entry.index <= copy.base, "history ends at the base of a RESET");
      copy.entries.set(entry.index, { ...entry, payload: new Uint8Array(entry.payload) });
    }
    return this.#written();
  }

  mark(bucket: number, incomplete: boolean): Ticket {
    this.#ensure(bucket).incomplete = incomplete;
    return this.#written();
  }

  floor(bucket: number, index: number): Ticket {
    const copy = this.#ensure(bucket);
    assert(index <= copy.last + 1, "the floor is at most behind the last entry");
    copy.floor = Math.max(copy.floor, index);
    this.#forget(copy);
    return this.#written();
  }

  checkpointed(bucket: number, applied: number): void {
    const copy = this.#disk.copies.get(bucket);
    if (copy === undefined) return;
    copy.applied = applied;
    this.#forget(copy);
  }

  drop(bucket: number): Ticket {
    this.#disk.copies.delete(bucket);
    return this.#written();
  }

  settle(): Ticket {
    return this.#written();
  }

  async read(bucket: number, indexes: readonly number[], maxBytes: number): Promise<Entry[]> {
    if (this.#closed) throw new StorageError("closed", "The log is closed.");
    const entries: Entry[] = [];
    let bytes = 0;
    for (const index of indexes) {
      const entry = this.#disk.copies.get(bucket)?.entries.get(index);
      if (entry === undefined) continue;
      bytes += entry.payload.length;
      if (entries.length > 0 && bytes > maxBytes) break;
      entries.push({ ...entry, payload: new Uint8Array(entry.payload) });
    }
    return entries;
  }

  async readRange(bucket: number, from: number, to: number, maxBytes: number): Promise<Entry[]> {
    const last = Math.min(to, this.#disk.copies.get(bucket)?.last ?? 0);
    return this.read(bucket, Array.from({ length: Math.max(0, last - from + 1) }, (_, i) => from + i), maxBytes);
  }

  segments(): readonly SegmentView[] {
    const last = new Map([...this.#disk.copies].map(([bucket, copy]) => [bucket, copy.last] as const));
    return [{ bytes: this.#bytes(), sealed: false, last }];
  }

  async erase({ ranges, isGone }: Erasure): Promise<{ readonly blanked: number; readonly isWhole: boolean }> {
    let blanked = 0;
    for (const [bucket, { from, to }] of ranges) {
      const entries = this.#disk.copies.get(bucket)?.entries;
      for (const [index, entry] of entries ?? []) {
        if (index < from || index > to || entry.kind === ENTRY_KIND.erased || !isGone(bucket, entry)) continue;
        entries?.set(index, { ...entry, kind: ENTRY_KIND.erased, payload: new Uint8Array(entry.payload.length) });
        blanked += 1;
      }
    }
    return { blanked, isWhole: true };
  }

  roll(): void {
    // there is one segment
  }

  async sync(): Promise<void> {
    if (!this.#scheduled) return;
    await new Promise<void>((resolve) => {
      this.#waiting.push(resolve);
    });
  }

  async close(): Promise<void> {
    await this.sync();
    this.#closed = true;
  }

  stats(): LogStats {
    return { segments: 1, bytes: this.#bytes(), groups: this.#durable, groupsInFlight: 0, bytesWaiting: 0, bytesWritten: 0, full: false };
  }

  #bytes(): number {
    let bytes = 0;
    for (const copy of this.#disk.copies.values()) for (const entry of copy.entries.values()) bytes += entry.payload.length;
    return bytes;
  }

  #ensure(bucket: number): MemoryCopy {
    let copy = this.#disk.copies.get(bucket);
    if (copy === undefined) {
      copy = { floor: 1, base: 0, baseEpoch: 0, last: 0, incomplete: false, applied: 0, entries: new Map() };
      this.#disk.copies.set(bucket, copy);
    }
    return copy;
  }

  #forget(copy: MemoryCopy): void {
    const kept = Math.min(copy.floor, copy.applied + 1, copy.last);
    for (const index of copy.entries.keys()) if (index < kept) copy.entries.delete(index);
  }

  #written(): Ticket {
    if (!this.#scheduled) {
      this.#scheduled = true;
      setImmediate(() => {
        this.#scheduled = false;
        this.#durable = this.#ticket;
        this.#ticket += 1;
        this.#events.durable(this.#durable);
        for (const resolve of this.#waiting.splice(0)) resolve();
      });
    }
    return this.#ticket;
  }
}

function recovered(bucket: number, copy: MemoryCopy): RecoveredCopy {
  const epochs: { epoch: number; first: number }[] = [];
  for (const { index, epoch } of [...copy.entries.values()].sort((a, b) => a.index - b.index)) {
    if (index >= copy.floor && epochs[epochs.length - 1]?.epoch !== epoch) epochs.push({ epoch, first: index });
  }
  const { floor, base, baseEpoch, last, incomplete } = copy;
  return { bucket, floor, base, baseEpoch, last, epochs, incomplete };
}

class MemoryStateStore implements StateStore {
  readonly #disk: MemoryDisk;
  #checkpoints = 0;
  #checkpointBytes = 0;

  constructor(disk: MemoryDisk) {
    this.#disk = disk;
  }

  applied(bucket: number): number {
    return this.#disk.state.get(bucket)?.applied ?? 0;
  }

  get(bucket: number, key: string): Uint8Array | undefined {
    return copyOf(this.#disk.state.get(bucket)?.values.get(key));
  }

  *range(bucket: number, prefix: string, after?: string): Iterable<readonly [string, Uint8Array]> {
    const values = this.#disk.state.get(bucket)?.values ?? new Map<string, Uint8Array>();
    const keys = [...values.keys()].map((key) => Buffer.from(key)).sort((a, b) => Buffer.compare(a, b)).map((key) => key.toString());
    const behind = (key: string): boolean => after === undefined || Buffer.compare(Buffer.from(key), Buffer.from(after)) > 0;
    for (const key of keys) if (key.startsWith(prefix) && behind(key)) yield [key, new Uint8Array(values.get(key) as Uint8Array)];
  }

  async checkpoint(bucket: number, applied: number, writes: readonly StateStoreWrite[]): Promise<void> {
    const values = this.#disk.state.get(bucket)?.values ?? new Map<string, Uint8Array>();
    for (const { key, value } of writes) {
      if (value === undefined) values.delete(key);
      else values.set(key, new Uint8Array(value));
      this.#checkpointBytes += key.length + (value?.length ?? 0);
    }
    this.#disk.state.set(bucket, { applied, values });
    this.#checkpoints += 1;
  }

  async replace(bucket: number, applied: number, writes: readonly StateStoreWrite[]): Promise<void> {
    this.#disk.state.delete(bucket);
    await this.checkpoint(bucket, applied, writes);
  }

  async drop(bucket: number): Promise<void> {
    this.#disk.state.delete(bucket);
  }

  stats(): { readonly bytes: number; readonly checkpointBytes: number; readonly checkpoints: number } {
    return { bytes: this.#checkpointBytes, checkpointBytes: this.#checkpointBytes, checkpoints: this.#checkpoints };
  }

  async close(): Promise<void> {
    // Nothing to close: the disk is the caller's.
  }
}

function copyOf(bytes: Uint8Array | undefined): Uint8Array | undefined {
  return bytes === undefined ? undefined : new Uint8Array(bytes);
}

// The port of a node's storage: one write-ahead log for all its buckets, and the state store its checkpoints go to.
// Implementations: `wal.ts` + `state-store.ts` (files, lmdb) and `memory.ts` (the twin); one conformance suite runs on both.

import type { TimeHistogram } from "../base/counts.ts";
import type { Entry } from "../core/entry.ts";

/** Rises by one with every group; everything written under a ticket ≤ T is durable once `durable(T)` was called. */
export type Ticket = number;

/** What recovery found of one bucket's copy. */
export interface RecoveredCopy {
  readonly bucket: number;
  /** Entries ≥ floor are retained; 1 when none was ever forgotten. */
  readonly floor: number;
  /** The index that the copy's last RESET named: the log joins on after it; 0 without one (R24). */
  readonly base: number;
  readonly baseEpoch: number;
  /** Index of the last entry; equals base when there is none. */
  readonly last: number;
  /** Where each epoch begins, ascending by index: the first retained entry of each. Covers floor … last. */
  readonly epochs: readonly { readonly epoch: number; readonly first: number }[];
  /** The durable mark of R22. */
  readonly incomplete: boolean;
}

export interface Recovery {
  /** Random, made once with the store; the table knows it (R21). */
  readonly storeId: string;
  /** R21: every group up to the greatest durable-through is whole. What was damaged is in `damage`. */
  readonly clean: boolean;
  readonly damage: readonly string[];
  readonly copies: readonly RecoveredCopy[];
}

export interface LogEvents {
  /** Every ticket ≤ `ticket` is durable. Called in order, once per group or for several at once, never from inside a call to the log. */
  durable(ticket: Ticket): void;
  /** The disk has no room (true), or has room again (false). Writes already handed over wait; reads go on. */
  full(isFull: boolean): void;
  /** A write or a sync failed for good: the node must stop; nothing further becomes durable (R24). */
  failed(error: Error): void;
}

/**
 * The write-ahead log of one node. All calls are synchronous and only add to the open group; the log flushes the group
 * on its own at the end of the turn (`setImmediate`), with a bounded number of groups in flight.
 */
export interface Log {
  /** From handing a group to the disk until it is durable. */
  readonly writeTimes: TimeHistogram;
  /** Adds an entry; it takes the place of every earlier record of its bucket at its index and above (R24). */
  append(bucket: number, entry: Entry): Ticket;
  /** A RESET record: the copy becomes empty, joins on after `index`, has floor 1 until `floor` says otherwise, and is marked incomplete in the same record (R22, R24). */
  reset(bucket: number, index: number, epoch: number): Ticket;
  /** Adds history at or below the base of a RESET, ascending; replaces nothing. Also used to copy records forward (R24). */
  fill(bucket: number, entries: readonly Entry[]): Ticket;
  /** Writes the copy's mark *incomplete* (R22). */
  mark(bucket: number, incomplete: boolean): Ticket;
  /** Entries below `index` of this bucket may be forgotten; durable with the ticket. Never falls. */
  floor(bucket: number, index: number): Ticket;
  /** The state store holds this bucket's state up to `applied`: replay begins after it, and segments below both it and the floor may be recycled. */
  checkpointed(bucket: number, applied: number): void;
  /** Forgets a bucket's copy wholly (after Retire). */
  drop(bucket: number): Ticket;
  /** The node has marked its copies and registered as unclean: the next recovery reports this damage no more (R22). */
  settle(): Ticket;
  /** The entries with these indexes (ascending), from memory or disk, also if not yet durable. Indexes that are not retained are left out. Bounded by `maxBytes`: a prefix is answered, at least one entry. */
  read(bucket: number, indexes: readonly number[], maxBytes: number): Promise<Entry[]>;
  /** The entries from … to, as `read`. */
  readRange(bucket: number, from: number, to: number, maxBytes: number): Promise<Entry[]>;
  /** The files of the log, oldest first, with the last index of each bucket that has entries in force there: for retention. */
  segments(): readonly SegmentView[];
  /** Resolves when everything handed over so far is durable. */
  sync(): Promise<void>;
  /**
   * Blanks the payloads of entries in every segment that is no longer written to, and lets go of files that hold bytes of earlier lives.
   * `isWhole`: none of the ranges' entries stand anywhere else; else try again later.
   */
  erase(erasure: Erasure): Promise<{ readonly blanked: number; readonly isWhole: boolean }>;
  /** What is written next goes into a new segment. */
  roll(): void;
  close(): Promise<void>;
  stats(): LogStats;
}

/** Which entries are to be blanked. None that a start may apply again: each is at or below its bucket's checkpoint. */
export interface Erasure {
  /** Of each bucket the indexes among which to look, from … to. */
  readonly ranges: ReadonlyMap<number, { readonly from: number; readonly to: number }>;
  readonly isGone: (bucket: number, entry: Entry) => boolean;
  /** Waits until so many more bytes may be read or written; false: stop. */
  readonly pace: (bytes: number) => Promise<boolean>;
}

export interface SegmentView {
  readonly bytes: number;
  /** No longer written to. */
  readonly sealed: boolean;
  readonly last: ReadonlyMap<number, number>;
}

/** Plain numbers for /metrics and `bellhop status` (E4). */
export interface LogStats {
  readonly segments: number;
  readonly bytes: number;
  readonly groups: number;
  readonly groupsInFlight: number;
  readonly bytesWaiting: number;
  readonly bytesWritten: number;
  readonly full: boolean;
}

export interface StateStoreWrite {
  readonly key: string;
  /** undefined deletes. */
  readonly value: Uint8Array | undefined;
}

/**
 * Materialised state of all buckets, written in checkpoints. Keys are strings of the state machine's own; the store puts the bucket in front.
 * One bucket's checkpoint is atomic with its applied index.
 */
export interface StateStore {
  /** Index up to which the stored state is applied; 0 when there is none. */
  applied(bucket: number): number;
  /** The bytes are the caller's (a copy). */
  get(bucket: number, key: string): Uint8Array | undefined;
  /** Key and value of every stored key that begins with `prefix` and is > `after`, in byte order. */
  range(bucket: number, prefix: string, after?: string): Iterable<readonly [string, Uint8Array]>;
  checkpoint(bucket: number, applied: number, writes: readonly StateStoreWrite[]): Promise<void>;
  /** Replaces the bucket's whole state (a snapshot's install), atomically. */
  replace(bucket: number, applied: number, writes: readonly StateStoreWrite[]): Promise<void>;
  drop(bucket: number): Promise<void>;
  /** Bytes of the file, and bytes the checkpoints have written since start (an upper bound by pages). */
  stats(): { readonly bytes: number; readonly checkpointBytes: number; readonly checkpoints: number };
  close(): Promise<void>;
}

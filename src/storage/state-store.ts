// The state store on lmdb (docs/storage.md): reads are synchronous, checkpoints are transactions written on lmdb's own thread.

import { closeSync, existsSync, openSync, promises as fs, readSync, renameSync, rmSync, statfsSync, statSync } from "node:fs";
import type { FileHandle } from "node:fs/promises";
import { join } from "node:path";
import { open } from "lmdb";
import type { RootDatabase } from "lmdb";
import { assert } from "../base/assert.ts";
import { crc32c } from "../base/crc32c.ts";
import { StorageError } from "./errors.ts";
import { mostAdded, mostBytes, mostCopied, ownPages, treePages } from "./state-pages.ts";
import type { LmdbStats } from "./state-pages.ts";
import type { StateStore, StateStoreWrite } from "./port.ts";

/** Longest key of the state machine, bytes; lmdb takes 1978 with the bucket in front. */
export const MAX_STATE_KEY = 1900;

const KEY_TYPE = { applied: 0, state: 1 } as const;
const PREFIX_BYTES = 5;
/** Beside `applied`: index as u64, sum of the bucket's records as u32, CRC-32C of these as u32; big-endian. */
const SUM_AT = 8;
const SUM_CRC_AT = 12;
const APPLIED_BYTES = 16;
const BEHIND_ALL = Buffer.from([0xff]); // no UTF-8 text begins with it
/** Files below this are not worth a copy, bytes. */
const COMPACT_ABOVE = 16 * 1024 * 1024;
/** Zeros written at once where the file grows, bytes. */
const ZEROS = Buffer.alloc(256 * 1024);

/** Where lmdb's meta pages say what they are, and how long a page is. */
const META_BYTES = 64;
const META_MAGIC_AT = 24;
const META_MAGIC = 0xbeefc0de;
const META_PAGE_SIZE_AT = 48;

type Lmdb = RootDatabase<Buffer, Buffer>;

/**
 * Opens the store in a directory; where more than half of its file is free pages, and the disk has room, it is copied compactly first.
 * @throws StorageError `damaged` where the file is no store, has been cut, or holds other records than were written; every record is read for that
 */
export async function openStateStore(directory: string): Promise<StateStore> {
  const path = join(directory, "state.lmdb");
  const copy = `${path}.compact`;
  rmSync(copy, { force: true, recursive: true });
  let db = openLmdb(path);
  const sums = await verified(db, path);
  if (freeShare(db) > 0.5 && usedBytes(db) > COMPACT_ABOVE && freeOnDisk(directory) > usedBytes(db)) {
    await db.backup(copy, true);
    await db.close();
    const compacted = existsSync(join(copy, "data.mdb")) ? join(copy, "data.mdb") : copy;
    renameSync(compacted, path);
    rmSync(copy, { force: true, recursive: true });
    db = openLmdb(path);
  }
  return new LmdbStateStore(db, path, await fs.open(path, "r+"), sums);
}

function openLmdb(path: string): Lmdb {
  const before = statSync(path, { throwIfNoEntry: false })?.size ?? 0;
  try {
    if (before > 0) checkMetaPages(path);
    // One file under the name given, synced within the commit: a sync that fails in lmdb's background would be told to nobody (R24).
    const db = open<Buffer, Buffer>({
      path, noSubdir: true, encoding: "binary", keyEncoding: "binary", compression: false, overlappingSync: false, eventTurnBatching: false,
    });
    if (before === 0 || before >= usedBytes(db)) return db;
    // Nothing of it was read yet: a page that is mapped and not there would end the process by a signal.
    throw new Error(`it has ${before} bytes and should have ${usedBytes(db)}`);
  } catch (error) {
    const why = (error as Error).message;
    throw new StorageError("damaged", `The state store ${path} cannot be used: ${why}. Restore the data directory from a copy.`, error);
  }
}

/** lmdb ends the process by a signal where these two pages are not its own. */
function checkMetaPages(path: string): void {
  const file = openSync(path, "r");
  try {
    let at = 0;
    for (const page of ["first", "second"]) {
      const meta = Buffer.alloc(META_BYTES);
      readSync(file, meta, 0, META_BYTES, at);
      if (meta.readUInt32LE(META_MAGIC_AT) !== META_MAGIC) throw new Error(`its ${page} page is damaged`);
      at = meta.readUInt32LE(META_PAGE_SIZE_AT);
    }
  } finally {
    closeSync(file);
  }
}

/** The sum of each bucket's records, after it was found to be the one that was written with them: lmdb keeps no checksums of its own. */
async function verified(db: Lmdb, path: string): Promise<Map<number, number>> {
  try {
    return sumsOf(db);
  } catch (error) {
    await db.close();
    const next = "In a cluster give the node an empty data directory, and it gets its copies from the others; else restore the directory from a copy.";
    throw new StorageError("damaged", `The state store ${path} is damaged: ${(error as Error).message}. ${next}`, error);
  }
}

function sumsOf(db: Lmdb): Map<number, number> {
  const sums = new Map<number, number>();
  const written = new Map<number, number>();
  for (const { key, value } of db.getRange({})) {
    const bucket = key.length < PREFIX_BYTES ? -1 : key.readUInt32BE(0);
    const isApplied = key.length === PREFIX_BYTES && key[PREFIX_BYTES - 1] === KEY_TYPE.applied;
    if (!isApplied) sums.set(bucket, (sums.get(bucket) ?? 0) + fingerprint(key, value));
    else if (value.length === APPLIED_BYTES && value.readUInt32BE(SUM_CRC_AT) === crcOf(value.subarray(0, SUM_CRC_AT))) written.set(bucket, value.readUInt32BE(SUM_AT));
  }
  for (const bucket of new Set([...sums.keys(), ...written.keys()])) {
    const sum = (sums.get(bucket) ?? 0) >>> 0;
    if (sum !== written.get(bucket)) throw new Error(`what it holds of bucket ${bucket} is not what was written`);
    sums.set(bucket, sum);
  }
  return sums;
}

/** Of a record, to be added up; a value under another key gives another one. */
function fingerprint(key: Uint8Array, value: Uint8Array): number {
  return Math.imul(crcOf(key) | 1, crcOf(value) + value.length) >>> 0;
}

function crcOf({ buffer, byteOffset, byteLength }: Uint8Array): number {
  return crc32c(new DataView(buffer, byteOffset, byteLength), 0, byteLength);
}

function freeOnDisk(directory: string): number {
  const { bavail, bsize } = statfsSync(directory);
  return bavail * bsize;
}

function statsOf(db: Lmdb): LmdbStats {
  return db.getStats() as LmdbStats;
}

/** Up to the last page that was ever used. */
function usedBytes(db: Lmdb): number {
  const stats = statsOf(db);
  return (stats.lastPageNumber + 1) * stats.pageSize;
}

function freeShare(db: Lmdb): number {
  const stats = statsOf(db);
  const used = stats.treeBranchPageCount + stats.treeLeafPageCount + stats.overflowPages;
  return 1 - used / (stats.lastPageNumber + 1);
}

class LmdbStateStore implements StateStore {
  readonly #db: Lmdb;
  readonly #path: string;
  readonly #file: FileHandle;
  /** Bytes that the file has; behind `usedBytes` they are zeros. */
  #size: number;
  /** By bucket: all its records' fingerprints added up, as of the last transaction. */
  readonly #sums: Map<number, number>;
  /** The last transaction: they follow one another. */
  #turn: Promise<unknown> = Promise.resolve();
  #checkpointBytes = 0;
  #checkpoints = 0;

  constructor(db: Lmdb, path: string, file: FileHandle, sums: Map<number, number>) {
    this.#sums = sums;
    this.#db = db;
    this.#path = path;
    this.#file = file;
    this.#size = statSync(path).size;
  }

  applied(bucket: number): number {
    const value = this.#db.get(appliedKey(bucket));
    return value === undefined ? 0 : Number(value.readBigUInt64BE(0));
  }

  get(bucket: number, key: string): Uint8Array | undefined {
    return this.#db.get(stateKey(bucket, key));
  }

  *range(bucket: number, prefix: string, after?: string): Iterable<readonly [string, Uint8Array]> {
    const start = after !== undefined && after > prefix ? after : prefix;
    const end = Buffer.concat([stateKey(bucket, prefix), BEHIND_ALL]);
    for (const { key, value } of this.#db.getRange({ start: stateKey(bucket, start), end })) {
      const name = key.toString("utf8", PREFIX_BYTES);
      if (name !== after) yield [name, value];
    }
  }

  checkpoint(bucket: number, applied: number, writes: readonly StateStoreWrite[]): Promise<void> {
    return this.#transact(bucket, writes, () => this.#put(bucket, applied, writes));
  }

  replace(bucket: number, applied: number, writes: readonly StateStoreWrite[]): Promise<void> {
    return this.#transact(bucket, [...this.#removals(bucket), ...writes], () => {
      this.#removeAll(bucket);
      this.#put(bucket, applied, writes);
    });
  }

  drop(bucket: number): Promise<void> {
    return this.#transact(bucket, this.#removals(bucket), () => this.#removeAll(bucket));
  }

  stats(): { readonly bytes: number; readonly checkpointBytes: number; readonly checkpoints: number } {
    return { bytes: this.#size, checkpointBytes: this.#checkpointBytes, checkpoints: this.#checkpoints };
  }

  async close(): Promise<void> {
    await this.#turn;
    await this.#file.close();
    await this.#db.close();
  }

  /** One transaction behind the ones before; resolves when it is on the disk. */
  #transact(bucket: number, writes: readonly StateStoreWrite[], action: () => void): Promise<void> {
    const done = this.#turn.then(async () => {
      const before = statsOf(this.#db);
      const paths = writes.length + 1; // `applied` is one too
      const changed = mostCopied(paths, this.#leaves(bucket, paths, before), before) + ownPages(writes, before);
      await this.#makeRoom(mostBytes(changed + mostAdded(writes, before), before));
      await this.#commit(action);
      this.#checkpoints += 1;
      const grown = Math.max(0, treePages(statsOf(this.#db)) - treePages(before));
      this.#checkpointBytes += mostBytes(changed + grown, before);
    });
    this.#turn = done.catch(() => undefined);
    return done;
  }

  /** Leaf pages of a bucket, if they are half as full as the average at least; all that there are, where it has more than so many writes change. */
  #leaves(bucket: number, writes: number, { entryCount, treeLeafPageCount }: LmdbStats): number {
    const perLeaf = Math.max(entryCount / Math.max(treeLeafPageCount, 1), 1);
    const limit = Math.ceil(writes * perLeaf);
    const entries = this.#db.getKeysCount({ start: appliedKey(bucket), end: appliedKey(bucket + 1), limit });
    return entries < limit ? Math.ceil((2 * entries) / perLeaf) + 2 : treeLeafPageCount;
  }

  /** lmdb tells a full disk by the error of a broken one, so the file grows here first. @throws ENOSPC or EDQUOT, with nothing changed */
  async #makeRoom(bytes: number): Promise<void> {
    const needed = usedBytes(this.#db) + bytes;
    const before = Math.max(this.#size, usedBytes(this.#db));
    try {
      for (let at = before; at < needed; ) at += (await this.#file.write(ZEROS, 0, Math.min(ZEROS.length, needed - at), at)).bytesWritten;
    } catch (error) {
      await this.#file.truncate(before);
      throw error;
    }
    this.#size = Math.max(before, needed);
  }

  async #commit(action: () => void): Promise<void> {
    try {
      await this.#db.transaction(action);
    } catch (error) {
      // What failed is in a promise of its own, which nobody else looks at.
      const { commitError } = error as { readonly commitError?: Promise<never> };
      const cause = ((await commitError?.catch((inner: unknown) => inner)) ?? error) as Error;
      throw new StorageError("failed", `The state store ${this.#path} could not be written: ${cause.message}.`, cause);
    }
  }

  #removals(bucket: number): StateStoreWrite[] {
    return [...this.range(bucket, "")].map(([key]) => ({ key, value: undefined }));
  }

  #put(bucket: number, applied: number, writes: readonly StateStoreWrite[]): void {
    let sum = this.#sums.get(bucket) ?? 0;
    for (const { key, value } of writes) {
      const stored = stateKey(bucket, key);
      const before = this.#db.get(stored);
      if (before !== undefined) sum -= fingerprint(stored, before);
      if (value === undefined) this.#db.removeSync(stored);
      else {
        this.#db.putSync(stored, Buffer.from(value.buffer, value.byteOffset, value.byteLength));
        sum += fingerprint(stored, value);
      }
      sum >>>= 0;
    }
    this.#sums.set(bucket, sum);
    const record = Buffer.alloc(APPLIED_BYTES);
    record.writeBigUInt64BE(BigInt(applied));
    record.writeUInt32BE(sum, SUM_AT);
    record.writeUInt32BE(crcOf(record.subarray(0, SUM_CRC_AT)), SUM_CRC_AT);
    this.#db.putSync(appliedKey(bucket), record);
  }

  #removeAll(bucket: number): void {
    const keys = [...this.#db.getKeys({ start: appliedKey(bucket), end: Buffer.concat([stateKey(bucket, ""), BEHIND_ALL]) })];
    for (const key of keys) this.#db.removeSync(key);
    this.#sums.delete(bucket);
  }
}

function appliedKey(bucket: number): Buffer {
  return prefixed(bucket, KEY_TYPE.applied, "");
}

function stateKey(bucket: number, key: string): Buffer {
  return prefixed(bucket, KEY_TYPE.state, key);
}

function prefixed(bucket: number, type: number, key: string): Buffer {
  const bytes = Buffer.byteLength(key);
  assert(bytes <= MAX_STATE_KEY, "a key of the state store is at most 1900 bytes");
  const stored = Buffer.allocUnsafe(PREFIX_BYTES + bytes);
  stored.writeUInt32BE(bucket, 0);
  stored.writeUInt8(type, 4);
  stored.write(key, PREFIX_BYTES);
  return stored;
}

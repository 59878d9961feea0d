// The state store on lmdb (docs/storage.md): reads are synchronous, checkpoints are transactions written on lmdb's own thread.

import { existsSync, renameSync, rmSync } from "node:fs";
import { join } from "node:path";
import { open } from "lmdb";
import type { RootDatabase } from "lmdb";
import { assert } from "../base/assert.ts";
import type { StateStore, StateStoreWrite } from "./port.ts";

/** Longest key of the state machine, bytes; lmdb takes 1978 with the bucket in front. */
export const MAX_STATE_KEY = 1900;

const KEY_TYPE = { applied: 0, state: 1 } as const;
const PREFIX_BYTES = 5;
const BEHIND_ALL = Buffer.from([0xff]); // no UTF-8 text begins with it
/** Files below this are not worth a copy, bytes. */
const COMPACT_ABOVE = 16 * 1024 * 1024;

type Lmdb = RootDatabase<Buffer, Buffer>;

interface LmdbStats {
  readonly pageSize: number;
  readonly treeDepth: number;
  readonly treeBranchPageCount: number;
  readonly treeLeafPageCount: number;
  readonly overflowPages: number;
  readonly lastPageNumber: number;
}

/** Opens the store in a directory; where more than half of its file is free pages, it is copied compactly first. */
export async function openStateStore(directory: string): Promise<StateStore> {
  const path = join(directory, "state.lmdb");
  const copy = `${path}.compact`;
  rmSync(copy, { force: true, recursive: true });
  let db = openLmdb(path);
  if (freeShare(db) > 0.5 && fileBytes(db) > COMPACT_ABOVE) {
    await db.backup(copy, true);
    await db.close();
    const compacted = existsSync(join(copy, "data.mdb")) ? join(copy, "data.mdb") : copy;
    renameSync(compacted, path);
    rmSync(copy, { force: true, recursive: true });
    db = openLmdb(path);
  }
  return new LmdbStateStore(db);
}

function openLmdb(path: string): Lmdb {
  // noSubdir keeps one file under the name given; without `noSync`, `flushed` means that it is on the disk.
  return open<Buffer, Buffer>({ path, noSubdir: true, encoding: "binary", keyEncoding: "binary", compression: false });
}

function statsOf(db: Lmdb): LmdbStats {
  return db.getStats() as LmdbStats;
}

function fileBytes(db: Lmdb): number {
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
  #checkpointBytes = 0;
  #checkpoints = 0;

  constructor(db: Lmdb) {
    this.#db = db;
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

  async checkpoint(bucket: number, applied: number, writes: readonly StateStoreWrite[]): Promise<void> {
    await this.#transact(() => this.#put(bucket, applied, writes), writes);
  }

  async replace(bucket: number, applied: number, writes: readonly StateStoreWrite[]): Promise<void> {
    await this.#transact(() => {
      this.#removeAll(bucket);
      this.#put(bucket, applied, writes);
    }, writes);
  }

  async drop(bucket: number): Promise<void> {
    await this.#transact(() => this.#removeAll(bucket), []);
  }

  stats(): { readonly bytes: number; readonly checkpointBytes: number; readonly checkpoints: number } {
    return { bytes: fileBytes(this.#db), checkpointBytes: this.#checkpointBytes, checkpoints: this.#checkpoints };
  }

  async close(): Promise<void> {
    await this.#db.close();
  }

  /** One transaction; resolves when it is on the disk. */
  async #transact(action: () => void, writes: readonly StateStoreWrite[]): Promise<void> {
    this.#checkpoints += 1;
    const { pageSize, treeDepth } = statsOf(this.#db);
    // Each write copies at most its path through the tree, and the pages of its value.
    for (const { value } of writes) this.#checkpointBytes += pageSize * (treeDepth + Math.floor((value?.length ?? 0) / pageSize));
    const before = this.#db.transaction(action);
    await before;
    await this.#db.flushed;
  }

  #put(bucket: number, applied: number, writes: readonly StateStoreWrite[]): void {
    for (const { key, value } of writes) {
      const stored = stateKey(bucket, key);
      if (value === undefined) this.#db.removeSync(stored);
      else this.#db.putSync(stored, Buffer.from(value.buffer, value.byteOffset, value.byteLength));
    }
    const index = Buffer.alloc(8);
    index.writeBigUInt64BE(BigInt(applied));
    this.#db.putSync(appliedKey(bucket), index);
  }

  #removeAll(bucket: number): void {
    const keys = [...this.#db.getKeys({ start: appliedKey(bucket), end: Buffer.concat([stateKey(bucket, ""), BEHIND_ALL]) })];
    for (const key of keys) this.#db.removeSync(key);
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

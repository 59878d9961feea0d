// A simulated disk behind the Vfs: operations complete one at a time in a seeded order; at each step one can ask what a loss of power may leave.

import { Prng } from "../../src/base/prng.ts";
import type { Vfs, VfsFile } from "../../src/storage/vfs.ts";

interface Inode {
  bytes: Uint8Array;
}

type Names = Map<string, Inode>;

interface PendingWrite {
  readonly inode: Inode;
  readonly bytes: Uint8Array;
  readonly position: number;
}

/** One operation that was begun and is not done. */
interface Operation {
  readonly name: string;
  readonly write?: PendingWrite;
  readonly truncate?: { readonly inode: Inode; readonly bytes: number };
  readonly naming?: (names: Names) => void;
  complete(): void;
}

/** What is on the disk at one moment, and what is under way. */
export interface CrashPoint {
  /** Inodes by identity, with their bytes at the moment. */
  readonly inodes: ReadonlyMap<Inode, Uint8Array>;
  readonly names: ReadonlyMap<string, Inode>;
  /** Not synced yet: made durable in their order, so a crash keeps a prefix. */
  readonly naming: readonly ((names: Names) => void)[];
  readonly writes: readonly PendingWrite[];
  readonly truncates: readonly { readonly inode: Inode; readonly bytes: number }[];
  readonly operation: string;
}

export interface SimDiskOptions {
  readonly seed?: number;
  /** Operations complete at once (false), or one now and then, in any order (true). */
  readonly slow?: boolean;
  /** Called before each completion. */
  readonly onStep?: (disk: SimDisk) => void;
  /** A planted fault: a write says that it is done when it has only begun. */
  readonly lies?: boolean;
}

export class SimDisk implements Vfs {
  /** As it is seen now, and as it is after a crash if no naming under way is kept. */
  readonly #seen: Names = new Map();
  #durable: Names = new Map();
  #naming: ((names: Names) => void)[] = [];
  readonly #pending: Operation[] = [];
  readonly #chance: Prng;
  readonly #options: SimDiskOptions;
  #scheduled = false;
  #stopped = false;
  /** An error code for the next operations whose name it gives, and how many of them. */
  readonly faults: { operation: string; code: string; times: number; path?: string }[] = [];
  readonly done: string[] = [];

  constructor(options: SimDiskOptions = {}, files: ReadonlyMap<string, Uint8Array> = new Map()) {
    this.#options = options;
    this.#chance = new Prng(options.seed ?? 1);
    for (const [path, bytes] of files) this.#seen.set(path, { bytes: new Uint8Array(bytes) });
    this.#durable = new Map(this.#seen);
  }

  /** The power goes: nothing that is under way is ever done. */
  stop(): void {
    this.#stopped = true;
  }

  files(): Map<string, Uint8Array> {
    return new Map([...this.#seen].map(([path, inode]) => [path, new Uint8Array(inode.bytes)]));
  }

  crashPoint(operation: string): CrashPoint {
    const inodes = new Map<Inode, Uint8Array>();
    for (const inode of [...this.#durable.values(), ...this.#seen.values()]) inodes.set(inode, new Uint8Array(inode.bytes));
    return {
      inodes,
      names: new Map(this.#durable),
      naming: [...this.#naming, ...this.#pending.flatMap((one) => one.naming ?? [])],
      writes: this.#pending.flatMap((one) => one.write ?? []),
      truncates: this.#pending.flatMap((one) => one.truncate ?? []),
      operation,
    };
  }

  async makeDirectory(): Promise<void> {
    // Directories are implied by the paths in them.
  }

  async list(path: string): Promise<string[]> {
    const names = [...this.#seen.keys()].filter((name) => name.startsWith(`${path}/`)).map((name) => name.slice(path.length + 1));
    return names.filter((name) => !name.includes("/")).sort();
  }

  async open(path: string): Promise<VfsFile> {
    let inode = this.#seen.get(path);
    if (inode === undefined) {
      const made = { bytes: new Uint8Array(0) };
      inode = made;
      await this.#rename(`create ${path}`, (names) => names.set(path, made));
    }
    return new SimFile(this, inode, path);
  }

  async rename(from: string, to: string): Promise<void> {
    const inode = this.#seen.get(from);
    if (inode === undefined) throw Object.assign(new Error(`ENOENT ${from}`), { code: "ENOENT" });
    await this.#rename(`rename ${from} ${to}`, (names) => {
      names.delete(from);
      names.set(to, inode);
    });
  }

  async remove(path: string): Promise<void> {
    await this.#rename(`remove ${path}`, (names) => names.delete(path));
  }

  async syncDirectory(path: string): Promise<void> {
    const covered = [...this.#naming];
    await this.#operate(`syncDirectory ${path}`, {}, () => {
      // What was named before the call is durable; several syncs may be under way.
      const kept = this.#naming.filter((naming) => !covered.includes(naming));
      for (const naming of this.#naming) if (covered.includes(naming)) naming(this.#durable);
      this.#naming = kept;
    });
  }

  async write(inode: Inode, path: string, bytes: Uint8Array, position: number): Promise<void> {
    // The bytes as they are when the write is begun; a caller that changes its buffer meanwhile is found out when it is done.
    const begun = new Uint8Array(bytes);
    if (this.#options.lies === true) {
      void this.#operate(`write ${path}`, { write: { inode, bytes: begun, position } }, () => put(inode, begun, position));
      return;
    }
    await this.#operate(`write ${path}`, { write: { inode, bytes: begun, position } }, () => {
      if (Buffer.compare(begun, bytes) !== 0) throw new Error(`the buffer of a write to ${path} was changed before it was done`);
      put(inode, begun, position);
    });
  }

  async truncate(inode: Inode, path: string, bytes: number): Promise<void> {
    await this.#operate(`truncate ${path}`, { truncate: { inode, bytes } }, () => cutTo(inode, bytes));
  }

  #rename(name: string, change: (names: Names) => void): Promise<void> {
    return this.#operate(name, { naming: change }, () => {
      change(this.#seen);
      this.#naming.push(change);
    });
  }

  #operate(name: string, what: Partial<Operation>, apply: () => void): Promise<void> {
    return new Promise((resolve, reject) => {
      const complete = (): void => {
        this.done.push(name);
        const [kind = "", path = ""] = name.split(" ");
        const fault = this.faults.find((one) => one.operation === kind && one.times > 0 && (one.path === undefined || path.includes(one.path)));
        if (fault !== undefined) {
          fault.times -= 1;
          reject(Object.assign(new Error(`${fault.code}: ${name}`), { code: fault.code }));
          return;
        }
        try {
          apply();
          resolve();
        } catch (error) {
          reject(error instanceof Error ? error : new Error(String(error)));
        }
      };
      this.#pending.push({ name, ...what, complete });
      this.#schedule();
    });
  }

  #schedule(): void {
    if (this.#scheduled || this.#stopped) return;
    this.#scheduled = true;
    if (this.#options.slow === true) setImmediate(() => this.#step());
    else queueMicrotask(() => this.#step());
  }

  #step(): void {
    this.#scheduled = false;
    if (this.#stopped || this.#pending.length === 0) return;
    if (this.#options.slow !== true || this.#chance.float() < 0.4) {
      this.#options.onStep?.(this);
      if (this.#stopped) return;
      const at = this.#options.slow === true ? this.#choose() : 0;
      this.#pending.splice(at, 1)[0]?.complete();
    }
    this.#schedule();
  }

  /** Any operation under way, but namings and syncs keep their order. */
  #choose(): number {
    const at = Math.floor(this.#chance.float() * this.#pending.length);
    if (this.#pending[at]?.write !== undefined) return at;
    return this.#pending.findIndex((one) => one.write === undefined);
  }
}

class SimFile implements VfsFile {
  readonly #disk: SimDisk;
  readonly #inode: Inode;
  readonly #path: string;

  constructor(disk: SimDisk, inode: Inode, path: string) {
    this.#disk = disk;
    this.#inode = inode;
    this.#path = path;
  }

  async read(into: Uint8Array, position: number): Promise<number> {
    const part = this.#inode.bytes.subarray(position, position + into.length);
    into.set(part);
    return part.length;
  }

  write(bytes: Uint8Array, position: number): Promise<void> {
    return this.#disk.write(this.#inode, this.#path, bytes, position);
  }

  truncate(bytes: number): Promise<void> {
    return this.#disk.truncate(this.#inode, this.#path, bytes);
  }

  async size(): Promise<number> {
    return this.#inode.bytes.length;
  }

  async close(): Promise<void> {
    // A closed file keeps its bytes.
  }
}

function put(inode: Inode, bytes: Uint8Array, position: number): void {
  inode.bytes = written(inode.bytes, bytes, position);
}

function written(before: Uint8Array, bytes: Uint8Array, position: number): Uint8Array {
  const after = before.length >= position + bytes.length ? before : grown(before, position + bytes.length);
  after.set(bytes, position);
  return after;
}

function grown(before: Uint8Array, length: number): Uint8Array {
  const after = new Uint8Array(length);
  after.set(before);
  return after;
}

function cutTo(inode: Inode, bytes: number): void {
  inode.bytes = inode.bytes.length > bytes ? inode.bytes.slice(0, bytes) : grown(inode.bytes, bytes);
}

interface Piece {
  readonly write: PendingWrite;
  readonly from: number;
  readonly to: number;
}

/** Up to this many pieces, every subset of them is tried. */
const ALL_SUBSETS_OF = 4;

/**
 * What the disk may hold after a loss of power at this point: a prefix of the namings, and of the writes under way any subset of their
 * sectors. Every case where they are few, else the extreme ones and a seeded sample of `samples`.
 */
export function* crashImages(point: CrashPoint, tear: 512 | 4096, samples: number, chance: Prng): Generator<Map<string, Uint8Array>> {
  const pieces: Piece[] = point.writes.flatMap((write) => piecesOf(write, tear));
  const subsets: boolean[][] = [];
  if (pieces.length <= ALL_SUBSETS_OF) {
    for (let mask = 0; mask < 1 << pieces.length; mask += 1) subsets.push(pieces.map((_, i) => (mask & (1 << i)) !== 0));
  } else {
    subsets.push(pieces.map(() => false), pieces.map(() => true));
    for (const write of point.writes) subsets.push(pieces.map((piece) => piece.write === write));
    for (let i = 0; i < samples; i += 1) subsets.push(pieces.map(() => chance.float() < 0.5));
  }
  for (const subset of subsets) {
    for (let kept = 0; kept <= point.naming.length; kept += 1) {
      for (const truncated of point.truncates.length > 0 ? [false, true] : [false]) {
        const contents = new Map<Inode, Uint8Array>([...point.inodes].map(([inode, bytes]) => [inode, new Uint8Array(bytes)]));
        for (const { inode, bytes } of truncated ? point.truncates : []) {
          const shortened: Inode = { bytes: contents.get(inode) ?? new Uint8Array(0) };
          cutTo(shortened, bytes);
          contents.set(inode, shortened.bytes);
        }
        pieces.forEach(({ write, from, to }, i) => {
          if (subset[i] === true) contents.set(write.inode, written(contents.get(write.inode) ?? new Uint8Array(0), write.bytes.subarray(from, to), write.position + from));
        });
        const names: Names = new Map(point.names);
        for (const naming of point.naming.slice(0, kept)) naming(names);
        yield new Map([...names].map(([path, inode]) => [path, contents.get(inode) ?? new Uint8Array(0)]));
      }
    }
  }
}

/** A write's sectors: cut where the file's offset is a multiple of the tear. */
function piecesOf(write: PendingWrite, tear: number): Piece[] {
  const pieces: Piece[] = [];
  for (let from = 0; from < write.bytes.length;) {
    const to = Math.min(write.bytes.length, from + tear - ((write.position + from) % tear));
    pieces.push({ write, from, to });
    from = to;
  }
  return pieces;
}

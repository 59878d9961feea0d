// The few calls that the log makes of a file system, so that the tests can put a simulated one in its place.

import { constants, promises as fs } from "node:fs";
import type { FileHandle } from "node:fs/promises";
import { join } from "node:path";

/** Called once for a group or a chunk, never for a record. Errors are those of node:fs, with their `code`. */
export interface Vfs {
  makeDirectory(path: string): Promise<void>;
  /** Names in a directory; none where it does not exist. */
  list(path: string): Promise<string[]>;
  /** Makes the file where there is none. */
  open(path: string): Promise<VfsFile>;
  rename(from: string, to: string): Promise<void>;
  remove(path: string): Promise<void>;
  /** Renames, creations and removals in it that were done before are durable after. */
  syncDirectory(path: string): Promise<void>;
}

export interface VfsFile {
  /** Reads into the whole of `into`; returns the bytes read, fewer only at the file's end. */
  read(into: Uint8Array, position: number): Promise<number>;
  /** Writes all the bytes; they, and the size, are durable when it resolves. */
  write(bytes: Uint8Array, position: number): Promise<void>;
  /** Durable when it resolves. */
  truncate(bytes: number): Promise<void>;
  size(): Promise<number>;
  close(): Promise<void>;
}

export const realVfs: Vfs = {
  async makeDirectory(path) {
    await fs.mkdir(path, { recursive: true });
  },
  async list(path) {
    try {
      return await fs.readdir(path);
    } catch (error) {
      if (codeOf(error) === "ENOENT") return [];
      throw error;
    }
  },
  async open(path) {
    // O_DSYNC needs one hop to the thread pool for a group, where a write and an fdatasync need two.
    return new RealFile(await fs.open(path, constants.O_RDWR | constants.O_CREAT | constants.O_DSYNC, 0o640));
  },
  async rename(from, to) {
    await fs.rename(from, to);
  },
  async remove(path) {
    await fs.unlink(path);
  },
  async syncDirectory(path) {
    const directory = await fs.open(path, constants.O_RDONLY);
    try {
      await directory.sync();
    } finally {
      await directory.close();
    }
  },
};

/** For looking on while a node may be running: nothing is made or written. */
export const readOnlyVfs: Vfs = {
  ...realVfs,
  async open(path) {
    return new RealFile(await fs.open(path, constants.O_RDONLY));
  },
};

class RealFile implements VfsFile {
  readonly #handle: FileHandle;

  constructor(handle: FileHandle) {
    this.#handle = handle;
  }

  async read(into: Uint8Array, position: number): Promise<number> {
    let read = 0;
    while (read < into.length) {
      const { bytesRead } = await this.#handle.read(into, read, into.length - read, position + read);
      if (bytesRead === 0) break;
      read += bytesRead;
    }
    return read;
  }

  async write(bytes: Uint8Array, position: number): Promise<void> {
    let written = 0;
    while (written < bytes.length) {
      const { bytesWritten } = await this.#handle.write(bytes, written, bytes.length - written, position + written);
      written += bytesWritten;
    }
  }

  async truncate(bytes: number): Promise<void> {
    await this.#handle.truncate(bytes);
    await this.#handle.sync();
  }

  async size(): Promise<number> {
    return (await this.#handle.stat()).size;
  }

  async close(): Promise<void> {
    await this.#handle.close();
  }
}

/** ENOENT, ENOSPC … of an error of node:fs; undefined for another. */
export function codeOf(error: unknown): string | undefined {
  return error instanceof Error && "code" in error ? String(error.code) : undefined;
}

/** The disk, or this user's share of it, is full: the one failure that may be tried again. */
export function isFull(error: unknown): boolean {
  const code = codeOf(error);
  return code === "ENOSPC" || code === "EDQUOT";
}

/** Writes a small file so that either the old or the new one is there after a crash. */
export async function writeWhole(vfs: Vfs, directory: string, name: string, bytes: Uint8Array): Promise<void> {
  const temporary = join(directory, `${name}.new`);
  const file = await vfs.open(temporary);
  try {
    await file.truncate(0);
    await file.write(bytes, 0);
  } finally {
    await file.close();
  }
  await vfs.rename(temporary, join(directory, name));
  await vfs.syncDirectory(directory);
}

/** All bytes of a file. */
export async function readWhole(file: VfsFile): Promise<Uint8Array> {
  const bytes = new Uint8Array(await file.size());
  return bytes.subarray(0, await file.read(bytes, 0));
}

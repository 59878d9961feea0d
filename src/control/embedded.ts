// The control log of one machine: a file in the data directory (see file.ts), appended in groups, each synced before it is answered.
// Leases are local: who shares the process shares the clock.

import { open } from "node:fs/promises";
import type { FileHandle } from "node:fs/promises";
import { join } from "node:path";

import { assert } from "../base/assert.ts";
import { BellhopError } from "../base/errors.ts";
import type { Command } from "../core/table/commands.ts";
import { archiveName, encodeEntry, makeFolder, readLog, readSnapshot, writeLog, writeSnapshot } from "./file.ts";
import { Journal } from "./journal.ts";
import { readKept } from "./kept.ts";
import { Leases } from "./leases.ts";
import type { ControlEntry, ControlLog, ControlSnapshot, ControlWatcher } from "./port.ts";

/** Batches that wait for the disk, at most. */
const WAITING_MAX = 256;

interface Waiting {
  readonly id: string;
  readonly commands: readonly Command[];
  readonly resolve: () => void;
  readonly reject: (error: Error) => void;
}

export class EmbeddedControl implements ControlLog {
  readonly #folder: string;
  readonly #journal = new Journal();
  readonly #leases = new Leases();
  readonly #watches = new Set<{ close(): void }>();
  #file: FileHandle;
  /** Bytes of the file that are whole and durable. */
  #size: number;
  #waiting: Waiting[] = [];
  /** Batches on their way to the disk, by id. */
  readonly #appending = new Map<string, Promise<void>>();
  /** The last of the file's operations, which follow one another. */
  #turn: Promise<void> = Promise.resolve();
  #isFlushing = false;
  #isClosed = false;
  #failure: BellhopError | undefined;

  private constructor(folder: string, file: FileHandle, size: number) {
    this.#folder = folder;
    this.#file = file;
    this.#size = size;
  }

  /** For the process that holds the data directory's lock. @throws BellhopError `internal` on damage and on an unknown version: nothing is changed then */
  static async open(dataDirectory: string): Promise<EmbeddedControl> {
    const folder = await makeFolder(dataDirectory);
    const path = join(folder, "log");
    const joined = await readKept(dataDirectory);
    if (joined !== undefined) throw new BellhopError("internal", `${dataDirectory} belongs to the cluster ${joined.cluster}: start it with --cluster ${joined.cluster} and --etcd.`);
    const snapshot = await readSnapshot(folder);
    const { after, entries } = (await readLog(path)) ?? { after: 0, entries: [] };
    const last = after + entries.length;
    if (snapshot.position < after || snapshot.position > last)
      throw new BellhopError("internal", `The control log in ${folder} holds positions ${after + 1} to ${last}, which do not join on to its snapshot at ${snapshot.position}.`);
    const kept = entries.slice(snapshot.position - after);
    const size = await writeLog(folder, "log", { after: snapshot.position, entries: kept }); // R23
    const control = new EmbeddedControl(folder, await open(path, "r+"), size);
    control.#journal.trim(snapshot);
    control.#journal.add(kept);
    return control;
  }

  append(id: string, commands: readonly Command[]): Promise<void> {
    const refusal = this.#refusal();
    if (refusal !== undefined) return Promise.reject(refusal);
    if (this.#journal.has(id)) return Promise.resolve();
    const before = this.#appending.get(id);
    if (before !== undefined) return before;
    if (this.#waiting.length >= WAITING_MAX) return Promise.reject(new BellhopError("overloaded"));
    const appended = new Promise<void>((resolve, reject) => this.#waiting.push({ id, commands: structuredClone(commands), resolve, reject }));
    const settled = appended.finally(() => this.#appending.delete(id));
    this.#appending.set(id, settled);
    if (!this.#isFlushing) {
      this.#isFlushing = true;
      void this.#inTurn(() => this.#flush());
    }
    return settled;
  }

  watch(from: number, watcher: ControlWatcher): { close(): void } {
    const refusal = this.#refusal();
    if (refusal !== undefined) throw refusal;
    const watch = this.#journal.watch(from, watcher);
    this.#watches.add(watch);
    return {
      close: () => {
        this.#watches.delete(watch);
        watch.close();
      },
    };
  }

  async snapshot(): Promise<ControlSnapshot> {
    return this.#journal.snapshot;
  }

  async trim(snapshot: ControlSnapshot): Promise<void> {
    await this.#inTurn(() => this.#trim(snapshot));
  }

  async lease(node: string, incarnation: number, ttlMs: number): Promise<number> {
    return this.#leases.take(node, incarnation, ttlMs);
  }

  async alive(): Promise<readonly { readonly node: string; readonly incarnation: number }[]> {
    return this.#leases.alive();
  }

  async close(): Promise<void> {
    for (const watch of this.#watches) watch.close();
    await this.#inTurn(async () => {
      if (this.#isClosed) return;
      this.#isClosed = true;
      await this.#file.close();
    });
  }

  /** One operation on the files after another. */
  #inTurn(operation: () => Promise<void>): Promise<void> {
    const done = this.#turn.then(operation);
    this.#turn = done.catch(() => undefined);
    return done;
  }

  /** Writes all that waits, a group at a time. */
  async #flush(): Promise<void> {
    while (this.#waiting.length > 0) {
      const group = this.#waiting;
      this.#waiting = [];
      await this.#write(group);
    }
    this.#isFlushing = false;
  }

  async #write(waiting: readonly Waiting[]): Promise<void> {
    const synced = this.#journal.last;
    const group: Waiting[] = [];
    const entries: ControlEntry[] = [];
    const lines: Buffer[] = [];
    for (const batch of waiting) {
      try {
        const entry = { position: synced + entries.length + 1, id: batch.id, commands: batch.commands };
        lines.push(encodeEntry(entry, synced));
        entries.push(entry);
        group.push(batch);
      } catch (error) {
        batch.reject(error as Error);
      }
    }
    try {
      const refusal = this.#refusal();
      if (refusal !== undefined) throw refusal;
      await this.#writeDurably(Buffer.concat(lines));
    } catch (error) {
      for (const batch of group) batch.reject(error as Error);
      return;
    }
    this.#journal.add(entries);
    for (const batch of group) batch.resolve();
  }

  async #writeDurably(bytes: Buffer): Promise<void> {
    try {
      for (let at = 0; at < bytes.length; ) at += (await this.#file.write(bytes, at, bytes.length - at, this.#size + at)).bytesWritten;
    } catch (error) {
      if (!isFull(error)) throw this.#fail(error);
      await this.#file.truncate(this.#size).catch((worse: unknown) => {
        throw this.#fail(worse);
      });
      throw new BellhopError("storage_full", "The control log found no room.");
    }
    await this.#file.datasync().catch((error: unknown) => {
      throw this.#fail(error); // R24: a second try can lie
    });
    this.#size += bytes.length;
  }

  /** Archive, then snapshot, then the shorter log: a crash between two leaves more than is needed, never less. */
  async #trim(snapshot: ControlSnapshot): Promise<void> {
    const refusal = this.#refusal();
    if (refusal !== undefined) throw refusal;
    const { position } = this.#journal.snapshot;
    assert(snapshot.position <= this.#journal.last, `a control snapshot at ${snapshot.position} is ahead of the log, which ends at ${this.#journal.last}`);
    if (snapshot.position <= position) return;
    const folded = this.#journal.after(position).slice(0, snapshot.position - position);
    const kept = this.#journal.after(snapshot.position);
    try {
      await writeLog(this.#folder, archiveName(position + 1, snapshot.position), { after: position, entries: folded });
      await writeSnapshot(this.#folder, snapshot);
      const size = await writeLog(this.#folder, "log", { after: snapshot.position, entries: kept });
      await this.#file.close();
      this.#file = await open(join(this.#folder, "log"), "r+");
      this.#size = size;
    } catch (error) {
      throw isFull(error) ? new BellhopError("storage_full", "The control log found no room for a snapshot.") : this.#fail(error);
    }
    this.#journal.trim(snapshot);
  }

  #refusal(): BellhopError | undefined {
    return this.#isClosed ? new BellhopError("stopping", "The control log is closed.") : this.#failure;
  }

  #fail(cause: unknown): BellhopError {
    this.#failure ??= new BellhopError("internal", `The control log in ${this.#folder} failed and takes nothing further: ${(cause as Error).message}.`);
    return this.#failure;
  }
}

function isFull(error: unknown): boolean {
  const { code } = error as NodeJS.ErrnoException;
  return code === "ENOSPC" || code === "EDQUOT";
}

// The control log's entries in memory, in order, with those who watch them: what the embedded log and its twin share.

import { assert } from "../base/assert.ts";
import type { ControlEntry, ControlSnapshot, ControlWatcher } from "./port.ts";

/** Entries that a watcher is given in one call, at most. */
const DELIVERY_MAX = 256;

interface Watch {
  /** Position of the last entry delivered. */
  position: number;
  readonly watcher: ControlWatcher;
  scheduled: NodeJS.Immediate | undefined;
}

export class Journal {
  #snapshot: ControlSnapshot = { position: 0, state: new Uint8Array() };
  /** The entry at `#snapshot.position + 1` and all after it, without gaps. */
  #entries: ControlEntry[] = [];
  readonly #ids = new Set<string>();
  readonly #watches = new Set<Watch>();

  /** Position of the last entry, or of the snapshot when there is none. */
  get last(): number {
    return this.#snapshot.position + this.#entries.length;
  }

  get snapshot(): ControlSnapshot {
    return this.#snapshot;
  }

  /** Was a batch of this id taken, and not yet trimmed? */
  has(id: string): boolean {
    return this.#ids.has(id);
  }

  /** The entries after `position`, which is not below the snapshot's. */
  after(position: number): readonly ControlEntry[] {
    return this.#entries.slice(position - this.#snapshot.position);
  }

  /** Takes durable entries and tells those who watch, in a later turn. */
  add(entries: readonly ControlEntry[]): void {
    for (const entry of entries) {
      assert(entry.position === this.last + 1, `control entry ${entry.position} follows ${this.last}`);
      this.#entries.push(entry);
      this.#ids.add(entry.id);
    }
    for (const watch of this.#watches) this.#schedule(watch);
  }

  /** Forgets the entries that the snapshot folds. */
  trim(snapshot: ControlSnapshot): void {
    const kept = this.after(snapshot.position);
    for (const { id } of this.#entries.slice(0, this.#entries.length - kept.length)) this.#ids.delete(id);
    this.#entries = [...kept];
    this.#snapshot = snapshot;
  }

  watch(from: number, watcher: ControlWatcher): { close(): void } {
    const watch: Watch = { position: from, watcher, scheduled: undefined };
    this.#watches.add(watch);
    this.#schedule(watch);
    return { close: () => this.#close(watch) };
  }

  #schedule(watch: Watch): void {
    watch.scheduled ??= setImmediate(() => this.#deliver(watch));
  }

  #deliver(watch: Watch): void {
    watch.scheduled = undefined;
    if (watch.position < this.#snapshot.position) {
      this.#close(watch);
      watch.watcher.compacted();
      return;
    }
    const entries = this.after(watch.position).slice(0, DELIVERY_MAX);
    if (entries.length === 0) return;
    watch.position += entries.length;
    if (watch.position < this.last) this.#schedule(watch);
    watch.watcher.entries(entries);
  }

  #close(watch: Watch): void {
    this.#watches.delete(watch);
    clearImmediate(watch.scheduled);
  }
}

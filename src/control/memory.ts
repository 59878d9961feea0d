// The control log's twin in memory: several nodes of one process share what `shared` holds.

import { BellhopError } from "../base/errors.ts";
import type { Command } from "../core/table/commands.ts";
import { Journal } from "./journal.ts";
import { Leases } from "./leases.ts";
import type { ControlLog, ControlSnapshot, ControlWatcher } from "./port.ts";

export class SharedControl {
  readonly journal = new Journal();
  readonly leases = new Leases();
}

export class MemoryControl implements ControlLog {
  readonly #shared: SharedControl;
  readonly #watches = new Set<{ close(): void }>();
  #closed = false;

  constructor(shared: SharedControl = new SharedControl()) {
    this.#shared = shared;
  }

  async append(id: string, commands: readonly Command[]): Promise<void> {
    this.#assertOpen();
    const { journal } = this.#shared;
    if (!journal.has(id)) journal.add([{ position: journal.last + 1, id, commands: structuredClone(commands) }]);
  }

  watch(from: number, watcher: ControlWatcher): { close(): void } {
    this.#assertOpen();
    const watch = this.#shared.journal.watch(from, watcher);
    this.#watches.add(watch);
    return {
      close: () => {
        this.#watches.delete(watch);
        watch.close();
      },
    };
  }

  async snapshot(): Promise<ControlSnapshot> {
    this.#assertOpen();
    return this.#shared.journal.snapshot;
  }

  async trim(snapshot: ControlSnapshot): Promise<void> {
    this.#assertOpen();
    const { journal } = this.#shared;
    if (snapshot.position > journal.snapshot.position) journal.trim(snapshot);
  }

  async lease(node: string, incarnation: number, ttlMs: number): Promise<number> {
    this.#assertOpen();
    return this.#shared.leases.take(node, incarnation, ttlMs);
  }

  async alive(): Promise<readonly { readonly node: string; readonly incarnation: number }[]> {
    this.#assertOpen();
    return this.#shared.leases.alive();
  }

  async close(): Promise<void> {
    this.#closed = true;
    for (const watch of this.#watches) watch.close();
  }

  #assertOpen(): void {
    if (this.#closed) throw new BellhopError("stopping", "The control log is closed.");
  }
}

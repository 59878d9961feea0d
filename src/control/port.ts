// The port of the control log (R1): a totally ordered log of cluster commands, with leases that say which nodes are alive.
// Implementations: `embedded.ts` (one machine, a file), `memory.ts` (the twin); etcd comes beside them. One conformance suite runs on all.

import type { Command } from "../core/table/commands.ts";

export interface ControlEntry {
  /** 1, 2, 3, … rising, not necessarily without gaps (on etcd a create revision). */
  readonly position: number;
  /** `node.incarnation.seq`, unique: the fold ignores a batch it has had, so a retry is safe. */
  readonly id: string;
  readonly commands: readonly Command[];
}

export interface ControlSnapshot {
  /** The fold of every entry ≤ position; empty at 0. */
  readonly position: number;
  readonly state: Uint8Array;
}

export interface ControlLog {
  /** Resolves once the batch is durable and ordered; the same id again resolves alike and adds nothing. One batch in flight per node. Rejects with a retryable error when unavailable: the batch may or may not be in the log. */
  append(id: string, commands: readonly Command[]): Promise<void>;
  /** Every entry after `from`, in order, without loss, as they come. `compacted` tells that entries after `from` are gone: read the snapshot, then watch again. */
  watch(from: number, watcher: ControlWatcher): { close(): void };
  snapshot(): Promise<ControlSnapshot>;
  /** Stores a snapshot and lets entries at or below its position be trimmed (archived to files past a limit, R10). */
  trim(snapshot: ControlSnapshot): Promise<void>;
  /** Takes or renews this node's lease of `ttlMs`; resolves with the time left by the local monotonic clock, counted from the sending. */
  lease(node: string, incarnation: number, ttlMs: number): Promise<number>;
  /** The nodes whose leases are alive now. */
  alive(): Promise<readonly { readonly node: string; readonly incarnation: number }[]>;
  close(): Promise<void>;
}

export interface ControlWatcher {
  entries(entries: readonly ControlEntry[]): void;
  compacted(): void;
}

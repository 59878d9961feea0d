// Records that changed since the last checkpoint, laid over the state store: reads see them, checkpoints take them.

import { assert } from "../../base/assert.ts";

/** What the streams read of the state store: one bucket's records as of its last checkpoint. */
export interface StateReads {
  get(name: string): Uint8Array | undefined;
  /** Records whose name begins with `prefix` and is > `after`, in byte order. */
  range(prefix: string, after?: string): Iterable<readonly [string, Uint8Array]>;
}

export interface RecordWrite {
  readonly key: string;
  /** undefined deletes. */
  readonly value: Uint8Array | undefined;
}

/** null: deleted. */
type Records = Map<string, Uint8Array | null>;

/** Names that the store is known not to hold; more are forgotten. */
const MOST_ABSENT = 512;

export class Overlay {
  readonly #store: StateReads;
  #dirty: Records = new Map();
  /** Handed to a checkpoint that the store has not confirmed. */
  #leaving: Records | undefined;
  /** A restored state that the store does not hold yet; it stands in the store's place. */
  #restored: Map<string, Uint8Array> | undefined;
  /** Looked for in the store in vain since it last changed: what is asked for when it is admitted is asked for again when it is applied. */
  readonly #absent = new Set<string>();

  constructor(store: StateReads) {
    this.#store = store;
  }

  /** Records that changed since the last checkpoint. */
  get changed(): number {
    return this.#dirty.size;
  }

  get restored(): boolean {
    return this.#restored !== undefined;
  }

  get(name: string): Uint8Array | undefined {
    let changed = this.#dirty.get(name);
    if (changed === undefined) changed = this.#leaving?.get(name);
    if (changed !== undefined) return changed ?? undefined;
    return this.#restored === undefined ? this.#stored(name) : this.#restored.get(name);
  }

  #stored(name: string): Uint8Array | undefined {
    if (this.#absent.has(name)) return undefined;
    const bytes = this.#store.get(name);
    if (bytes !== undefined) return bytes;
    if (this.#absent.size >= MOST_ABSENT) this.#absent.clear();
    this.#absent.add(name);
    return undefined;
  }

  set(name: string, bytes: Uint8Array | undefined): void {
    this.#dirty.set(name, bytes ?? null);
  }

  /** Every record whose name begins with `prefix` and is > `after`, by name. */
  *range(prefix: string, after = ""): Iterable<readonly [string, Uint8Array]> {
    const changed = this.#changedNames(prefix, after);
    let next = 0;
    for (const [name, bytes] of this.#below(prefix, after)) {
      while (next < changed.length && changed[next]! < name) yield* this.#present(changed[next++]!);
      if (changed[next] === name) yield* this.#present(changed[next++]!);
      else yield [name, bytes];
    }
    while (next < changed.length) yield* this.#present(changed[next++]!);
  }

  /** Takes what changed; until `confirmed` it is still read from here. */
  take(): RecordWrite[] {
    assert(this.#leaving === undefined, "one checkpoint of a bucket at a time");
    this.#leaving = this.#dirty;
    this.#dirty = new Map();
    return [...this.#leaving].map(([key, value]) => ({ key, value: value ?? undefined }));
  }

  /** The store holds what was taken. */
  confirmed(): void {
    this.#leaving = undefined;
    this.#absent.clear();
  }

  replace(records: Map<string, Uint8Array>): void {
    this.#dirty = new Map();
    this.#leaving = undefined;
    this.#restored = records;
  }

  /** The store holds the restored state. */
  installed(): void {
    this.#restored = undefined;
    this.#absent.clear();
  }

  #below(prefix: string, after: string): Iterable<readonly [string, Uint8Array]> {
    if (this.#restored === undefined) return this.#store.range(prefix, after);
    return [...this.#restored].filter(([name]) => name.startsWith(prefix) && name > after).sort(byName);
  }

  #changedNames(prefix: string, after: string): string[] {
    const names = new Set<string>();
    for (const records of [this.#leaving, this.#dirty]) {
      for (const name of records?.keys() ?? []) if (name.startsWith(prefix) && name > after) names.add(name);
    }
    return [...names].sort();
  }

  *#present(name: string): Iterable<readonly [string, Uint8Array]> {
    const bytes = this.get(name);
    if (bytes !== undefined) yield [name, bytes];
  }
}

export function byName(a: readonly [string, unknown], b: readonly [string, unknown]): number {
  return a[0] < b[0] ? -1 : 1;
}

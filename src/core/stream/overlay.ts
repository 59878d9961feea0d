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

type Records = Map<string, Uint8Array | undefined>;

export class Overlay {
  readonly #store: StateReads;
  #dirty: Records = new Map();
  /** Handed to a checkpoint that the store has not confirmed. */
  #leaving: Records | undefined;
  /** A restored state that the store does not hold yet; it stands in the store's place. */
  #restored: Map<string, Uint8Array> | undefined;

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
    if (this.#dirty.has(name)) return this.#dirty.get(name);
    if (this.#leaving?.has(name) === true) return this.#leaving.get(name);
    return this.#restored === undefined ? this.#store.get(name) : this.#restored.get(name);
  }

  set(name: string, bytes: Uint8Array | undefined): void {
    this.#dirty.set(name, bytes);
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
    return [...this.#leaving].map(([key, value]) => ({ key, value }));
  }

  /** The store holds what was taken. */
  confirmed(): void {
    this.#leaving = undefined;
  }

  replace(records: Map<string, Uint8Array>): void {
    this.#dirty = new Map();
    this.#leaving = undefined;
    this.#restored = records;
  }

  /** The store holds the restored state. */
  installed(): void {
    this.#restored = undefined;
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

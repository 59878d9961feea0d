// The API keys as front-ends use them: read from the table, changed through the control log, and a word to whoever wants to know of changes (F2, F4).

import { BellhopError } from "../base/errors.ts";
import { MOST_KEYS, type ApiKey, type Keys } from "../core/table/keys.ts";
import type { ApiKeys } from "./api.ts";
import type { Membership } from "./membership.ts";

/** Milliseconds that a change may take to come back from the control log. */
const CHANGE_TIMEOUT_MS = 10_000;

export class TableKeys implements ApiKeys {
  readonly #membership: Membership;
  readonly #watchers = new Set<() => void>();
  #seen: Keys;

  constructor(membership: Membership) {
    this.#membership = membership;
    this.#seen = membership.table.keys;
  }

  get all(): Keys {
    return this.#membership.table.keys;
  }

  async put(key: ApiKey): Promise<void> {
    if (this.all.has(key.name)) throw new BellhopError("exists", `The key ${key.name} is there already.`);
    if (this.all.size >= MOST_KEYS) throw new BellhopError("limit_reached", `There are ${MOST_KEYS} keys.`);
    await this.#membership.settle({ type: "putKey", key }, () => this.all.has(key.name), CHANGE_TIMEOUT_MS);
    if (this.all.get(key.name)?.digest !== key.digest) throw new BellhopError("exists", `The key ${key.name} was made by someone else at the same time.`);
  }

  async remove(name: string): Promise<void> {
    const digest = this.all.get(name)?.digest;
    if (digest === undefined) throw new BellhopError("not_found", `There is no key ${JSON.stringify(name)}.`);
    await this.#membership.settle({ type: "removeKey", name, digest }, () => this.all.get(name)?.digest !== digest, CHANGE_TIMEOUT_MS);
  }

  watch(changed: () => void): () => void {
    this.#watchers.add(changed);
    return () => this.#watchers.delete(changed);
  }

  /** The table has folded a batch. */
  folded(): void {
    if (this.#seen === this.all) return;
    this.#seen = this.all;
    for (const changed of this.#watchers) changed();
  }
}

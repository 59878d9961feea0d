// Waiting for a device's stream to grow: one waiter, one timer for each wait, and a bound on how many wait at once.

import { BellhopError } from "../base/errors.ts";
import type { EntryType, NodeApi, StreamWatcher } from "../node/api.ts";

/** The bit of each type of entry in StreamWatcher.moved. */
const TYPE_BIT: Readonly<Record<EntryType, number>> = { uplink: 1, downlink: 2, presence: 4, state: 8 };
const ALL_TYPES = 15;

/** Watches one stream from its creation until `close`, so that nothing is missed between a read and a wait. */
export class Arrival implements StreamWatcher {
  readonly #types: number;
  readonly #unwatch: () => void;
  #end = 0;
  #wake: (() => void) | undefined;

  constructor(node: NodeApi, device: string, types: readonly EntryType[] | undefined) {
    this.#types = types === undefined ? ALL_TYPES : types.reduce((bits, type) => bits | TYPE_BIT[type], 0);
    this.#unwatch = node.watch(device, this);
  }

  moved(end: number, types: number): void {
    if ((types & this.#types) === 0) return;
    this.#end = end;
    this.#wake?.();
  }

  /** Resolves when an entry of these types after `offset` has come, after `ms`, or when a signal aborts. */
  async past(offset: number, ms: number, ...signals: readonly AbortSignal[]): Promise<void> {
    if (this.#end > offset || signals.some((signal) => signal.aborted)) return;
    const { promise, resolve } = withResolver();
    const timer = setTimeout(resolve, ms);
    for (const signal of signals) signal.addEventListener("abort", resolve, { once: true });
    this.#wake = () => {
      if (this.#end > offset) resolve();
    };
    await promise;
    this.#wake = undefined;
    clearTimeout(timer);
    for (const signal of signals) signal.removeEventListener("abort", resolve);
  }

  close(): void {
    this.#unwatch();
  }
}

/** Counts followed streams and waiting requests. */
export class FollowerSlots {
  readonly #limit: number;
  #taken = 0;

  constructor(limit: number) {
    this.#limit = limit;
  }

  get taken(): number {
    return this.#taken;
  }

  /** Throws `overloaded` when as many wait as may. */
  take(): void {
    if (this.#taken >= this.#limit) throw new BellhopError("overloaded", `${this.#limit} streams are followed at once (maxFollowers).`);
    this.#taken += 1;
  }

  release(): void {
    this.#taken -= 1;
  }
}

function withResolver(): { promise: Promise<void>; resolve: () => void } {
  let resolve = (): void => {};
  const promise = new Promise<void>((done) => {
    resolve = done;
  });
  return { promise, resolve };
}

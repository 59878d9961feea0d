// Waiting for a device's stream to grow: one waiter, one timer for each wait, and a bound on how many wait at once.

import { setTimeout as sleep } from "node:timers/promises";
import { BellhopError } from "../base/errors.ts";
import { REMOVED_TYPE, STREAM_TYPE } from "../core/stream/view.ts";
import type { EntryType, NodeApi, StreamWatcher } from "../node/api.ts";
import { withResolver } from "../node/promise.ts";

const ALL_TYPES = Object.values(STREAM_TYPE).reduce((all, bit) => all | bit, 0);

/** What is there but could not be read just now is read again after this. */
export const READ_AGAIN_MS = 100;

/** Watches one stream from its creation until `close`, so that nothing is missed between a read and a wait. Takes a follower's place. */
export class Arrival implements StreamWatcher {
  readonly #types: number;
  readonly #places: FollowerPlaces;
  readonly #unwatch: () => void;
  #end = 0;
  /** The offset behind which something had come when it was last asked. */
  #cameAt = -1;
  #isRemoved = false;
  #stopped = false;
  #wake: (() => void) | undefined;

  /** Throws `overloaded` when there is no place, and what `watch` throws. */
  constructor(node: NodeApi, places: FollowerPlaces, device: string, types: readonly EntryType[] | undefined) {
    this.#types = types === undefined ? ALL_TYPES : types.reduce((bits, type) => bits | STREAM_TYPE[type], 0);
    this.#places = places;
    places.take();
    try {
      this.#unwatch = node.watch(device, this, this.#types);
    } catch (error) {
      places.release();
      throw error;
    }
  }

  moved(end: number, types: number): void {
    if ((types & REMOVED_TYPE) !== 0) {
      this.#isRemoved = true;
      this.#wake?.();
      return;
    }
    if ((types & this.#types) === 0) return;
    this.#end = end;
    this.#wake?.();
  }

  /** Resolves with true when an entry of these types has come behind `offset`, with false after `ms`, after `stop` or when a signal aborts. Rejects with `removed` when the device was. */
  async past(offset: number, ms: number, ...signals: readonly AbortSignal[]): Promise<boolean> {
    this.#checkRemoved();
    if (this.#end > offset) {
      if (this.#cameAt === offset) await sleep(Math.min(ms, READ_AGAIN_MS)); // told of before, and not found by a read since
      this.#cameAt = offset;
      return true;
    }
    if (this.#stopped || signals.some((signal) => signal.aborted)) return false;
    const { promise, resolve } = withResolver();
    const timer = setTimeout(resolve, ms);
    for (const signal of signals) signal.addEventListener("abort", resolve, { once: true });
    this.#wake = () => {
      if (this.#end > offset || this.#isRemoved || this.#stopped) resolve();
    };
    await promise;
    this.#wake = undefined;
    clearTimeout(timer);
    for (const signal of signals) signal.removeEventListener("abort", resolve);
    this.#checkRemoved();
    return this.#end > offset;
  }

  #checkRemoved(): void {
    if (this.#isRemoved) throw new BellhopError("removed");
  }

  /** Ends the wait at hand, and every later one at once. */
  stop(): void {
    this.#stopped = true;
    this.#wake?.();
  }

  close(): void {
    this.#unwatch();
    this.#places.release();
  }
}

/** Counts followed streams and waiting requests. */
export class FollowerPlaces {
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

// Writes the state of the buckets to the state store, one bucket at a time and off the hot path, so that a start replays little and old segments can go.

import { assert } from "../base/assert.ts";
import { TimeHistogram } from "../base/counts.ts";
import type { CoreNode } from "../core/node.ts";
import type { Checkpoint } from "../core/stream/machine.ts";
import type { Log, StateStore } from "../storage/port.ts";
import { isFull } from "../storage/vfs.ts";
import { setTimeout as sleep } from "node:timers/promises";

export interface CheckpointLimits {
  /** Seconds from one round over all buckets to the next. */
  readonly seconds: number;
  /** Bytes a second that checkpoints may write, over time. */
  readonly bytesPerSecond: number;
  /** A round begins early when this many devices have changed: they are in memory until then. */
  readonly dirtyDevices: number;
}

/** How often the need for an early round is looked at. */
const LOOK_MS = 1000;

export class Checkpointer {
  readonly #core: CoreNode;
  readonly #log: Log;
  readonly #state: StateStore;
  readonly #limits: CheckpointLimits;
  readonly #failed: (error: Error) => void;
  /** Buckets whose restored state is on its way to the store: the newest of their installs. */
  readonly #installs = new Map<number, number>();
  readonly #timer: NodeJS.Timeout;
  readonly #written = new Map<number, number>();
  /** Taken from the machine and not yet stored, because the disk was full: tried again in the next round. */
  readonly #taken = new Map<number, Checkpoint>();
  /** Of one bucket each. */
  readonly times = new TimeHistogram();
  /** Checkpoints that found the disk full. */
  withoutRoom = 0;
  #roundAt = performance.now();
  #round: Promise<void> | undefined;
  #stopping = false;

  constructor(core: CoreNode, log: Log, state: StateStore, limits: CheckpointLimits, failed: (error: Error) => void) {
    this.#core = core;
    this.#log = log;
    this.#state = state;
    this.#limits = limits;
    this.#failed = failed;
    this.#timer = setInterval(() => this.#look(), LOOK_MS);
  }

  /** Ends the running round; with `last`, writes everything once more, so that the next start replays nothing. */
  async stop(last: boolean): Promise<void> {
    this.#stopping = true;
    clearInterval(this.#timer);
    await this.#round;
    if (last) for (const copy of this.#core.copies) await this.#checkpoint(copy.bucket);
  }

  /** Stores a state that was just restored, in place of the bucket's own (R17). Resolves when it is there; a disk without room is tried again. */
  async install(bucket: number): Promise<void> {
    const copy = this.#core.copy(bucket);
    assert(copy !== undefined, "a bucket whose state was restored has its copy here");
    const install = (this.#installs.get(bucket) ?? 0) + 1;
    this.#installs.set(bucket, install);
    this.#taken.delete(bucket); // of the state that was replaced
    const { applied, writes } = copy.machine.whole();
    while (!this.#stopping && this.#installs.get(bucket) === install) {
      try {
        await this.#state.replace(bucket, applied, writes);
        break;
      } catch (error) {
        if (!isFull(error)) throw error;
        this.withoutRoom += 1;
        await sleep(LOOK_MS);
      }
    }
    if (this.#installs.get(bucket) !== install) return; // a newer snapshot took its place
    copy.machine.installed();
    this.#installs.delete(bucket);
    this.#log.checkpointed(bucket, applied);
    this.#written.set(bucket, applied);
  }

  #look(): void {
    if (this.#round !== undefined) return;
    const due = performance.now() - this.#roundAt >= this.#limits.seconds * 1000;
    let dirty = 0;
    for (const copy of this.#core.copies) dirty += copy.machine.dirtyDevices;
    if (!due && dirty < this.#limits.dirtyDevices) return;
    this.#round = this.#runRound()
      .catch((error: unknown) => this.#failed(error as Error))
      .finally(() => {
        this.#round = undefined;
        this.#roundAt = performance.now();
      });
  }

  async #runRound(): Promise<void> {
    const startedAt = performance.now();
    const before = this.#state.stats().checkpointBytes;
    for (const { bucket } of this.#core.copies) {
      if (this.#stopping) return;
      await this.#checkpoint(bucket);
      const bytes = this.#state.stats().checkpointBytes - before;
      await this.#until(startedAt + (bytes / this.#limits.bytesPerSecond) * 1000);
    }
  }

  async #checkpoint(bucket: number): Promise<void> {
    const copy = this.#core.copy(bucket);
    if (copy === undefined || this.#installs.has(bucket) || copy.machine.index === (this.#written.get(bucket) ?? 0)) return;
    const startedAt = performance.now();
    const taken = this.#taken.get(bucket) ?? copy.machine.checkpoint();
    this.#taken.set(bucket, taken);
    const { applied, writes } = taken;
    try {
      await this.#state.checkpoint(bucket, applied, writes);
    } catch (error) {
      if (!isFull(error)) throw error;
      this.withoutRoom += 1; // the log keeps what the checkpoint lacks
      return;
    }
    this.times.record(performance.now() - startedAt);
    if (this.#installs.has(bucket)) return; // restored meanwhile: what was written is being replaced
    this.#taken.delete(bucket);
    copy.machine.checkpointed();
    this.#log.checkpointed(bucket, applied);
    this.#written.set(bucket, applied);
  }

  /** The rate of checkpoints is bounded: waits in steps, so that a stop is not held up. */
  async #until(time: number): Promise<void> {
    while (!this.#stopping) {
      const left = time - performance.now();
      if (left <= 0) return;
      await new Promise((resolve) => {
        setTimeout(resolve, Math.min(left, 100));
      });
    }
  }
}

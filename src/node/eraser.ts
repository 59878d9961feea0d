// Removed devices: what they left in the state is swept, and their entries are blanked in the log's files, so that their data is really gone (docs/storage.md, "Removed devices").

import { setTimeout as sleep } from "node:timers/promises";
import type { BucketCopy } from "../core/bucket.ts";
import type { Entry } from "../core/entry.ts";
import { COMMAND, encodeCommand } from "../core/stream/commands.ts";
import type { Removal } from "../core/stream/removals.ts";
import { ownersOf } from "../core/stream/view.ts";
import type { Host } from "./host.ts";

export interface EraseLimits {
  /** Seconds from one look for removed devices to the next; the log's segment is left early when it holds entries of theirs. */
  readonly seconds: number;
  /** Bytes a second that are read and written, over time. */
  readonly bytesPerSecond: number;
}

/** Removals of one bucket dealt with in one round. */
const REMOVALS_AT_ONCE = 10_000;
/** Entries proposed in one round to sweep the state of a bucket; each drops a bounded number of records. */
const SWEEPS_AT_ONCE = 64;
/** A pause is taken in steps, so that a stop is not held up. */
const STEP_MS = 100;

const SWEEP = encodeCommand({ command: COMMAND.sweep });

export class Eraser {
  readonly #host: Host;
  readonly #limits: EraseLimits;
  readonly #timer: NodeJS.Timeout;
  /** Of each bucket, the last removal whose entries are gone from the files. Not kept: a start looks once more. */
  readonly #done = new Map<number, number>();
  #round: Promise<void> | undefined;
  #stopping = false;
  /** Removed devices whose entries may still be in the files; entries blanked since the start. */
  pending = 0;
  blanked = 0;

  constructor(host: Host, limits: EraseLimits) {
    this.#host = host;
    this.#limits = limits;
    this.#timer = setInterval(() => {
      this.#round ??= this.#look()
        .catch((error: unknown) => host.fail(error as Error))
        .finally(() => {
          this.#round = undefined;
        });
    }, limits.seconds * 1000);
  }

  async stop(): Promise<void> {
    this.#stopping = true;
    clearInterval(this.#timer);
    await this.#round;
  }

  async #look(): Promise<void> {
    const { copies } = this.#host.core;
    for (const copy of copies) this.#sweep(copy);
    const due = new Map<number, readonly Removal[]>();
    let pending = 0;
    for (const { bucket, machine } of copies) {
      const removals = take(machine.removals.from((this.#done.get(bucket) ?? 0) + 1), REMOVALS_AT_ONCE);
      pending += removals.length;
      const applied = this.#host.state.applied(bucket); // what a start may replay must stay as it was
      const ripe = removals.filter(({ index }) => index <= applied);
      if (ripe.length > 0) due.set(bucket, ripe);
    }
    this.pending = pending;
    // A copy on another node that was away may still have to apply these entries: only a node that is alone blanks them.
    if (due.size > 0 && this.#host.core.table.nodes.size === 1) await this.#erase(due);
  }

  /** Entries that say nothing: with each, the machine drops some of what removed devices left. */
  #sweep({ replica, machine }: BucketCopy): void {
    if (machine.removals.left === 0 || replica.role !== "leader" || !replica.isOpen || this.#host.core.storageFull) return;
    this.#host.run(() => {
      for (let i = 0; i < SWEEPS_AT_ONCE; i += 1) replica.propose(SWEEP, Date.now());
    });
  }

  async #erase(due: ReadonlyMap<number, readonly Removal[]>): Promise<void> {
    const ranges = new Map([...due].map(([bucket, removals]) => [bucket, { from: Math.min(...removals.map(({ since }) => since)), to: removals.at(-1)!.index - 1 }]));
    const gone = new Map([...due].map(([bucket, removals]) => [bucket, byDevice(removals)]));
    const isGone = (bucket: number, entry: Entry): boolean => {
      const owners = ownersOf(entry);
      const removals = gone.get(bucket);
      return owners.length > 0 && owners.every((device) => removals?.get(device)?.some(({ since, index }) => since <= entry.index && entry.index < index) === true);
    };
    const startedAt = performance.now();
    let bytes = 0;
    const { blanked, isWhole } = await this.#host.log.erase({
      ranges,
      isGone,
      pace: async (more) => {
        bytes += more;
        await this.#until(startedAt + (bytes / this.#limits.bytesPerSecond) * 1000);
        return !this.#stopping;
      },
    });
    this.blanked += blanked;
    if (this.#stopping) return;
    if (isWhole) {
      for (const [bucket, removals] of due) this.#done.set(bucket, removals.at(-1)!.index);
      this.pending -= [...due.values()].reduce((sum, removals) => sum + removals.length, 0);
      return;
    }
    this.#host.log.roll();
    for (const bucket of due.keys()) {
      const replica = this.#host.core.copy(bucket)?.replica;
      if (replica?.role !== "leader" || !replica.isOpen || this.#host.core.storageFull) continue;
      this.#host.run(() => replica.propose(SWEEP, Date.now())); // what is written next begins the next segment, which seals this one
      return;
    }
  }

  async #until(time: number): Promise<void> {
    for (let left = time - performance.now(); left > 0 && !this.#stopping; left = time - performance.now()) await sleep(Math.min(left, STEP_MS));
  }
}

function byDevice(removals: readonly Removal[]): ReadonlyMap<string, readonly Removal[]> {
  const found = new Map<string, Removal[]>();
  for (const removal of removals) found.set(removal.device, [...(found.get(removal.device) ?? []), removal]);
  return found;
}

function take<T>(items: Iterable<T>, most: number): T[] {
  const taken: T[] = [];
  for (const item of items) {
    taken.push(item);
    if (taken.length === most) break;
  }
  return taken;
}

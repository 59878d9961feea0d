// The simulated control log: one order for everybody; answers get lost, watches lag and merge, the past is compacted, leases run out (R1, R10).

import type { ControlEntry } from "../../src/control/port.ts";
import type { Command } from "../../src/core/table/commands.ts";
import { Table, type TableChange } from "../../src/core/table/table.ts";
import type { Prng } from "../../src/base/prng.ts";
import { before, checkGuards, isUnchanged } from "./guards.ts";
import { strays } from "./strays.ts";
import { check, type Process, type World } from "./world.ts";

export interface ControlTimes {
  /** Microseconds from a node to the log or back, at most. */
  readonly delayUs: number;
  /** Microseconds that a watch lags at most. */
  readonly watchUs: number;
  /** How often an append that was applied is answered with an error. */
  readonly answerLost: number;
  /** How often a command is proposed a second time, late. */
  readonly repeated: number;
}

/** How often a batch is followed by commands that must have no effect. */
const STRAY = 0.1;
/** Microseconds within which it is. */
const LATE_US = 600_000;
/** What nodes propose; an operator's word and a Register are given once. */
const REPEATABLE = new Set<Command["type"]>(["depart", "addLearner", "dropLearner", "promote", "handover", "retire", "plan", "step", "cancel"]);

export interface ControlWatcher {
  entries(entries: readonly ControlEntry[]): void;
  snapshot(position: number, state: Uint8Array): void;
}

interface Watch {
  readonly process: Process;
  readonly watcher: ControlWatcher;
  /** Position up to which entries were handed over. */
  at: number;
  due: boolean;
}

export class ControlLog {
  /** The fold of everything in the log: what is true. */
  readonly truth = new Table();
  /** The truth's digest at each position, to compare folds by (invariant 16). */
  readonly digests = new Map<number, number>();
  available = true;
  readonly #world: World;
  readonly #random: Prng;
  readonly #times: ControlTimes;
  readonly #entries: ControlEntry[] = [];
  readonly #ids = new Set<string>();
  readonly #changed: (change: TableChange) => void;
  readonly #leases = new Map<string, { incarnation: number; until: number }>();
  #watches: Watch[] = [];
  #compactedTo = 0;
  #late = 0;
  #strays = 0;
  #snapshot: { position: number; state: Uint8Array } = { position: 0, state: new Uint8Array() };
  /** Nodes whose watch is stalled, until when (µs). */
  readonly stalled = new Map<string, number>();

  constructor(world: World, random: Prng, times: ControlTimes, changed: (change: TableChange) => void) {
    this.#world = world;
    this.#random = random;
    this.#times = times;
    this.#changed = changed;
  }

  /** `done(false)`: the batch may or may not be in the log; the same id may be tried again. */
  append(process: Process, id: string, commands: readonly Command[], done: (settled: boolean) => void): void {
    this.#world.after(this.#delay(), undefined, "control", { id, commands }, () => {
      const taken = this.available;
      if (taken && !this.#ids.has(id)) {
        this.#add(id, commands);
        this.#repeatLate(commands);
      }
      const answered = taken && !this.#random.chance(this.#times.answerLost);
      this.#world.after(this.#delay(), process, "appended", id, () => done(answered));
    });
  }

  /** Everything after `from`, in order, late and merged as chance will have it. */
  watch(process: Process, from: number, watcher: ControlWatcher): void {
    this.#watches = this.#watches.filter((watch) => watch.process.alive);
    const watch = { process, watcher, at: from, due: false };
    this.#watches.push(watch);
    this.#wake(watch);
  }

  /** Reads the snapshot and what follows at once, as a start does. */
  read(process: Process, done: (position: number, state: Uint8Array) => void): void {
    this.#world.after(this.#delay(), process, "snapshot", "", () => {
      if (!this.available) return this.read(process, done);
      const { position, state } = this.#snapshot;
      done(position, state);
    });
  }

  lease(node: string, incarnation: number, ttlUs: number): void {
    if (!this.available) return;
    this.#leases.set(node, { incarnation, until: this.#world.now + ttlUs });
  }

  /** The nodes whose leases are alive; undefined while the log is not available. */
  alive(): { node: string; incarnation: number }[] | undefined {
    if (!this.available) return undefined;
    return [...this.#leases].filter(([, lease]) => lease.until > this.#world.now).map(([node, lease]) => ({ node, incarnation: lease.incarnation }));
  }

  /** Lets go of the past: watches that are behind it get the snapshot. */
  compact(): void {
    this.#snapshot = { position: this.truth.position, state: this.truth.snapshot() };
    this.#compactedTo = this.truth.position;
    this.#ids.clear(); // a retry of what was trimmed is not known any more (R1)
  }

  #add(id: string, commands: readonly Command[]): void {
    this.#ids.add(id);
    // As on etcd: positions rise, not without gaps.
    const position = this.truth.position + this.#random.between(1, 3);
    this.#entries.push({ position, id, commands });
    const was = commands.length === 1 ? before(this.truth) : undefined;
    const change = this.truth.apply(position, id, commands);
    if (was !== undefined) checkGuards(commands[0]!, was, this.truth);
    this.digests.set(position, this.truth.digest());
    this.#changed(change);
    if (this.#random.chance(STRAY)) this.#addStrays(id, commands);
    for (const watch of this.#watches) this.#wake(watch);
  }

  /** What names something that is not so, or was had before, has no effect (R1, R2). */
  #addStrays(id: string, commands: readonly Command[]): void {
    const was = before(this.truth);
    for (const command of strays(this.truth)) {
      this.#strays += 1;
      this.#fold(`stray.1.${this.#strays}`, [command]);
      check(isUnchanged(was, this.truth), "R2 (an effect against its guards)", () => JSON.stringify(command));
    }
    this.#fold(id, commands); // trimmed, and put again by a node that had no answer
    check(isUnchanged(was, this.truth), "R1 (a batch taken twice)", () => `${id} ${JSON.stringify(commands)}`);
  }

  #fold(id: string, commands: readonly Command[]): void {
    const position = this.truth.position + 1;
    this.#entries.push({ position, id, commands });
    this.truth.apply(position, id, commands);
    this.digests.set(position, this.truth.digest());
  }

  /** What was proposed once may have been proposed twice, and the second may come when it is no longer true (R2). */
  #repeatLate(commands: readonly Command[]): void {
    if (!this.#random.chance(this.#times.repeated)) return;
    const again = commands.filter(({ type }) => REPEATABLE.has(type));
    if (again.length === 0) return;
    this.#late += 1;
    const id = `late.1.${this.#late}`;
    this.#world.after(this.#random.below(LATE_US), undefined, "control", { id, commands: again }, () => this.#add(id, again));
  }

  #wake(watch: Watch): void {
    if (watch.due) return;
    watch.due = true;
    const stall = Math.max(0, (this.stalled.get(watch.process.name) ?? 0) - this.#world.now);
    this.#world.after(stall + this.#random.below(this.#times.watchUs), watch.process, "watch", "", () => {
      watch.due = false;
      this.#deliver(watch);
    });
  }

  #deliver(watch: Watch): void {
    if (watch.at < this.#compactedTo) {
      watch.at = this.#snapshot.position;
      watch.watcher.snapshot(this.#snapshot.position, this.#snapshot.state);
      if (!watch.process.alive) return;
    }
    let first = this.#entries.length;
    while (first > 0 && this.#entries[first - 1]!.position > watch.at) first -= 1;
    const all = this.#entries.slice(first);
    // A part of what is there, or all of it merged.
    const entries = all.slice(0, this.#random.between(1, Math.max(1, all.length)));
    if (entries.length > 0) {
      watch.at = entries.at(-1)!.position;
      watch.watcher.entries(entries);
    }
    if (entries.length < all.length) this.#wake(watch);
  }

  #delay(): number {
    return 50 + this.#random.below(this.#times.delayUs);
  }
}

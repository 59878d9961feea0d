// The node's place in the cluster: follows the control log, registers this incarnation (R4), keeps its lease, and appends what the core proposes (R1).

import { randomInt } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import { BellhopError } from "../base/errors.ts";
import type { Keeper } from "../control/kept.ts";
import type { ControlEntry, ControlLog } from "../control/port.ts";
import type { Command, NodeAddress } from "../core/table/commands.ts";
import { Table, type TableChange } from "../core/table/table.ts";
import type { ControlPage } from "./api.ts";
import { withResolver } from "./promise.ts";

/** Commands waiting to be appended; past it new ones are dropped: the core proposes again what the table does not show. */
const PROPOSALS_MAX = 4096;
/** Commands of one batch. */
const BATCH_MAX = 256;
const RETRY_MS = 200;
/** Renewals of a lease in its time. */
const RENEWALS = 3;
/** Starting waits this long for the control log to show what this node appended. */
const REGISTER_TIMEOUT_MS = 30_000;
/** Positions between two snapshots of the control log; what is older is archived by it (R10). */
const TRIM_EVERY = 1000;
/** Sequence numbers start at random, so that two processes with one id do not make the same batch (R4). */
const FIRST_SEQ_MAX = 2 ** 47;

export interface Registration {
  readonly node: string;
  readonly store: string;
  readonly clean: boolean;
  /** Buckets whose copy here is marked incomplete (R22). */
  readonly incomplete: readonly number[];
  readonly address: NodeAddress;
  readonly zone: string;
}

export interface MembershipEvents {
  changed(change: TableChange): void;
  /** The nodes whose leases are alive, as just read. */
  leases(alive: readonly { readonly node: string; readonly incarnation: number }[]): void;
  /** The control log has not renewed this node's lease for as long as it lasts; or it has again. */
  away(isAway: boolean): void;
  /** The node must stop: it is not the node any more, or the control log holds what it does not understand. */
  failed(error: Error): void;
  /** This incarnation is over, though nothing is broken: it was departed, or the log was trimmed behind it. The node starts anew, as if its process had. */
  over(why: string): void;
}

/** The table that a new cluster begins with. */
export interface Beginning {
  readonly bucketCount: number;
  readonly copies: 1 | 3 | 5;
  readonly minCopies: number;
  /** Nodes that must have registered (E5). */
  readonly nodes: number;
}

interface MembershipOptions {
  /** How long the node's lease lasts, in ms. */
  readonly leaseMs: number;
  /** Keeps the table on this node's disk; undefined where the control log is this machine's. */
  readonly keeper: Keeper | undefined;
}

export class Membership {
  readonly table: Table;
  incarnation = 0;
  /** A lease that is not renewed ends after this; in milliseconds. */
  readonly leaseMs: number;
  readonly #control: ControlLog;
  readonly #events: MembershipEvents;
  readonly #keeper: Keeper | undefined;
  readonly #watch: { close(): void };
  readonly #snapshotAt: number;
  /** Id of this node, once it registers. */
  node = "";
  /** Whose leases are alive, as last read, and when that was: milliseconds of the monotonic clock. */
  alive: readonly { readonly node: string; readonly incarnation: number }[] = [];
  heardAt = performance.now();
  #registrationId = "";
  #seq = randomInt(FIRST_SEQ_MAX);
  #queue: Command[] = [];
  #appending: Promise<void> | undefined;
  #lease: NodeJS.Timeout | undefined;
  #closed = false;
  #waiters: { readonly until: () => boolean; readonly resolve: () => void }[] = [];

  private constructor(control: ControlLog, table: Table, events: MembershipEvents, { leaseMs, keeper }: MembershipOptions) {
    this.#control = control;
    this.leaseMs = leaseMs;
    this.#keeper = keeper;
    this.table = table;
    this.#snapshotAt = table.position;
    this.#events = events;
    this.#watch = control.watch(table.position, {
      entries: (entries) => {
        try {
          for (const entry of entries) this.#fold(this.table.apply(entry.position, entry.id, entry.commands));
        } catch (error) {
          events.failed(error as Error);
        }
      },
      compacted: () => events.over("the control log was trimmed past what this node had read"),
    });
  }

  /** Follows the control log from its snapshot on. */
  static async follow(control: ControlLog, events: MembershipEvents, options: MembershipOptions): Promise<Membership> {
    const snapshot = await control.snapshot();
    return new Membership(control, Table.restore(snapshot.position, snapshot.state), events, options);
  }

  /** Registers a new incarnation of this node; resolves when the table shows it. */
  async register(registration: Registration): Promise<void> {
    this.node = registration.node;
    // What the log holds is known only after an append of our own came back: an empty batch under a one-off incarnation would be noise, so the guard of Register decides (R4).
    for (let tries = 0; tries < 3; tries += 1) {
      const seen = this.table.nodes.get(registration.node)?.incarnation ?? 0;
      this.#registrationId = `${registration.node}.${seen + 1}.${(this.#seq += 1)}`;
      await this.#control.append(this.#registrationId, [{ type: "register", seen, ...registration }]);
      await this.#until(() => (this.table.nodes.get(registration.node)?.incarnation ?? 0) > seen);
      if (this.table.nodes.get(registration.node)?.registration !== this.#registrationId) continue;
      this.#refuseStale();
      this.incarnation = seen + 1;
      this.#keepLease();
      if (this.table.position - this.#snapshotAt >= TRIM_EVERY) await this.#control.trim({ position: this.table.position, state: this.table.snapshot() });
      return;
    }
    throw new BellhopError("internal", `Another process registers as node ${registration.node}; give this one another --node, or stop the other.`);
  }

  /** An etcd that was put back to an earlier time has forgotten governments that acted since: what was answered then is not safe under older ones (E5). */
  #refuseStale(): void {
    const known = this.#keeper?.version ?? 0;
    if (this.table.version >= known) return;
    throw new BellhopError(
      "internal",
      `The control log in etcd is older (version ${this.table.version}) than what this node's disk has seen (${known}): it was put back from a copy. Empty it and restore it from the nodes: bellhop control import.`,
    );
  }

  /** Resolves when the cluster has its table: a new one is made as soon as enough nodes have registered (R3). `waits` is told how many there are, as they come. */
  async begin({ bucketCount, copies, minCopies, nodes }: Beginning, waits: (registered: number) => void): Promise<void> {
    let registered = 0;
    await this.#until(() => {
      if (this.table.buckets.length > 0) return true;
      const live = [...this.table.nodes.values()].filter(({ state }) => state === "live").length;
      if (live !== registered) {
        registered = live;
        if (live >= nodes) this.propose({ type: "begin", bucketCount, copies, minCopies });
        else waits(live);
      }
      return false;
    }, Infinity);
  }

  propose(command: Command): void {
    if (this.#closed || this.#queue.length >= PROPOSALS_MAX) return;
    this.#queue.push(command);
    this.#appending ??= this.#appendAll();
  }

  /** Appends the command and waits until the table shows what it brings about. @throws BellhopError `deadline` when it was not seen in time */
  async settle(command: Command, until: () => boolean, ms: number): Promise<void> {
    this.propose(command);
    await this.#until(until, ms, () => new BellhopError("deadline", "The control log did not show the change in time."));
  }

  /** Entries after a position that this node has folded; what is below the log's snapshot is in its archives (R10). */
  async entries(after: number, limit: number): Promise<ControlPage> {
    const end = this.table.position;
    const { position: earliest } = await this.#control.snapshot();
    const from = Math.max(after, earliest);
    const found: ControlEntry[] = [];
    if (from < end) {
      const { promise, resolve } = withResolver();
      const watch = this.#control.watch(from, {
        entries: (entries) => {
          for (const entry of entries) if (entry.position <= end && found.length < limit) found.push(entry);
          if (found.length === limit || (entries.at(-1)?.position ?? 0) >= end) resolve();
        },
        compacted: resolve,
      });
      await promise;
      watch.close();
    }
    return { entries: found, earliest: earliest + 1 };
  }

  get waiting(): number {
    return this.#queue.length;
  }

  /** Since the control log last answered, in ms. */
  get silentMs(): number {
    return Math.max(0, performance.now() - this.heardAt);
  }

  async close(): Promise<void> {
    this.#closed = true;
    clearInterval(this.#lease);
    this.#watch.close();
    await this.#appending;
    await this.#keeper?.stop();
  }

  #fold(change: TableChange): void {
    const self = this.table.nodes.get(this.node);
    if (this.incarnation > 0 && self?.registration !== this.#registrationId) {
      this.#events.failed(new BellhopError("internal", `Another process registered as node ${this.node}; this one stops (R4).`));
    } else if (this.incarnation > 0 && self?.state === "departed") {
      this.#events.over("the others had not heard this node for too long and went on without it"); // R4
    }
    this.#keeper?.changed(this.table);
    this.#events.changed(change);
    this.#waiters = this.#waiters.filter((waiter) => {
      const isOver = waiter.until();
      if (isOver) waiter.resolve();
      return !isOver;
    });
  }

  /** Looked at after every fold. */
  async #until(until: () => boolean, withinMs = REGISTER_TIMEOUT_MS, late = notRegistered): Promise<void> {
    if (until()) return;
    const seen = new Promise<true>((resolve) => {
      this.#waiters.push({ until, resolve: () => resolve(true) });
    });
    if (withinMs === Infinity) return void (await seen);
    const abort = new AbortController();
    const over = sleep(withinMs, false as const, { signal: abort.signal }).catch(() => false as const);
    const inTime = await Promise.race([seen, over]);
    abort.abort();
    if (inTime) return;
    this.#waiters = this.#waiters.filter((waiter) => waiter.until !== until);
    throw late();
  }

  /** One batch in flight at a time, so that seqs rise; the same id is tried until the log has it (R1). */
  async #appendAll(): Promise<void> {
    while (this.#queue.length > 0 && !this.#closed) {
      const batch = this.#queue.splice(0, BATCH_MAX);
      const id = `${this.node}.${this.incarnation}.${(this.#seq += 1)}`;
      while (!this.#closed && !(await this.#append(id, batch))) await sleep(RETRY_MS);
    }
    this.#appending = undefined;
  }

  async #append(id: string, batch: readonly Command[]): Promise<boolean> {
    try {
      await this.#control.append(id, batch);
      return true;
    } catch (error) {
      if (error instanceof BellhopError && error.retryable && error.code !== "internal") return false;
      this.#closed = true;
      this.#events.failed(error as Error);
      return true;
    }
  }

  #keepLease(): void {
    let isAway = false;
    const tell = (): void => {
      if (this.#closed || isAway === this.silentMs >= this.leaseMs) return;
      isAway = !isAway;
      this.#events.away(isAway);
    };
    const renew = async (): Promise<void> => {
      await this.#control.lease(this.node, this.incarnation, this.leaseMs);
      this.alive = await this.#control.alive();
      this.heardAt = performance.now();
      tell();
      this.#events.leases(this.alive);
    };
    // A lease that is not renewed in time ends; who hears nothing of it proposes nothing (R6).
    const renewAgain = (): void => {
      tell();
      renew().catch(() => undefined);
    };
    renewAgain();
    this.#lease = setInterval(renewAgain, this.leaseMs / RENEWALS);
  }
}

function notRegistered(): BellhopError {
  return new BellhopError("internal", "The control log did not show this node's registration in time.");
}

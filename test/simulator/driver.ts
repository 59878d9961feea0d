// What every simulated node's driver does, whichever program it drives: log, checkpoints, messages, timers, suspicion, and the checker's view of it all.

import type { Entry } from "../../src/core/entry.ts";
import type { PeerView, Role } from "../../src/core/replica/replica.ts";
import type { CopyAtStart, LoadPurpose, PeerMessage, ReplicaEffects, ReplicaLimits } from "../../src/core/replica/types.ts";
import type { CoordinatorSettings } from "../../src/core/table/coordinator.ts";
import type { Table, TableChange } from "../../src/core/table/table.ts";
import type { Cluster, Host, Site } from "./cluster.ts";
import type { DiskHandle, SimRecovery } from "./disk.ts";
import { Membership } from "./membership.ts";
import type { Case } from "./profile.ts";
import { check } from "./world.ts";

/** What the checker reads of a replica. */
export interface ReplicaView {
  readonly commit: number;
  readonly applied: number;
  readonly promised: number;
  /** Of the table's record. */
  readonly epoch: number;
  readonly role: Role;
  readonly peers: readonly PeerView[];
}

/** Milliseconds after which a process that had to stop is started again. */
const RESTART_MS = 50;

export abstract class Driver implements Host {
  alive = true;
  readonly cluster: Cluster;
  readonly site: Site;
  readonly recovery: SimRecovery;
  protected readonly membership: Membership;
  protected readonly log: DiskHandle;
  readonly #seen: { promised: number; commit: number; applied: number; ledEpoch: number }[] = [];
  #awake = false;
  #begun = false;

  constructor(cluster: Cluster, site: Site, recovery: SimRecovery) {
    this.cluster = cluster;
    this.site = site;
    this.recovery = recovery;
    this.log = site.disk.open(this, {
      durable: (ticket) => this.durable(ticket),
      full: (isFull) => this.full(isFull),
      failed: () => this.stop("a sync failed", true),
    });
    this.membership = new Membership(cluster, site, this, recovery, site.boots, {
      table: (table, change) => this.#tableMoved(table, change),
      leases: (alive) => {
        if (this.#begun) this.leases(alive);
      },
      mustStop: (why) => this.stop(why, false),
    });
    this.#every(cluster.case.tickMs * 1000, () => this.#tick());
    this.#every(cluster.case.checkpointMs * 1000, () => this.checkpointAll());
  }

  get name(): string {
    return this.site.name;
  }

  get pausedUntil(): number {
    return this.site.pausedUntil;
  }

  get incarnation(): number {
    return this.membership.incarnation;
  }

  // --- the program ---

  /** The table shows this process registered; from now on the program is called with every fold, message, tick … */
  protected abstract begin(table: Table): void;
  /** `change` is undefined where a snapshot took the place of entries. */
  protected abstract moved(table: Table, change: TableChange | undefined): void;
  protected abstract deliver(from: string, message: unknown): void;
  protected abstract leases(alive: readonly { readonly node: string; readonly incarnation: number }[]): void;
  protected abstract durable(ticket: number): void;
  protected abstract loaded(bucket: number, purpose: LoadPurpose, entries: readonly Entry[]): void;
  protected abstract tick(): void;
  /** The end of a turn. */
  protected abstract flush(): void;
  protected abstract full(isFull: boolean): void;
  protected abstract replicas(): readonly (readonly [number, ReplicaView])[];
  /** Stores a state that was just restored, then calls the replica's `installed`. */
  protected abstract install(bucket: number, applied: number): void;
  abstract appliedIn(bucket: number): number;
  abstract restless(): string | undefined;
  // --- the world ---

  receive(from: string, message: unknown): void {
    if (!this.#begun) return;
    this.deliver(from, message);
    this.observe();
  }

  /** R5: it proposes the departure of a node that is alive, with the leases as they are but the suspect's. */
  suspect(node: string): void {
    const { table, incarnation } = this.membership;
    const record = table.nodes.get(node);
    const alive = this.cluster.control.alive();
    if (record === undefined || alive === undefined || incarnation === 0 || node === this.name) return;
    const others = alive.filter((lease) => lease.node !== node && table.nodes.get(lease.node)?.incarnation === lease.incarnation).map((lease) => lease.node);
    this.membership.propose({ type: "depart", node, incarnation: record.incarnation, by: this.name, byIncarnation: incarnation, alive: others });
  }

  protected effects(): ReplicaEffects {
    return {
      write: (bucket, entry) => {
        this.cluster.checker.written(this.name, bucket, entry.index, this.commitOf(bucket));
        return this.log.add({ type: "entry", bucket, entry });
      },
      reset: (bucket, index, epoch) => this.log.add({ type: "reset", bucket, index, epoch }),
      fill: (bucket, entries) => this.log.add({ type: "fill", bucket, entries }),
      mark: (bucket, incomplete) => {
        if (!incomplete) this.#isStored(bucket);
        return this.log.add({ type: "mark", bucket, incomplete });
      },
      floor: (bucket, index) => void this.log.add({ type: "floor", bucket, index }),
      load: (bucket, purpose, from, to) => this.#load(bucket, purpose, from, to),
      install: (bucket, applied) => this.install(bucket, applied),
      send: (to, message) => {
        if (message.type === "appended") this.#isDurable(message.bucket, message.match);
        this.send(to, message.type, message);
      },
      propose: (command) => this.membership.propose(command),
    };
  }

  /** What is acknowledged is on the disk, and nothing has taken its place in the log (R13, R14). */
  #isDurable(bucket: number, match: number): void {
    const { disk } = this.site;
    check(disk.durableCopy(bucket).epochOf(match) === disk.copy(bucket).epochOf(match), "4 (acknowledged before it is durable)", () => `${this.name}, bucket ${bucket}: ${match}`);
  }

  /** A copy loses its mark only with its state stored, save where loss was accepted (R22). */
  #isStored(bucket: number): void {
    const { disk } = this.site;
    const stored = disk.checkpoints.get(bucket)?.applied ?? 0;
    const isWhole = stored >= disk.copy(bucket).base || this.cluster.checker.oracle(bucket).forced;
    check(isWhole, "R22 (a mark goes before the state is stored)", () => `${this.name}, bucket ${bucket}: ${stored} is stored`);
  }

  protected send(to: string, kind: string, message: unknown): void {
    const site = this.cluster.byName.get(to);
    if (site === undefined) return;
    this.cluster.network.send(this.name, site, kind, message, () => site.host?.receive(this.name, message));
  }

  /** Flushes at the end of this turn. */
  protected wake(): void {
    if (this.#awake) return;
    this.#awake = true;
    this.cluster.world.after(10, this, "turn", "", () => {
      this.#awake = false;
      this.flush();
      this.observe();
    });
  }

  protected copyAtStart(bucket: number): CopyAtStart {
    return this.recovery.copies.get(bucket) ?? EMPTY_COPY;
  }

  protected commitOf(bucket: number): number {
    return this.#seen[bucket]?.commit ?? 0;
  }

  /** Shows the checker every replica that this event changed. */
  protected observe(): void {
    for (const [bucket, replica] of this.replicas()) {
      const { promised, commit, applied, epoch } = replica;
      const seen = (this.#seen[bucket] ??= { promised: 0, commit, applied, ledEpoch: 0 }); // a commit of before this start is nobody's doing
      if (seen.promised !== promised) {
        check(promised > seen.promised, "8 (a promise falls)", () =>
          `${this.name}, bucket ${bucket}: from ${seen.promised} to ${promised}`);
        seen.promised = promised;
      }
      if (seen.commit !== commit || seen.applied !== applied) {
        if (replica.role === "leader" && commit > seen.commit) this.#hasEnoughMembers(bucket);
        check(applied <= commit, "7 (applied above commit)", () => `${this.name}, bucket ${bucket}: applied ${applied}, commit ${commit}`);
        seen.commit = commit;
        seen.applied = applied;
      }
      if (replica.role === "leader" && seen.ledEpoch !== epoch) {
        this.cluster.checker.leads(this.name, this.incarnation, bucket, epoch);
        seen.ledEpoch = epoch;
      }
    }
  }

  /** Hands an answer to a leader; one of another incarnation or attempt than the table names counts for nothing (R14). */
  protected handOver(replica: ReplicaView | undefined, message: PeerMessage, run: () => void): void {
    const record = this.membership.table.buckets[message.bucket];
    if (record === undefined || replica?.role !== "leader" || message.epoch > replica.epoch) return run();
    const named = [...record.members, ...record.learners].find(({ node }) => node === message.from);
    if (named?.incarnation === message.fromIncarnation && named.attempt === message.attempt) return run();
    const view = (): string => JSON.stringify(replica.peers.filter(({ node }) => node === message.from));
    const before = view();
    run();
    check(before === view(), "R14 (an answer of another incarnation or attempt counts)", () => `${this.name}: ${JSON.stringify(message)}`);
  }

  #hasEnoughMembers(bucket: number): void {
    const { table } = this.membership;
    const { members } = table.bucket(bucket);
    const { minCopies } = table.settings;
    check(members.length >= minCopies, "B4 (committed by too few members)", () => `${this.name}, bucket ${bucket}: ${members.length} of ${minCopies}`);
  }

  protected abstract checkpointAll(): void;

  /** The process ends, and is started again after a while. */
  protected stop(why: string, power: boolean): void {
    if (!this.alive) return;
    this.cluster.world.note(this.name, "STOP", why);
    this.cluster.end(this.site, power);
    this.cluster.bootAfter(this.site, RESTART_MS);
  }

  #tableMoved(table: Table, change: TableChange | undefined): void {
    if (this.#begun) this.moved(table, change);
    else if (this.incarnation > 0) {
      this.#begun = true;
      if (!this.recovery.clean) this.#rememberLoss(table);
      this.begin(table);
    }
    this.observe();
  }

  /** R22: a copy of which the damage left nothing is incomplete too, where the table still counts on it; only then may the store be taken for clean again. */
  #rememberLoss(table: Table): void {
    for (const { id, members } of table.buckets) {
      if (members.some(({ node }) => node === this.name)) this.log.add({ type: "mark", bucket: id, incomplete: true });
    }
    this.log.whenDurable(() => (this.site.disk.unclean = false));
  }

  #tick(): void {
    this.membership.registerIfNeeded();
    if (!this.#begun) return;
    this.tick();
    this.observe();
  }

  /** Read now, told later: what is told may have been replaced in the meantime. */
  #load(bucket: number, purpose: LoadPurpose, from: number, to: number): void {
    const entries = this.log.read(bucket, from, to, this.cluster.random.between(1, 8));
    this.cluster.world.after(this.cluster.random.between(50, 2000), this, "loaded", from, () => {
      this.loaded(bucket, purpose, entries);
      this.observe();
    });
  }

  #every(us: number, run: () => void): void {
    this.cluster.world.after(us, this, "timer", "", () => {
      run();
      this.#every(us, run);
    });
  }
}

const EMPTY_COPY: CopyAtStart = { floor: 1, base: 0, baseEpoch: 0, last: 0, epochs: [], incomplete: false, applied: 0, lastTime: 0 };

/** Small bounds, so that every one of them is met. */
export function replicaLimits(drawn: Case): ReplicaLimits {
  return {
    residentBytes: 2000,
    appendBytes: 600,
    inflightBytes: 3000,
    partBytes: 100,
    nearEntries: 20,
    resendMs: drawn.tickMs * 4,
    heartbeatMs: drawn.tickMs * 5,
    acclimationMs: 2000,
    slowMs: drawn.leaseMs / 2,
  };
}

export function coordinatorSettings(drawn: Case): CoordinatorSettings {
  return {
    suspicionMs: drawn.leaseMs / 2,
    hintedMs: drawn.leaseMs / 8,
    greetingMs: drawn.leaseMs,
    loneSuspicionMs: drawn.leaseMs * 2,
    slowForMs: drawn.leaseMs,
    dampingMs: 2000,
    leasesFreshMs: drawn.leaseMs * 2,
    repeatMs: 100,
    plansAtOnce: 2,
    rebalanceRestMs: 500,
  };
}

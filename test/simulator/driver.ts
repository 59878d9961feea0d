// What every simulated node's driver does, whichever program it drives: log, checkpoints, messages, timers, suspicion, and the checker's view of it all.

import type { Entry } from "../../src/core/entry.ts";
import type { Role } from "../../src/core/replica/replica.ts";
import type { CopyAtStart, LoadPurpose, PeerMessage, ReplicaEffects, ReplicaLimits } from "../../src/core/replica/types.ts";
import { Coordinator, type CoordinatorSettings } from "../../src/core/table/coordinator.ts";
import type { Command } from "../../src/core/table/commands.ts";
import type { Table, TableChange } from "../../src/core/table/table.ts";
import type { Cluster, Host, Site } from "./cluster.ts";
import type { Checkpoint, DiskHandle, SimRecovery } from "./disk.ts";
import { Membership } from "./membership.ts";
import type { Case } from "./profile.ts";

/** What the checker reads of a replica. */
export interface ReplicaView {
  readonly commit: number;
  readonly applied: number;
  readonly promised: number;
  /** Of the table's record. */
  readonly epoch: number;
  readonly role: Role;
}

interface Beat {
  readonly type: "beat";
  readonly suspects: readonly string[];
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
  protected coordinator: Coordinator | undefined;
  #awake = false;
  #tickedAt: number;
  #beatAt = 0;

  constructor(cluster: Cluster, site: Site, recovery: SimRecovery) {
    this.cluster = cluster;
    this.site = site;
    this.recovery = recovery;
    this.#tickedAt = cluster.nowMs;
    this.log = site.disk.open(this, {
      durable: (ticket) => this.durable(ticket),
      full: (isFull) => this.full(isFull),
      failed: () => this.#stop("a sync failed", true),
    });
    this.membership = new Membership(cluster, site, this, recovery, site.boots, {
      table: (table, change) => this.#tableMoved(table, change),
      leases: (alive) => this.coordinator?.leases(alive, cluster.nowMs),
      mustStop: (why) => this.#stop(why, false),
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

  /** The table shows this process registered; from now on `moved` is called with every fold. */
  protected abstract begin(table: Table): void;
  protected abstract moved(table: Table, change: TableChange | undefined): void;
  protected abstract deliver(message: PeerMessage): void;
  protected abstract durable(ticket: number): void;
  protected abstract loaded(bucket: number, purpose: LoadPurpose, entries: readonly Entry[]): void;
  protected abstract installed(bucket: number, applied: number): void;
  protected abstract tick(): void;
  /** The end of a turn. */
  protected abstract flush(): void;
  protected abstract full(isFull: boolean): void;
  protected abstract replicas(): Iterable<readonly [number, ReplicaView]>;
  /** The state of a bucket as it is now, for a checkpoint. */
  protected abstract stateOf(bucket: number): Checkpoint;
  abstract appliedIn(bucket: number): number;
  abstract restless(): string | undefined;
  /** A message of another kind than the bucket protocol's. */
  protected other(_from: string, _message: unknown): void {}

  // --- the world ---

  receive(from: string, message: unknown): void {
    const { type } = message as { type: string };
    if (type === "beat") this.coordinator?.heard(from, (message as Beat).suspects, this.cluster.nowMs);
    else if ("toIncarnation" in (message as object)) {
      if ((message as PeerMessage).toIncarnation === this.incarnation && this.incarnation > 0) this.deliver(message as PeerMessage);
    } else this.other(from, message);
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
      mark: (bucket, incomplete) => this.log.add({ type: "mark", bucket, incomplete }),
      floor: (bucket, index) => void this.log.add({ type: "floor", bucket, index }),
      load: (bucket, purpose, from, to) => this.#load(bucket, purpose, from, to),
      install: (bucket, applied) => this.#install(bucket, applied),
      send: (to, message) => this.send(to, message.type, message),
      propose: (command) => this.membership.propose(command),
    };
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
    return this.recovery.copies.get(bucket)?.copy ?? EMPTY_COPY;
  }

  protected commitOf(bucket: number): number {
    for (const [id, replica] of this.replicas()) if (id === bucket) return replica.commit;
    return 0;
  }

  /** Shows the checker every replica as this event left it. */
  protected observe(): void {
    const { checker } = this.cluster;
    for (const [bucket, replica] of this.replicas()) {
      checker.progress(this.name, bucket, replica.applied, replica.commit);
      checker.promised(this.name, this.incarnation, bucket, replica.promised);
      if (replica.role === "leader") checker.leads(this.name, this.incarnation, bucket, replica.epoch);
    }
  }

  protected checkpointAll(): void {
    for (const [bucket] of this.replicas()) this.log.checkpoint(bucket, this.stateOf(bucket), () => undefined);
  }

  /** The process ends; it is started again after a while. */
  #stop(_why: string, power: boolean): void {
    if (!this.alive) return;
    this.cluster.world.note(this.name, "STOP", _why);
    this.cluster.end(this.site, power);
    this.cluster.bootAfter(this.site, RESTART_MS);
  }

  #tableMoved(table: Table, change: TableChange | undefined): void {
    const { nowMs } = this.cluster;
    if (this.incarnation > 0 && this.coordinator === undefined) {
      this.coordinator = new Coordinator(this.name, this.incarnation, coordinatorSettings(this.cluster.case), {
        propose: (command: Command) => this.membership.propose(command),
      });
      this.coordinator.table(table, nowMs);
      this.begin(table);
    } else {
      this.coordinator?.table(table, nowMs);
      if (this.incarnation > 0) this.moved(table, change);
    }
    this.observe();
  }

  #tick(): void {
    const { nowMs, case: drawn } = this.cluster;
    const stalledMs = nowMs - this.#tickedAt - drawn.tickMs;
    this.#tickedAt = nowMs;
    this.membership.registerIfNeeded();
    if (this.coordinator === undefined) return;
    if (stalledMs > 0) this.coordinator.stalled(stalledMs, nowMs);
    this.coordinator.tick(nowMs);
    if (nowMs - this.#beatAt >= drawn.leaseMs / 8) this.#beat(nowMs);
    this.tick();
    this.observe();
  }

  #beat(nowMs: number): void {
    this.#beatAt = nowMs;
    const beat: Beat = { type: "beat", suspects: this.coordinator!.suspects(nowMs) };
    for (const node of this.membership.table.nodes.keys()) if (node !== this.name) this.send(node, "beat", beat);
  }

  /** Read now, told later: what is told may have been replaced in the meantime. */
  #load(bucket: number, purpose: LoadPurpose, from: number, to: number): void {
    const entries = this.log.read(bucket, from, to, this.cluster.random.between(1, 8));
    this.cluster.world.after(this.cluster.random.between(50, 2000), this, "loaded", from, () => {
      this.loaded(bucket, purpose, entries);
      this.observe();
    });
  }

  #install(bucket: number, applied: number): void {
    this.log.checkpoint(bucket, this.stateOf(bucket), () => {
      this.installed(bucket, applied);
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
    heartbeatMs: drawn.tickMs * 3,
    acclimationMs: 3000,
  };
}

function coordinatorSettings(drawn: Case): CoordinatorSettings {
  return {
    suspicionMs: drawn.leaseMs / 2,
    loneSuspicionMs: drawn.leaseMs * 2,
    dampingMs: 2000,
    leasesFreshMs: drawn.leaseMs * 2,
    repeatMs: 100,
    plansAtOnce: 2,
    rebalanceRestMs: 500,
  };
}

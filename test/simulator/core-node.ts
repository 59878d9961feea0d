// A whole node: the production composition (CoreNode) with table, buckets, streams and gateway, driven by the simulator.

import { CoreNode, type Beat, type Hop, type HopPublish, type NodeEffects, type NodeLimits } from "../../src/core/node.ts";
import type { Entry } from "../../src/core/entry.ts";
import { murmur3Bytes } from "../../src/core/hash.ts";
import type { GatewayId, HopAnswer } from "../../src/core/hop.ts";
import type { LoadPurpose, PeerMessage } from "../../src/core/replica/types.ts";
import { byName, type StateReads } from "../../src/core/stream/overlay.ts";
import type { Table, TableChange } from "../../src/core/table/table.ts";
import type { Channels } from "./channels.ts";
import type { Cluster, Site } from "./cluster.ts";
import type { SimRecovery } from "./disk.ts";
import { Driver, coordinatorSettings, replicaLimits, type ReplicaView } from "./driver.ts";
import type { Case } from "./profile.ts";
import { check } from "./world.ts";

/** State is compared at every index that this divides. */
const COMPARE_EVERY = 8;

export class SimNode extends Driver {
  core: CoreNode | undefined;
  readonly #channels: Channels;
  /** Index up to which the checker has seen each bucket's entries applied. */
  readonly #shown = new Map<number, number>();
  #views: (readonly [number, ReplicaView])[] = [];
  /** A checkpoint is on its way; installs of restored states that are. */
  readonly #checkpointing = new Set<number>();
  readonly #installs = new Map<number, number>();
  /** Leader → attachment → series last sent under it, since the leader last sent anything back. */
  readonly #hopped = new Map<string, Map<string, number>>();

  constructor(cluster: Cluster, site: Site, recovery: SimRecovery, channels: Channels) {
    super(cluster, site, recovery);
    this.#channels = channels;
  }

  /** Takes sockets and requests. */
  get isServing(): boolean {
    return this.core !== undefined && this.core.table.buckets.length > 0;
  }

  /** An event from outside: the clocks are told first. */
  enter<T>(event: (core: CoreNode) => T): T {
    this.#clock();
    const result = event(this.core!);
    this.observe();
    return result;
  }

  linkLost(node: string): void {
    if (this.core !== undefined) this.enter((core) => core.linkLost(node));
  }

  protected begin(table: Table): void {
    this.core = new CoreNode({
      id: this.name,
      incarnation: this.incarnation,
      table,
      effects: this.#effects(),
      limits: nodeLimits(this.cluster.case),
      copyAtStart: (bucket) => this.copyAtStart(bucket),
      stateOf: (bucket) => this.#stateOf(bucket),
    });
    this.#clock();
    this.core.start();
  }

  protected moved(_table: Table, change: TableChange | undefined): void {
    if (change === undefined) return this.stop("the control log was compacted past this node's fold", false);
    this.enter((core) => core.tableChanged(change));
  }

  protected leases(alive: readonly GatewayId[]): void {
    this.enter((core) => core.leases(alive));
  }

  protected deliver(_from: string, message: PeerMessage | ({ readonly type: "beat" } & Beat)): void {
    if (message.type === "beat") return this.enter((core) => core.heard(message));
    this.handOver(this.core!.copy(message.bucket)?.replica, message, () => this.enter((core) => core.receive(message)));
  }

  protected durable(ticket: number): void {
    if (this.core !== undefined) this.enter((core) => core.durable(ticket));
  }

  protected full(isFull: boolean): void {
    if (this.core !== undefined) this.core.storageFull = isFull;
  }

  protected loaded(bucket: number, purpose: LoadPurpose, entries: readonly Entry[]): void {
    this.enter((core) => core.loaded(bucket, purpose, entries));
  }

  protected install(bucket: number, applied: number): void {
    const install = (this.#installs.get(bucket) ?? 0) + 1;
    this.#installs.set(bucket, install);
    const { machine } = this.core!.copy(bucket)!;
    this.log.checkpoint(bucket, { ...machine.whole(), whole: true }, () => {
      if (this.#installs.get(bucket) === install) {
        machine.installed();
        this.#installs.delete(bucket);
      }
      this.enter((core) => core.installed(bucket, applied));
    });
  }

  protected checkpointAll(): void {
    for (const { bucket, machine } of this.core?.copies ?? []) {
      if (this.#installs.has(bucket) || this.#checkpointing.has(bucket)) continue;
      this.#checkpointing.add(bucket);
      this.log.checkpoint(bucket, { ...machine.checkpoint(), whole: false }, () => {
        this.#checkpointing.delete(bucket);
        machine.checkpointed();
      });
    }
  }

  protected tick(): void {
    this.enter((core) => core.tick());
    this.#moveFloors();
  }

  protected flush(): void {
    this.#clock();
    this.core!.flush();
  }

  protected replicas(): readonly (readonly [number, ReplicaView])[] {
    const copies = this.core?.copies ?? [];
    if (copies.length > this.#views.length) this.#views = copies.map((copy) => [copy.bucket, copy.replica]);
    return this.#views;
  }

  protected override observe(): void {
    super.observe();
    for (const copy of this.core?.copies ?? []) if (copy.machine.index !== this.#shown.get(copy.bucket)) this.#show(copy.bucket, copy.machine.index);
  }

  appliedIn(bucket: number): number {
    return this.core?.copy(bucket)?.machine.index ?? 0;
  }

  restless(): string | undefined {
    if (this.core === undefined) return "is not registered";
    for (const bucket of this.membership.table.buckets) {
      const copy = this.core.copy(bucket.id);
      if (bucket.leader === this.name && copy?.replica.isOpen !== true) return `bucket ${bucket.id} is not open`;
      const commit = this.cluster.committed(bucket);
      const isMember = bucket.members.some((member) => member.node === this.name);
      if (isMember && copy!.machine.index !== commit) return `bucket ${bucket.id}: applied ${copy!.machine.index} of ${commit}`;
    }
    const { waitingLines, requests } = this.core.gateway.counts;
    return waitingLines + requests > 0 ? `${waitingLines} lines and ${requests} requests wait` : undefined;
  }

  /** Tells the checker what was applied since the last event, and compares states now and then. */
  #show(bucket: number, applied: number): void {
    const shown = this.#shown.get(bucket) ?? 0;
    this.#shown.set(bucket, applied);
    const copy = this.site.disk.copy(bucket);
    for (let index = Math.max(shown, copy.base) + 1; index <= applied; index += 1) {
      const entry = copy.entries.get(index);
      if (entry === undefined && this.cluster.checker.oracle(bucket).forced) return;
      check(entry !== undefined, "7 (applied what is not in the log)", () => `${this.name} applied ${index} of bucket ${bucket}`);
      this.cluster.checker.applied(this.name, bucket, entry);
    }
    if (applied % COMPARE_EVERY !== 0) return;
    this.cluster.checker.state(this.name, bucket, applied, murmur3Bytes(this.core!.copy(bucket)!.machine.snapshot()));
  }

  #clock(): void {
    this.core!.clock(this.cluster.nowMs, this.cluster.wallMs(this.site));
  }

  /** Retention: leaders move the floors behind what is applied. */
  #moveFloors(): void {
    const { retain } = this.cluster.case;
    if (retain === 0 || this.cluster.quiet || !this.cluster.random.chance(0.02)) return;
    for (const { replica } of this.core!.copies) {
      if (replica.isOpen && replica.applied > retain + 1) replica.proposeFloor(replica.applied - retain, this.cluster.wallMs(this.site));
    }
    this.wake();
  }

  #stateOf(bucket: number): StateReads {
    const records = (): ReadonlyMap<string, Uint8Array> => this.site.disk.checkpoints.get(bucket)?.records ?? new Map<string, Uint8Array>();
    return {
      get: (name) => records().get(name),
      range: (prefix, after = "") => [...records()].filter(([name]) => name.startsWith(prefix) && name > after).sort(byName),
    };
  }

  #effects(): NodeEffects {
    return {
      ...this.effects(),
      wake: () => this.wake(),
      hop: (to, hop) => {
        if (hop.request.type === "publish") this.#inOrder(to, hop, hop.request);
        this.#channel(to, hop.request.type, hop, (node) => node.core?.hopped(hop));
      },
      answer: (to, bucket, answer) => this.#answer(to, bucket, answer),
      beat: (to, beat) => this.send(to, "beat", { type: "beat", ...beat }),
    };
  }

  /** What goes out under one attachment goes in order, each frame once (R29, invariant 13). */
  #inOrder(to: string, { bucket, epoch }: Hop, { handle, series }: HopPublish): void {
    const leader = `${to} ${bucket}`;
    let sent = this.#hopped.get(leader);
    if (sent === undefined) this.#hopped.set(leader, (sent = new Map<string, number>()));
    const attachment = `${epoch} ${handle}`;
    const before = sent.get(attachment);
    check(before === undefined || series === before + 1, "13 (hops out of order)", () =>
      `${this.name} sends ${series} after ${before} to ${leader}, ${attachment}`);
    sent.set(attachment, series);
  }

  #answer(to: GatewayId, bucket: number, answer: HopAnswer): void {
    this.#channel(to.node, answer.type, answer, (node) => {
      if (node.incarnation !== to.incarnation) return;
      if (answer.type === "attached" || answer.type === "refused") node.#hopped.delete(`${this.name} ${bucket}`); // it goes back
      if (answer.type === "refused") node.#refused(this.name, bucket, answer);
      else node.core?.answered(this.name, bucket, answer);
    });
  }

  /** A refusal of an epoch below the attached one changes nothing (R29). */
  #refused(from: string, bucket: number, answer: Extract<HopAnswer, { type: "refused" }>): void {
    const { gateway } = this.core!;
    const line = gateway.lineOf(answer.device);
    const view = (): string => `${line?.state} ${line?.sent} ${line?.taken}`;
    const before = view();
    const isStale = line?.state === "attached" && answer.epoch < line.epoch;
    this.core!.answered(from, bucket, answer);
    check(!isStale || before === view(), "R29 (a refusal of an earlier epoch is obeyed)", () => `${this.name}: ${JSON.stringify(answer)}, ${before}, then ${view()}`);
  }

  #channel(to: string, kind: string, message: Hop | HopAnswer, run: (node: SimNode) => void): void {
    const site = this.cluster.byName.get(to);
    if (site === undefined) return;
    this.#channels.send(this.site, site, kind, message, () => {
      const node = site.host as SimNode | undefined;
      if (node?.core !== undefined) node.enter(() => run(node));
    });
  }
}

function nodeLimits(drawn: Case): NodeLimits {
  const { window } = drawn.workload;
  return {
    replica: replicaLimits(drawn),
    stream: { cachedDevices: 2 },
    admission: { window, sessionsPerDevice: 8, keyRetentionMs: 60_000, keySpaceBytes: 100_000, bodyBytes: 1000, held: 20, waiting: 200, seats: 100 },
    gateway: { window, windowBytes: 2000, requests: 50, askAgainMs: 100, pauseMs: 5000, backoffMs: 10, backoffCapMs: 100 },
    coordinator: coordinatorSettings(drawn),
    beatMs: drawn.leaseMs / 8,
  };
}

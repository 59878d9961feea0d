// A node whose buckets are counters: the replicas, the table and the coordinator with a second state machine (B13), and clients that add and ask.

import { Prng } from "../../src/base/prng.ts";
import type { Entry } from "../../src/core/entry.ts";
import { Replica } from "../../src/core/replica/replica.ts";
import type { Lead, LoadPurpose, PeerMessage } from "../../src/core/replica/types.ts";
import type { Bucket, Command } from "../../src/core/table/commands.ts";
import { Coordinator } from "../../src/core/table/coordinator.ts";
import type { Table } from "../../src/core/table/table.ts";
import type { Cluster, Site } from "./cluster.ts";
import { Counter, encodeAddition } from "./counter.ts";
import type { Checkpoint, SimRecovery } from "./disk.ts";
import { Driver, coordinatorSettings, replicaLimits, type ReplicaView } from "./driver.ts";
import type { Application } from "./run.ts";
import { check } from "./world.ts";

interface Beat {
  readonly type: "beat";
  readonly suspects: readonly string[];
}

/** An addition or question that waits for its answer. */
interface Addition {
  readonly client: number;
  readonly number: number;
  readonly payload: Uint8Array;
}

class CounterBucket implements Lead {
  readonly replica: Replica;
  readonly counter: Counter;
  openEpoch = 0;
  /** Index → what waits there. */
  readonly waiting = new Map<number, Addition>();
  readonly questions = new Map<number, { readonly client: number; readonly atLeast: number }>();
  readonly #node: CounterNode;
  readonly #bucket: number;

  constructor(node: CounterNode, bucket: number, build: (lead: Lead, counter: Counter) => Replica) {
    this.#node = node;
    this.#bucket = bucket;
    this.counter = new Counter((entry) => node.applied(bucket, entry, this.counter));
    this.replica = build(this, this.counter);
  }

  opened(epoch: number): void {
    this.openEpoch = epoch;
  }

  closed(): void {
    this.openEpoch = 0;
    this.waiting.clear();
    this.questions.clear();
  }

  appliedTo(index: number): void {
    if (this.openEpoch === 0) return;
    for (const [at, addition] of this.waiting) {
      if (at > index) break;
      this.waiting.delete(at);
      this.#node.cluster.checker.answered(this.#node.name, this.#bucket, this.openEpoch, at, addition.payload);
      this.#node.clients.answered(this.#bucket, addition.client, addition.number);
    }
  }

  confirmed(question: number): void {
    for (const [asked, { client, atLeast }] of this.questions) {
      if (asked > question) break;
      this.questions.delete(asked);
      const newest = this.counter.newest.get(client) ?? 0;
      if (this.#node.cluster.checker.oracle(this.#bucket).forced) continue;
      check(newest >= atLeast, "R34 (a current read that is not current)", () =>
        `${this.#node.name} says ${newest}, but ${atLeast} was answered before`);
    }
  }
}

class CounterNode extends Driver {
  readonly clients: Clients;
  readonly #buckets = new Map<number, CounterBucket>();
  readonly #views: (readonly [number, ReplicaView])[] = [];
  readonly #touched = new Set<CounterBucket>();
  #coordinator: Coordinator | undefined;
  #tickedAt = 0;
  #beatAt = 0;

  constructor(cluster: Cluster, site: Site, recovery: SimRecovery, clients: Clients) {
    super(cluster, site, recovery);
    this.clients = clients;
  }

  /** Adds, if this node believes it may. */
  add(bucket: number, client: number, number: number): void {
    const copy = this.#buckets.get(bucket);
    if (copy === undefined || copy.openEpoch === 0) return;
    const payload = encodeAddition(client, number, 1 + (number % 9));
    const index = copy.replica.propose(payload, this.cluster.wallMs(this.site));
    copy.waiting.set(index, { client, number, payload });
    this.#touch(copy);
  }

  /** Asks for a client's newest addition, as a read that claims to be current. */
  ask(bucket: number, client: number, atLeast: number): void {
    const copy = this.#buckets.get(bucket);
    if (copy === undefined || copy.openEpoch === 0) return;
    copy.questions.set(copy.replica.confirm(), { client, atLeast });
    this.#touch(copy);
  }

  applied(bucket: number, entry: Entry, counter: Counter): void {
    this.cluster.checker.applied(this.name, bucket, entry);
    this.cluster.checker.state(this.name, bucket, counter.applied, counter.hash);
  }

  protected begin(table: Table): void {
    const propose = (command: Command): void => this.membership.propose(command);
    this.#coordinator = new Coordinator(this.name, this.incarnation, coordinatorSettings(this.cluster.case), { propose });
    this.#coordinator.table(table, this.cluster.nowMs);
    this.#tickedAt = this.cluster.nowMs;
    for (const bucket of table.buckets) this.#bucketChanged(table, bucket);
  }

  protected moved(table: Table): void {
    this.#coordinator!.table(table, this.cluster.nowMs);
    for (const bucket of table.buckets) this.#bucketChanged(table, bucket);
  }

  protected leases(alive: readonly { readonly node: string; readonly incarnation: number }[]): void {
    this.#coordinator!.leases(alive, this.cluster.nowMs);
  }

  protected deliver(from: string, message: PeerMessage | Beat): void {
    if (message.type === "beat") return this.#coordinator!.heard(from, message.suspects, this.cluster.nowMs);
    const copy = this.#buckets.get(message.bucket);
    if (copy === undefined) return;
    this.handOver(copy.replica, message, () => copy.replica.receive(message, this.cluster.nowMs));
    this.#touch(copy);
  }

  protected durable(ticket: number): void {
    for (const copy of this.#buckets.values()) {
      copy.replica.durable(ticket);
      this.#touch(copy);
    }
    this.observe();
  }

  protected loaded(bucket: number, purpose: LoadPurpose, entries: readonly Entry[]): void {
    const copy = this.#buckets.get(bucket)!;
    copy.replica.loaded(purpose, entries);
    this.#touch(copy);
  }

  protected install(bucket: number, applied: number): void {
    const copy = this.#buckets.get(bucket)!;
    this.log.checkpoint(bucket, stateOf(copy), () => {
      copy.replica.installed(applied);
      this.#touch(copy);
      this.observe();
    });
  }

  protected checkpointAll(): void {
    for (const [bucket, copy] of this.#buckets) this.log.checkpoint(bucket, stateOf(copy), () => undefined);
  }

  protected tick(): void {
    const { nowMs, case: drawn } = this.cluster;
    this.#coordinator!.stalled(nowMs - this.#tickedAt - drawn.tickMs, nowMs);
    this.#tickedAt = nowMs;
    for (const { replica } of this.#buckets.values()) for (const { node, heldBackMs } of replica.peers) if (heldBackMs > 0) this.#coordinator!.heldBack(node, heldBackMs);
    this.#coordinator!.tick(nowMs);
    if (nowMs - this.#beatAt >= drawn.leaseMs / 8) this.#beat(nowMs);
    for (const copy of this.#buckets.values()) {
      copy.replica.tick(this.cluster.nowMs);
      this.#touch(copy);
      this.#moveFloor(copy);
    }
  }

  protected flush(): void {
    for (const copy of this.#touched) copy.replica.flush(this.cluster.nowMs);
    this.#touched.clear();
  }

  protected full(_isFull: boolean): void {}

  protected replicas(): readonly (readonly [number, ReplicaView])[] {
    return this.#views;
  }

  appliedIn(bucket: number): number {
    return this.#buckets.get(bucket)?.counter.applied ?? 0;
  }

  restless(): string | undefined {
    if (this.incarnation === 0) return "is not registered";
    for (const bucket of this.membership.table.buckets) {
      const copy = this.#buckets.get(bucket.id);
      const commit = this.cluster.committed(bucket);
      if (bucket.leader === this.name && (copy === undefined || copy.openEpoch !== bucket.epoch)) return `bucket ${bucket.id} is not open`;
      const isMember = bucket.members.some((member) => member.node === this.name);
      if (isMember && copy!.counter.applied !== commit) return `bucket ${bucket.id}: applied ${copy!.counter.applied} of ${commit}`;
      if ((copy?.waiting.size ?? 0) > 0) return `bucket ${bucket.id}: additions wait`;
    }
    return undefined;
  }

  #bucketChanged(table: Table, record: Bucket): void {
    const named = record.members.concat(record.learners).some((member) => member.node === this.name);
    let copy = this.#buckets.get(record.id);
    if (copy === undefined && named) {
      copy = this.#newCopy(record.id);
      this.#buckets.set(record.id, copy);
      this.#views.push([record.id, copy.replica]);
    }
    if (copy === undefined) return;
    copy.replica.table(record, { minCopies: table.settings.minCopies, plan: table.plans.get(record.id) }, this.cluster.wallMs(this.site));
    this.#touch(copy);
  }

  #newCopy(bucket: number): CounterBucket {
    const copy = this.copyAtStart(bucket);
    return new CounterBucket(this, bucket, (lead, counter) => {
      const stored = this.site.disk.checkpoints.get(bucket);
      if (stored !== undefined) counter.restore(stored.records.get(STATE)!, stored.applied);
      const { name: node, incarnation } = this;
      return new Replica({ bucket, node, incarnation, copy, machine: counter, lead, effects: this.effects(), limits: replicaLimits(this.cluster.case) });
    });
  }

  #beat(nowMs: number): void {
    this.#beatAt = nowMs;
    const beat: Beat = { type: "beat", suspects: this.#coordinator!.suspects(nowMs) };
    for (const node of this.membership.table.nodes.keys()) if (node !== this.name) this.send(node, "beat", beat);
  }

  /** Retention: the leader moves the floor behind what is applied. */
  #moveFloor(copy: CounterBucket): void {
    const { retain } = this.cluster.case;
    if (retain === 0 || copy.openEpoch === 0 || this.cluster.quiet || !this.cluster.random.chance(0.02)) return;
    const floor = copy.counter.applied - retain;
    if (floor <= 1) return;
    copy.replica.proposeFloor(floor, this.cluster.wallMs(this.site));
    this.#touch(copy);
  }

  #touch(copy: CounterBucket): void {
    this.#touched.add(copy);
    this.wake();
  }
}

const STATE = "state";

function stateOf({ counter }: CounterBucket): Checkpoint {
  return { applied: counter.applied, writes: [{ key: STATE, value: counter.snapshot() }], whole: true };
}

/** Adds at whoever believes to lead, asks, and knows what was answered. */
class Clients implements Application {
  readonly #answered = new Map<string, number>();
  #numbers: number[] = [];
  #random = new Prng(0);
  #cluster: Cluster | undefined;
  #stopped = false;

  start = (cluster: Cluster, site: Site, recovery: SimRecovery): CounterNode => new CounterNode(cluster, site, recovery, this);

  work(cluster: Cluster): void {
    this.#cluster = cluster;
    this.#random = new Prng(cluster.case.seed + 2);
    for (let client = 0; client < cluster.case.workload.clients; client += 1) {
      this.#numbers.push(0);
      this.#next(client);
    }
  }

  stop(): void {
    this.#stopped = true;
  }

  unfinished(): string | undefined {
    return undefined;
  }

  finish(): void {}

  answered(bucket: number, client: number, number: number): void {
    const key = `${bucket}/${client}`;
    this.#answered.set(key, Math.max(number, this.#answered.get(key) ?? 0));
  }

  #next(client: number): void {
    const cluster = this.#cluster!;
    const { everyMs } = cluster.case.workload;
    cluster.world.after(this.#random.between(1, everyMs * 2000), undefined, "client", client, () => {
      if (this.#stopped) return;
      this.#act(cluster, client);
      this.#next(client);
    });
  }

  #act(cluster: Cluster, client: number): void {
    const bucket = this.#random.below(cluster.case.buckets);
    const host = this.#random.pick(cluster.sites).host as CounterNode | undefined;
    const leader = cluster.byName.get(cluster.control.truth.buckets[bucket]?.leader ?? "")?.host as CounterNode | undefined;
    const at = this.#random.chance(0.7) ? leader : host;
    if (at === undefined || at.pausedUntil > cluster.world.now) return;
    if (this.#random.chance(0.2)) {
      at.ask(bucket, client, this.#answered.get(`${bucket}/${client}`) ?? 0);
      return;
    }
    for (let burst = this.#random.between(1, 4); burst > 0; burst -= 1) {
      const number = (this.#numbers[client] = this.#numbers[client]! + 1);
      at.add(bucket, client, number);
    }
  }
}

export function counterApplication(): Application {
  return new Clients();
}

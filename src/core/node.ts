// One node's decisions, composed: the table it folds, its copies of buckets, its gateway, its coordinator, and the hops between them.
// Pure: events are method calls, effects go to the sink. The simulator runs this very class.

import { assert } from "../base/assert.ts";
import type { ErrorCode } from "../base/errors.ts";
import { Ring } from "../base/ring.ts";
import { BucketCopy, type BucketLimits } from "./bucket.ts";
import type { Entry } from "./entry.ts";
import { Gateway, type GatewaySink } from "./gateway/gateway.ts";
import type { GatewayLimits } from "./gateway/limits.ts";
import type { Frame } from "./gateway/line.ts";
import type { DeviceLine, DeviceSocket, GatewayAnswer, GatewayDoor, GatewayRequest, Hello } from "./gateway/types.ts";
import { bucketOf } from "./hash.ts";
import type { GatewayId, HopAnswer, HopRequest, PublishKind } from "./hop.ts";
import type { CopyAtStart, LoadPurpose, PeerMessage, ReplicaEffects, Ticket } from "./replica/types.ts";
import type { StateReads } from "./stream/overlay.ts";
import type { Bucket, Settings } from "./table/commands.ts";
import { Coordinator, type CoordinatorSettings } from "./table/coordinator.ts";
import type { Table, TableChange } from "./table/table.ts";

/** What a gateway says to a bucket's leader on another node. */
export interface Hop {
  readonly from: GatewayId;
  readonly bucket: number;
  readonly epoch: number;
  readonly request: HopRequest | HopPublish;
}

/** A frame of an attached line: its body is `bytes` from `start` to `end`, which stay as they are. */
export interface HopPublish {
  readonly type: "publish";
  readonly handle: number;
  readonly series: number;
  readonly kind: PublishKind;
  readonly code: ErrorCode | undefined;
  readonly bytes: Uint8Array;
  readonly start: number;
  readonly end: number;
}

/** What every node tells every other one, again and again (R6). */
export interface Beat {
  readonly from: GatewayId;
  /** Nodes it has not heard for too long. */
  readonly suspects: readonly string[];
}

export interface NodeEffects extends ReplicaEffects {
  /** A flush is due at the end of this turn. May be called often. */
  wake(): void;
  hop(to: string, hop: Hop): void;
  answer(to: GatewayId, bucket: number, answer: HopAnswer): void;
  beat(to: string, beat: Beat): void;
}

export interface NodeLimits extends BucketLimits {
  readonly gateway: GatewayLimits;
  readonly coordinator: CoordinatorSettings;
  /** Milliseconds between two beats to the other nodes. */
  readonly beatMs: number;
}

export class CoreNode implements GatewayDoor {
  readonly id: string;
  readonly incarnation: number;
  readonly table: Table;
  readonly gateway: Gateway;
  readonly #coordinator: Coordinator;
  readonly #effects: NodeEffects;
  readonly #limits: NodeLimits;
  readonly #copyAtStart: (bucket: number) => CopyAtStart;
  readonly #stateOf: (bucket: number) => StateReads;
  readonly #self: GatewayId;
  readonly #copies: (BucketCopy | undefined)[] = [];
  readonly #allCopies: BucketCopy[] = [];
  readonly #replicaEffects: ReplicaEffects;
  /** Which copies wait for which ticket, in order. */
  readonly #unsynced = new Ring<{ readonly ticket: Ticket; readonly copy: BucketCopy }>();
  /** Copies that wrote since the last flush: their peers are due an Append. */
  #touched = new Set<BucketCopy>();
  /** Hops and answers within this node, taken in turn so that no sink calls back in. */
  readonly #local = new Ring<Hop | { readonly bucket: number; readonly answer: HopAnswer }>();
  #draining = false;
  #now = 0;
  #wall = 0;
  #beatAt = 0;
  /** Nodes that the last beat named. */
  #suspected = 0;
  #started = false;
  #storageFull = false;
  #settings: Settings | undefined;
  #planned: ReadonlySet<number> = new Set();

  constructor(options: {
    readonly id: string;
    readonly incarnation: number;
    readonly table: Table;
    readonly effects: NodeEffects;
    readonly limits: NodeLimits;
    /** What recovery found of a bucket's copy; an empty copy where there is none. */
    readonly copyAtStart: (bucket: number) => CopyAtStart;
    readonly stateOf: (bucket: number) => StateReads;
  }) {
    this.id = options.id;
    this.incarnation = options.incarnation;
    this.table = options.table;
    this.#effects = options.effects;
    this.#limits = options.limits;
    this.#copyAtStart = options.copyAtStart;
    this.#stateOf = options.stateOf;
    this.#self = { node: this.id, incarnation: this.incarnation };
    this.#coordinator = new Coordinator(options.id, options.incarnation, options.limits.coordinator, { propose: (command) => options.effects.propose(command) });
    this.#replicaEffects = this.#followTickets(options.effects);
    const sink: GatewaySink = {
      hop: (to, bucket, epoch, request) => this.#hop(to, bucket, epoch, request),
      publish: (to, bucket, epoch, handle, series, kind, frame) => this.#publish(to, bucket, epoch, handle, series, kind, frame),
      wake: () => this.#effects.wake(),
    };
    this.gateway = new Gateway(options.limits.gateway, (device) => bucketOf(device, this.table.buckets.length), sink);
  }

  copy(bucket: number): BucketCopy | undefined {
    return this.#copies[bucket];
  }

  /** Every copy on this node, in the order they were made. */
  get copies(): readonly BucketCopy[] {
    return this.#allCopies;
  }

  /** The driver's clocks, told before a turn's first event: milliseconds, `now` monotonic, `wall` since 1970. */
  clock(now: number, wall: number): void {
    if (this.#started) this.#coordinator.stalled(now - this.#now, now);
    this.#now = now;
    this.#wall = wall;
    this.gateway.now = now;
    for (const copy of this.#allCopies) copy.admission.wall = wall;
  }

  /** The disk has no room, or has it again: nothing is admitted meanwhile that needs the log; reads go on. */
  set storageFull(isFull: boolean) {
    this.#storageFull = isFull;
    for (const copy of this.copies) copy.admission.storageFull = isFull;
  }

  get storageFull(): boolean {
    return this.#storageFull;
  }

  /** The table as it stands, once at the start. */
  start(): void {
    this.#started = true;
    for (const record of this.table.buckets) this.#bucketChanged(record);
    this.#coordinator.table(this.table, this.#now);
    this.#drain();
  }

  /** The table has folded a batch. */
  tableChanged(change: TableChange): void {
    const concerned = this.#settings === this.table.settings ? new Set(change.buckets) : new Set(this.table.buckets.keys());
    for (const bucket of this.#planned) concerned.add(bucket);
    this.#planned = new Set(this.table.plans.keys());
    this.#settings = this.table.settings;
    for (const bucket of this.#planned) concerned.add(bucket);
    for (const bucket of concerned) this.#bucketChanged(this.table.bucket(bucket));
    if (change.nodes.size > 0) for (const copy of this.copies) this.#lostGateways(copy, change.nodes);
    this.#coordinator.table(this.table, this.#now);
    this.#drain();
  }

  // --- front-ends (GatewayDoor) ---

  open(socket: DeviceSocket, hello: Hello): DeviceLine {
    return this.gateway.open(socket, hello);
  }

  request(request: GatewayRequest, deadlineMs: number, done: (answer: GatewayAnswer) => void): void {
    this.gateway.request(request, deadlineMs, done);
  }

  // --- the driver ---

  receive(message: PeerMessage): void {
    const copy = this.#copies[message.bucket];
    if (copy === undefined) return;
    copy.replica.receive(message, this.#now);
    this.#touch(copy);
    this.#drain();
  }

  durable(ticket: Ticket): void {
    for (let first = this.#unsynced.first(); first !== undefined && first.ticket <= ticket; first = this.#unsynced.first()) {
      this.#unsynced.shift();
      first.copy.replica.durable(ticket);
      this.#drain(); // bucket by bucket: what applying touched is still in the processor's cache
    }
  }

  loaded(bucket: number, purpose: LoadPurpose, entries: readonly Entry[]): void {
    this.#copies[bucket]?.replica.loaded(purpose, entries);
    this.#drain();
  }

  installed(bucket: number, applied: number): void {
    this.#copies[bucket]?.replica.installed(applied);
    this.#drain();
  }

  /** A hop from another node's gateway. */
  hopped(hop: Hop): void {
    this.#take(hop);
    this.#drain();
  }

  /** An answer of a leader on another node. */
  answered(from: string, bucket: number, answer: HopAnswer): void {
    this.gateway.answered(from, bucket, answer);
    this.#drain();
  }

  linkLost(node: string): void {
    this.gateway.linkLost(node);
    this.#coordinator.linkLost(node);
    this.#drain();
  }

  /** A link to the node was made: what was asked while there was none is asked again. */
  linkMade(node: string): void {
    this.gateway.linkLost(node);
    this.#drain();
  }

  /** The leases as just read from the control log. */
  leases(alive: readonly GatewayId[]): void {
    this.#coordinator.leases(alive, this.#now);
  }

  /** Another node's beat; one of a former incarnation says nothing. */
  heard({ from, suspects }: Beat): void {
    if (this.#isCurrent(from)) this.#coordinator.heard(from.node, suspects, this.#now);
  }

  /** Bytes came from another node, a beat or not: it lives. */
  signOfLife(from: GatewayId): void {
    if (this.#isCurrent(from)) this.#coordinator.signOfLife(from.node, this.#now);
  }

  #isCurrent({ node, incarnation }: GatewayId): boolean {
    return this.table.nodes.get(node)?.incarnation === incarnation;
  }

  /** Time passes. Called often: several times in the shortest of the limits. */
  tick(): void {
    for (const { replica } of this.#allCopies) {
      replica.tick(this.#now);
      for (const { node, heldBackMs } of replica.peers) if (heldBackMs > 0) this.#coordinator.heldBack(node, heldBackMs);
    }
    this.gateway.tick();
    this.#coordinator.tick(this.#now);
    const suspects = this.#coordinator.suspects(this.#now);
    if (this.#now >= this.#beatAt || suspects.length > this.#suspected) this.#beat(suspects); // R6: who else suspects it is told at once
    this.#drain();
  }

  /** The end of a turn: one Append per peer for everything new, at most one ACK per socket. */
  flush(): void {
    this.#drain();
    for (const copy of this.#touched) copy.replica.flush(this.#now);
    this.#touched.clear();
    this.gateway.flush();
  }

  #beat(suspects: readonly string[]): void {
    this.#beatAt = this.#now + this.#limits.beatMs;
    this.#suspected = suspects.length;
    const beat: Beat = { from: this.#self, suspects };
    for (const { id, state } of this.table.nodes.values()) if (id !== this.id && state !== "departed") this.#effects.beat(id, beat);
  }

  // --- the table ---

  #bucketChanged(record: Bucket): void {
    const named = record.members.concat(record.learners).some((member) => member.node === this.id);
    if (named) this.#copies[record.id] ??= this.#newCopy(record.id);
    const copy = this.#copies[record.id];
    if (copy !== undefined) {
      copy.admission.generation = record.generation;
      copy.replica.table(record, { minCopies: this.table.settings.minCopies, plan: this.table.plans.get(record.id) }, this.#wall);
      this.#touch(copy);
    }
    this.gateway.route(record.id, { leader: record.leader, epoch: record.epoch, dark: this.table.leaderOf(record.id) === undefined });
  }

  #newCopy(bucket: number): BucketCopy {
    const copy = new BucketCopy({
      bucket,
      node: this.id,
      incarnation: this.incarnation,
      copy: this.#copyAtStart(bucket),
      state: this.#stateOf(bucket),
      effects: this.#replicaEffects,
      limits: this.#limits,
      answer: (to, answer) => this.#answer(to, bucket, answer),
    });
    copy.admission.wall = this.#wall;
    copy.admission.storageFull = this.#storageFull;
    this.#allCopies.push(copy);
    this.#lostGateways(copy, this.table.nodes.keys());
    return copy;
  }

  /** R33: sessions attached to a gateway that is departed or at a higher incarnation go down. */
  #lostGateways(copy: BucketCopy, nodes: Iterable<string>): void {
    for (const id of nodes) {
      const node = this.table.nodes.get(id);
      assert(node !== undefined, "a changed node is in the table");
      copy.admission.gatewayGone(id, node.state === "departed" ? node.incarnation : node.incarnation - 1);
    }
  }

  // --- hops ---

  #hop(to: string, bucket: number, epoch: number, request: HopRequest): void {
    const hop: Hop = { from: this.#self, bucket, epoch, request };
    if (to === this.id) this.#later(hop);
    else this.#effects.hop(to, hop);
  }

  #publish(to: string, bucket: number, epoch: number, handle: number, series: number, kind: PublishKind, frame: Frame): void {
    const { bytes, start, end, code } = frame;
    if (to !== this.id) {
      const request: HopPublish = { type: "publish", handle, series, kind, code, bytes, start, end };
      this.#effects.hop(to, { from: this.#self, bucket, epoch, request });
      return;
    }
    const copy = this.#copies[bucket];
    if (copy !== undefined && copy.replica.epoch === epoch) copy.admission.publish(handle, series, kind, bytes, start, end, code);
  }

  #take(hop: Hop): void {
    const copy = this.#copies[hop.bucket];
    const { request } = hop;
    if (copy === undefined || copy.replica.role !== "leader" || copy.replica.epoch !== hop.epoch) {
      // C8: a stale table is refused; a hop without a number is asked again by a re-attachment.
      if ("request" in request) this.#answer(hop.from, hop.bucket, { type: "failed", request: request.request, code: "stale_table", detail: "", version: 0 });
      return;
    }
    if (request.type === "publish") copy.admission.publish(request.handle, request.series, request.kind, request.bytes, request.start, request.end, request.code);
    else copy.admission.request(hop.from, request);
    this.#touch(copy);
  }

  #answer(to: GatewayId, bucket: number, answer: HopAnswer): void {
    if (to.node !== this.id) this.#effects.answer(to, bucket, answer);
    else if (to.incarnation === this.incarnation) this.#later({ bucket, answer });
  }

  #later(item: Hop | { readonly bucket: number; readonly answer: HopAnswer }): void {
    this.#local.push(item);
    this.#effects.wake();
  }

  #drain(): void {
    if (this.#draining) return;
    this.#draining = true;
    for (let item = this.#local.shift(); item !== undefined; item = this.#local.shift()) {
      if ("answer" in item) this.gateway.answered(this.id, item.bucket, item.answer);
      else this.#take(item);
    }
    this.#draining = false;
  }

  // --- the log ---

  #touch(copy: BucketCopy): void {
    this.#touched.add(copy);
    this.#effects.wake();
  }

  /** The sink with a note of who waits for which ticket. */
  #followTickets(effects: NodeEffects): ReplicaEffects {
    const follow = (bucket: number, ticket: Ticket): Ticket => {
      const copy = this.#copies[bucket];
      if (copy !== undefined && copy.lastTicket !== ticket) {
        copy.lastTicket = ticket;
        this.#unsynced.push({ ticket, copy });
        this.#touch(copy);
      }
      return ticket;
    };
    return {
      write: (bucket, entry) => follow(bucket, effects.write(bucket, entry)),
      reset: (bucket, index, epoch) => follow(bucket, effects.reset(bucket, index, epoch)),
      fill: (bucket, entries) => follow(bucket, effects.fill(bucket, entries)),
      mark: (bucket, incomplete) => follow(bucket, effects.mark(bucket, incomplete)),
      floor: (bucket, index) => effects.floor(bucket, index),
      load: (bucket, purpose, from, to) => effects.load(bucket, purpose, from, to),
      install: (bucket, applied) => effects.install(bucket, applied),
      send: (to, message) => effects.send(to, message),
      propose: (command) => effects.propose(command),
    };
  }
}

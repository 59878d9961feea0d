// A running node: started from its storage and control log, stopped in order, and what it offers to the front-ends.

import { createHash } from "node:crypto";

import { BellhopError } from "../base/errors.ts";
import type { Keeper } from "../control/kept.ts";
import type { ControlLog } from "../control/port.ts";
import type { DeviceLine, DeviceSocket, GatewayAnswer, GatewayRequest, Hello } from "../core/gateway/types.ts";
import type { GatewayId } from "../core/hop.ts";
import type { NodeLimits } from "../core/node.ts";
import type { NodeAddress } from "../core/table/commands.ts";
import type { Table, TableChange } from "../core/table/table.ts";
import type { Readings } from "../observe/metrics.ts";
import { version } from "../observe/version.ts";
import type { Log as WriteAheadLog, LogEvents, RecoveredCopy, Recovery, StateStore } from "../storage/port.ts";
import type { ClusterView, ControlPage, CredentialView, DevicePage, DeviceView, Explanation, NodeApi, NodeNumber, NodeStatus, OffsetPlace, ReadOptions, StatePair, StreamPage, StreamWatcher } from "./api.ts";
import { Checkpointer, type CheckpointLimits } from "./checkpointer.ts";
import { clusterView } from "./cluster-view.ts";
import { Eraser, type EraseLimits } from "./eraser.ts";
import { Feed } from "./feed.ts";
import { Host } from "./host.ts";
import { TableKeys } from "./keys.ts";
import type { Links } from "../peer/links.ts";
import type { ReadMessage } from "../peer/reads.ts";
import { Membership, type Beginning } from "./membership.ts";
import { Operator } from "./operator.ts";
import { Overload } from "./overload.ts";
import { Reads } from "./reads.ts";
import { Retention, type RetentionLimits } from "./retention.ts";
import { endHop, RequestCounts, spanOfHop } from "./requests.ts";
import { Space } from "./space.ts";
import { Streams } from "./streams.ts";
import { ALL_TYPES, Watches } from "./watches.ts";

/** A start waits this long for its buckets to open. */
const OPEN_TIMEOUT_MS = 60_000;
const OVERLOADED = "Requests wait for longer than overloadSeconds already.";

export interface NodeOptions {
  readonly id: string;
  readonly zone: string;
  readonly address: NodeAddress;
  /** The table of a cluster that has none yet. */
  readonly beginning: Beginning;
  /** To the other nodes, listening already; undefined for a node that is alone. */
  readonly links: Links | undefined;
  readonly storage: NodeStorage;
  /** The data directory, for the room on its disk, and bytes to keep free there. */
  readonly directory: string;
  readonly minFreeBytes: number;
  readonly control: ControlLog;
  /** Keeps the control log's fold on this node's disk. */
  readonly keeper: Keeper | undefined;
  /** How long the others hold this node to be alive after it has last said so, in ms. */
  readonly leaseMs: number;
  readonly limits: NodeLimits;
  readonly checkpoints: CheckpointLimits;
  readonly retention: RetentionLimits;
  readonly erasing: EraseLimits;
  /** Milliseconds that requests may stand before new ones are refused. */
  readonly overloadMs: number;
  /** The node cannot go on; called once. */
  readonly failed: (error: Error) => void;
  /** This incarnation is over and the node should be started anew; called once. */
  readonly over: (why: string) => void;
  /** A new cluster waits for nodes to register; so many have. */
  readonly waits: (registered: number) => void;
  /** The table says that another node has departed, by a fail-over or an operator: the others go on without it. */
  readonly departed: (node: string) => void;
  readonly full: (isFull: boolean) => void;
  /** The control log does not answer, or does again. */
  readonly away: (isAway: boolean) => void;
}

export interface NodeStorage {
  readonly recovery: Recovery;
  readonly log: WriteAheadLog;
  readonly state: StateStore;
}

export class RunningNode implements NodeApi {
  readonly host: Host;
  readonly feed: Feed;
  readonly #streams: Streams;
  readonly #reads: Reads;
  readonly #watches: Watches;
  readonly #membership: Membership;
  readonly #checkpointer: Checkpointer;
  readonly #retention: Retention;
  readonly #eraser: Eraser;
  readonly #space: Space;
  readonly #requests = new RequestCounts();
  readonly #overload: Overload;
  readonly #version = version();
  readonly #startedAt = performance.now();
  readonly keys: TableKeys;
  readonly operator: Operator;
  readonly #links: Links | undefined;

  private constructor(options: NodeOptions, copies: readonly RecoveredCopy[], membership: Membership, times: ReadonlyMap<number, number>) {
    const { storage, failed } = options;
    this.#membership = membership;
    this.keys = new TableKeys(membership);
    this.operator = new Operator(membership);
    this.#links = options.links;
    this.host = new Host({
      id: options.id,
      incarnation: membership.incarnation,
      table: membership.table,
      storage: { log: storage.log, state: storage.state, copies },
      times,
      limits: options.limits,
      links: options.links,
      events: {
        propose: (command) => membership.propose(command),
        install: (bucket, applied) => this.#install(bucket, applied),
        failed,
        read: (from, message) => this.#readMessage(from, message),
        turned: () => this.#turned(),
        logFull: (isFull) => this.#space.logIsFull(isFull),
      },
    });
    const full = (isFull: boolean): void => {
      this.host.run(() => {
        this.host.core.storageFull = isFull;
      });
      options.full(isFull);
    };
    this.#space = new Space(options.directory, options.minFreeBytes, full, (error) => this.host.fail(error));
    this.#streams = new Streams(this.host.core, storage.log);
    this.#reads = new Reads(this.host, this.#streams, options.links);
    this.#watches = new Watches(this.#streams, this.#reads, options.links, () => this.host.wake());
    this.feed = new Feed(this.host.core, storage.log, (moved) => this.#streams.watchAll(moved));
    this.#checkpointer = new Checkpointer(this.host.core, storage.log, storage.state, options.checkpoints, (error) => this.host.fail(error));
    this.#overload = new Overload(options.overloadMs);
    this.#retention = new Retention(this.host, options.retention);
    this.#eraser = new Eraser(this.host, options.erasing);
  }

  /** Registers, and resolves when every bucket that it leads is open. `connect` is given where the log's events go. */
  static async start(options: NodeOptions, connect: (events: LogEvents) => void): Promise<RunningNode> {
    const { storage, control, id, zone, address, leaseMs, keeper } = options;
    const { recovery } = storage;
    const started: { node?: RunningNode } = {};
    const membership = await Membership.follow(control, {
      changed: (change: TableChange) => {
        if (started.node === undefined) return;
        started.node.host.tableChanged(change);
        started.node.keys.folded();
        for (const other of change.nodes) if (other !== id && started.node.table.nodes.get(other)?.state === "departed") options.departed(other);
      },
      away: options.away,
      leases: (alive) => started.node?.host.run(() => started.node?.host.core.leases(alive)),
      failed: (error) => (started.node === undefined ? options.failed(error) : started.node.host.fail(error)),
      over: (why) => {
        started.node?.host.stop();
        options.over(options.links?.wasEverUp === false ? `${why} (it never had a link to another node: do they reach it at ${address.peer}, as advertisePeer says?)` : why);
      },
    }, { leaseMs, keeper });
    const incomplete = recovery.copies.filter((copy) => copy.incomplete).map((copy) => copy.bucket);
    await membership.register({ node: id, store: recovery.storeId, clean: recovery.clean, incomplete, address, zone });
    const copies = recovery.clean ? recovery.copies : await markIncomplete(storage, membership.table, id);
    await membership.begin(options.beginning, options.waits);
    const node = new RunningNode(options, copies, membership, await lastTimes(storage));
    started.node = node;
    connect(node.host.logEvents);
    options.links?.nodes(membership.table.nodes.values());
    options.links?.begin(membership.incarnation, {
      signOfLife: (from) => node.host.signOfLife(from),
      message: (from, message) => node.host.linked(from, message),
      made: (peer) => node.host.run(() => node.host.core.linkMade(peer)),
      lost: (peer) => node.host.run(() => node.#linkLost(peer)),
    });
    node.host.start();
    await node.#space.look();
    if (options.links === undefined) await node.#opened(); // among others, a bucket may have to wait for them
    return node;
  }

  #install(bucket: number, applied: number): void {
    this.#checkpointer.install(bucket).then(
      () => this.host.run(() => this.host.core.installed(bucket, applied)),
      (error: unknown) => this.host.fail(error as Error),
    );
  }

  /** Lets the others take over, for at most `ms`; a node that is alone has nobody. */
  async handOver(ms: number): Promise<void> {
    if (this.#links !== undefined) await this.operator.handOver(ms);
  }

  /** Writes the last checkpoint and closes the log; what was answered is on disk in any case. */
  async stop(): Promise<void> {
    this.#retention.stop();
    await this.#eraser.stop();
    this.#space.stop();
    await this.#checkpointer.stop(true);
    this.host.stop();
    await this.#membership.close();
  }

  // --- NodeApi ---

  turn(): void {
    this.host.wake();
  }

  fail(error: Error): void {
    this.host.fail(error);
  }

  open(socket: DeviceSocket, hello: Hello): DeviceLine {
    this.host.wake();
    return this.host.core.open(socket, hello);
  }

  request(request: GatewayRequest, deadlineMs: number, done: (answer: GatewayAnswer) => void): void {
    const { type } = request;
    const since = performance.now();
    const span = spanOfHop(type);
    const isTaken = this.#overload.takes(since);
    const answered = (answer: GatewayAnswer): void => {
      const now = performance.now();
      if (isTaken) this.#overload.answered(since, now);
      this.#requests.answered(type, answer, now - since);
      if (span !== undefined) endHop(span, answer);
      done(answer);
    };
    if (isTaken) this.host.run(() => this.host.core.request(request, deadlineMs, answered));
    else answered({ type: "failed", request: 0, code: "overloaded", detail: OVERLOADED, version: 0 });
  }

  get takesMore(): boolean {
    return this.host.core.gateway.hasRoom && !this.#overload.stands(performance.now());
  }

  read(device: string, options: ReadOptions): Promise<StreamPage> {
    return this.#reads.page(device, options, this.#watches.endOf(device));
  }

  readNow(device: string, options: ReadOptions): StreamPage | undefined {
    return this.#reads.pageNow(device, options, this.#watches.endOf(device));
  }

  watch(device: string, watcher: StreamWatcher, types = ALL_TYPES): () => void {
    return this.#watches.watch(device, watcher, types);
  }

  device(device: string): Promise<DeviceView | undefined> {
    return this.#reads.device(device);
  }

  devices(after: string, limit: number, prefix: string): Promise<DevicePage> {
    return this.#reads.devices(after, limit, prefix);
  }

  place(device: string, offset: number): Promise<OffsetPlace | undefined> {
    return this.#reads.place(device, offset);
  }

  get table(): Table {
    return this.host.core.table;
  }

  digest(bucket: number): ReturnType<NodeApi["digest"]> {
    const copy = this.host.core.copy(bucket);
    if (copy === undefined) return undefined;
    return { applied: copy.machine.index, commit: copy.replica.commit, digest: createHash("sha256").update(copy.machine.snapshot()).digest("hex") };
  }

  async controlLog(after: number, limit: number): Promise<ControlPage> {
    return this.#membership.entries(after, limit);
  }

  cluster(): ClusterView {
    return clusterView(this.host.core, this.#membership, this.#links?.stats);
  }

  credentials(device: string): Promise<readonly CredentialView[] | undefined> {
    return this.#reads.credentials(device);
  }

  state(device: string, least = 0): Promise<StatePair | undefined> {
    return this.#reads.state(device, Math.max(least, this.#watches.endOf(device)));
  }

  explain(device: string): Promise<Explanation | undefined> {
    return this.#reads.explain(device, this.#watches.watchersOf(device));
  }

  leaderOf(device: string): string | undefined {
    const { core } = this.host;
    const leader = core.table.leaderOf(this.#reads.bucketOf(device));
    return leader === undefined || leader.id === core.id ? undefined : leader.address.http;
  }

  /** What another node asks or tells about reads. */
  #readMessage(from: GatewayId, message: ReadMessage): void {
    if (message.type === "ask" || message.type === "told" || message.type === "refused") this.#reads.take(from, message);
    else this.#watches.take(from.node, message);
  }

  #turned(): void {
    this.#streams.tellWatchers();
    this.#watches.turned();
    this.#reads.tick();
  }

  #linkLost(peer: string): void {
    this.host.core.linkLost(peer);
    this.#reads.lost(peer);
    this.#watches.lost(peer);
  }

  status(): NodeStatus {
    const { core, log, state } = this.host;
    const copies = core.copies;
    const open = copies.filter((copy) => copy.replica.isOpen).length;
    const led = copies.filter((copy) => copy.replica.role === "leader").length;
    const total = core.table.buckets.length;
    const why: string[] = [];
    if (open < led) why.push(`${led - open} of ${led} buckets led here are not open`);
    const dark = core.table.buckets.filter(({ id }) => core.table.leaderOf(id) === undefined).length;
    if (dark > 0) why.push(`${dark} of ${total} buckets have no leader`);
    if (core.storageFull) why.push("the disk is full: writes wait for space, reads go on");
    const { lines, waitingLines, requests } = core.gateway.counts;
    const sum = (of: (copy: (typeof copies)[number]) => number): number => copies.reduce((all, copy) => all + of(copy), 0);
    const logStats = log.stats();
    const stateStats = state.stats();
    return {
      node: core.id,
      incarnation: core.incarnation,
      version: this.#version,
      uptimeSeconds: (performance.now() - this.#startedAt) / 1000,
      ready: why.length === 0,
      why,
      buckets: { total, led, open },
      devices: { connected: lines },
      waiting: {
        lines: waitingLines,
        requests,
        log_bytes: logStats.bytesWaiting,
        log_groups: logStats.groupsInFlight,
        unapplied_entries: sum((copy) => copy.replica.last - copy.replica.applied),
        dirty_devices: sum((copy) => copy.machine.dirtyDevices),
        proposals: this.#membership.waiting,
        reads: this.#reads.waiting,
      },
      numbers: {
        devices_connected: lines,
        buckets: total,
        buckets_led: led,
        buckets_open: open,
        streams_watched: this.#watches.count,
        entries_total: sum((copy) => copy.replica.commit),
        entries_forgotten_total: sum((copy) => copy.replica.floor - 1),
        resident_bytes: sum((copy) => copy.replica.residentBytes),
        log_segments: logStats.segments,
        log_bytes: logStats.bytes,
        log_groups_total: logStats.groups,
        log_written_bytes_total: logStats.bytesWritten,
        storage_full: core.storageFull ? 1 : 0,
        disk_free_bytes: this.#space.freeBytes,
        state_bytes: stateStats.bytes,
        checkpoint_bytes_total: stateStats.checkpointBytes,
        checkpoints_total: stateStats.checkpoints,
        checkpoints_without_room_total: this.#checkpointer.withoutRoom,
        removals_pending: this.#eraser.pending,
        erased_entries_total: this.#eraser.blanked,
      },
    };
  }

  /** What /metrics says of this node. */
  readings(): Readings<NodeNumber | "waiting" | "ready" | "uptime_seconds" | "control_log_silent_seconds" | "log_write_seconds" | "checkpoint_seconds" | "publishes_total" | "publish_seconds" | "requests_total"> {
    const { numbers, waiting, ready, uptimeSeconds } = this.status();
    return {
      ...numbers,
      waiting: Object.entries(waiting).map(([where, value]) => ({ labels: { where }, value })),
      ready: ready ? 1 : 0,
      uptime_seconds: uptimeSeconds,
      control_log_silent_seconds: this.#membership.silentMs / 1000,
      log_write_seconds: this.host.log.writeTimes,
      checkpoint_seconds: this.#checkpointer.times,
      ...this.#requests.readings(),
    };
  }

  /** Every bucket led here is open: its Gov entry is committed and applied (R16). */
  async #opened(): Promise<void> {
    const deadline = performance.now() + OPEN_TIMEOUT_MS;
    while (this.host.core.copies.some((copy) => copy.replica.role === "leader" && !copy.replica.isOpen)) {
      if (performance.now() > deadline) throw new BellhopError("internal", `Not every bucket opened within ${OPEN_TIMEOUT_MS / 1000} s.`);
      await new Promise((resolve) => {
        setTimeout(resolve, 5);
      });
    }
  }
}

/**
 * R22: each copy that the table or its own log knows here is durably marked incomplete, and only then is the damage forgotten:
 * a node that ends before that finds it again, and registers unclean again. The table is current, for it shows the registration.
 */
async function markIncomplete({ recovery, log }: NodeStorage, table: Table, node: string): Promise<RecoveredCopy[]> {
  const copies = new Map(recovery.copies.map((copy) => [copy.bucket, { ...copy, incomplete: true }]));
  for (const { id, members, learners } of table.buckets) {
    const isHere = members.concat(learners).some((member) => member.node === node);
    if (isHere && !copies.has(id)) copies.set(id, { bucket: id, floor: 1, base: 0, baseEpoch: 0, last: 0, epochs: [], incomplete: true });
  }
  for (const bucket of copies.keys()) log.mark(bucket, true);
  await log.sync();
  log.settle();
  await log.sync();
  return [...copies.values()];
}

/** The time of each copy's last entry: admission never goes below it (R32). */
async function lastTimes({ recovery, log }: NodeStorage): Promise<Map<number, number>> {
  const times = new Map<number, number>();
  for (const { bucket, base, last } of recovery.copies) {
    if (last === base) continue;
    const [entry] = await log.read(bucket, [last], 1);
    if (entry !== undefined) times.set(bucket, entry.time);
  }
  return times;
}

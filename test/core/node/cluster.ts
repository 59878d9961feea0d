// Several whole nodes (CoreNode) over links, disks and a control log that do only what they are told; devices that write down what they hear.

import { assert } from "../../../src/base/assert.ts";
import type { ErrorCode } from "../../../src/base/errors.ts";
import type { Entry } from "../../../src/core/entry.ts";
import type { GatewayAnswer, GatewayRequest } from "../../../src/core/gateway/types.ts";
import type { GatewayId, HopAnswer } from "../../../src/core/hop.ts";
import { CoreNode, type Hop, type NodeEffects, type NodeLimits } from "../../../src/core/node.ts";
import type { LoadPurpose, PeerMessage, Ticket } from "../../../src/core/replica/types.ts";
import { indexesOf, view } from "../../../src/core/stream/view.ts";
import { PLAN_STEP, type Command } from "../../../src/core/table/commands.ts";
import { Table } from "../../../src/core/table/table.ts";
import { SMALL } from "../replica/cluster.ts";
import { Disk } from "../replica/disk.ts";
import { LIMITS, Store, textOf } from "../stream/driver.ts";
import { TestDevice } from "./device.ts";

const START_OF_TIME = 1_800_000_000_000;
/** Entries answered to one load. */
const LOAD_ENTRIES = 3;
/** Time passes in steps of this many milliseconds. */
const STEP_MS = 10;

export const NODE_LIMITS: NodeLimits = {
  replica: { ...SMALL, residentBytes: 100_000, appendBytes: 10_000, inflightBytes: 100_000, partBytes: 500 },
  stream: { cachedDevices: 8 },
  admission: { ...LIMITS, window: 8 },
  gateway: { window: 8, windowBytes: 10_000, requests: 8, askAgainMs: 100, pauseMs: 2000, backoffMs: 10, backoffCapMs: 40 },
  coordinator: { suspicionMs: 1000, hintedMs: 1000, greetingMs: 1000, loneSuspicionMs: 2000, slowForMs: 3000, dampingMs: 10_000, leasesFreshMs: 1000, repeatMs: 1000, plansAtOnce: 1, rebalanceRestMs: 1000 },
  beatMs: 1_000_000,
};

/** A hop or an answer between two nodes. */
interface Hopping {
  readonly from: string;
  readonly to: string;
  readonly text: string;
  readonly run: (node: Process) => void;
}

/** What outlives a process: the log of each bucket, and the state store. One ticket counts the writes of all. */
class Home {
  readonly #disks = new Map<number, Disk>();
  readonly #stores = new Map<number, Store>();
  ticket: Ticket = 0;
  isSynced = true;
  readonly #store: string;

  constructor(store: string) {
    this.#store = store;
  }

  disk(bucket: number): Disk {
    let disk = this.#disks.get(bucket);
    if (disk === undefined) this.#disks.set(bucket, (disk = new Disk(this.#store)));
    return disk;
  }

  store(bucket: number): Store {
    let store = this.#stores.get(bucket);
    if (store === undefined) this.#stores.set(bucket, (store = new Store()));
    return store;
  }

  add(bucket: number, operation: Parameters<Disk["add"]>[0]): Ticket {
    this.disk(bucket).add(operation);
    this.isSynced = false;
    return (this.ticket += 1);
  }

  sync(): Ticket {
    for (const disk of this.#disks.values()) disk.sync();
    this.isSynced = true;
    return this.ticket;
  }

  crash(): void {
    for (const disk of this.#disks.values()) disk.crash();
    this.isSynced = true;
  }
}

/** One process of a node. */
class Process implements NodeEffects {
  readonly core: CoreNode;
  readonly table: Table;
  readonly #cluster: NodeCluster;
  readonly #home: Home;
  #loads: { readonly bucket: number; readonly purpose: LoadPurpose; readonly from: number; readonly to: number }[] = [];

  constructor(cluster: NodeCluster, id: string, incarnation: number, home: Home, table: Table) {
    this.#cluster = cluster;
    this.#home = home;
    this.table = table;
    this.core = new CoreNode({
      id, incarnation, table, effects: this, limits: cluster.limits,
      copyAtStart: (bucket) => home.disk(bucket).recover(),
      stateOf: (bucket) => home.store(bucket),
    });
    this.clock();
    this.core.start();
  }

  clock(): void {
    this.core.clock(this.#cluster.now, START_OF_TIME + this.#cluster.now);
  }

  /** Serves what was asked of the log; false when there was nothing. */
  serve(): boolean {
    const load = this.#loads.shift();
    if (load !== undefined) this.core.loaded(load.bucket, load.purpose, this.#home.disk(load.bucket).read(load.from, load.to, LOAD_ENTRIES));
    return load !== undefined;
  }

  write(bucket: number, entry: Entry): Ticket {
    return this.#home.add(bucket, { type: "write", entry: { ...entry, payload: entry.payload.slice() } });
  }

  reset(bucket: number, index: number, epoch: number): Ticket {
    return this.#home.add(bucket, { type: "reset", index, epoch });
  }

  fill(bucket: number, entries: readonly Entry[]): Ticket {
    return this.#home.add(bucket, { type: "fill", entries });
  }

  mark(bucket: number, incomplete: boolean): Ticket {
    return this.#home.add(bucket, { type: "mark", incomplete });
  }

  floor(bucket: number, index: number): void {
    this.#home.add(bucket, { type: "floor", index });
  }

  load(bucket: number, purpose: LoadPurpose, from: number, to: number): void {
    this.#loads.push({ bucket, purpose, from, to });
  }

  install(): void {
    throw new Error("these logs keep everything: nobody needs a snapshot");
  }

  send(to: string, message: PeerMessage): void {
    this.#cluster.messages.push({ from: this.core.id, to, message });
  }

  propose(command: Command): void {
    this.#cluster.proposed.push(command);
  }

  wake(): void {
    // Every node is flushed whenever the cluster settles.
  }

  hop(to: string, hop: Hop): void {
    this.#cluster.hops.push({ from: this.core.id, to, text: describeHop(hop), run: ({ core }) => core.hopped(hop) });
  }

  answer(to: GatewayId, bucket: number, answer: HopAnswer): void {
    const from = this.core.id;
    const run = ({ core }: Process): void => {
      if (core.incarnation === to.incarnation) core.answered(from, bucket, answer);
    };
    this.#cluster.hops.push({ from, to: to.node, text: describeAnswer(answer), run });
  }

  beat(): void {
    // Suspicion has tests of its own.
  }
}

export class NodeCluster {
  readonly limits: NodeLimits;
  readonly table = new Table();
  readonly messages: { readonly from: string; readonly to: string; readonly message: PeerMessage }[] = [];
  readonly hops: Hopping[] = [];
  readonly proposed: Command[] = [];
  readonly devices = new Map<string, TestDevice>();
  now = 0;
  readonly journal: (line: string) => void;
  readonly #homes = new Map<string, Home>();
  readonly #processes = new Map<string, Process>();
  /** The control log: its batches, and how many of them each process has folded. */
  readonly #control: { readonly id: string; readonly commands: readonly Command[] }[] = [];
  readonly #blind = new Set<string>();
  readonly #held = new Set<string>();
  readonly #slow = new Set<string>();

  constructor(journal: (line: string) => void = () => undefined, limits: Partial<NodeLimits> = {}) {
    this.journal = journal;
    this.limits = { ...NODE_LIMITS, ...limits };
  }

  get running(): readonly string[] {
    return [...this.#processes.keys()];
  }

  core(id: string): CoreNode {
    const process = this.#processes.get(id);
    assert(process !== undefined, `${id} does not run`);
    return process.core;
  }

  /** Nodes with one bucket, led by the first of them. */
  begin(ids: readonly string[], minCopies: number, bucketCount = 1): void {
    for (const id of ids) this.#register(id);
    this.#append({ type: "begin", bucketCount, copies: ids.length < 3 ? 1 : 3, minCopies });
    for (const id of ids) this.#run(id);
    this.settle();
  }

  /** Starts a node, or starts it again after a crash. */
  start(id: string, clean = true): void {
    this.#register(id, clean);
    this.#run(id);
    this.#show();
  }

  /** What was not synced is gone, and its sockets with it. */
  crash(id: string): void {
    this.#processes.delete(id);
    this.#homes.get(id)!.crash();
    for (const device of this.devices.values()) device.nodeEnded(id);
  }

  control(...commands: Command[]): void {
    for (const command of commands) this.#append(command);
    this.#show();
  }

  depart(id: string, by: string): void {
    const alive = this.running.filter((other) => other !== id);
    const { incarnation } = this.table.nodes.get(id)!;
    this.control({ type: "depart", node: id, incarnation, by, byIncarnation: this.table.nodes.get(by)!.incarnation, alive });
  }

  /** A node becomes a learner of the bucket. */
  join(bucket: number, node: string): void {
    const { epoch } = this.table.bucket(bucket);
    const { incarnation } = this.table.nodes.get(node)!;
    this.control({ type: "addLearner", bucket, epoch, node, incarnation, attempt: this.table.attempts + 1 });
  }

  /** Folds in what nodes proposed. */
  decide(): void {
    this.control(...this.proposed.splice(0));
  }

  /** Hands the lead of a bucket to another member. */
  lead(bucket: number, to: string): void {
    const series = this.table.planSeries + 1;
    const target = [to, ...this.table.bucket(bucket).members.map(({ node }) => node).filter((node) => node !== to)];
    this.control(
      { type: "plan", plan: { series, step: PLAN_STEP.join, kind: "migrate", bucket, target } },
      { type: "step", bucket, series, step: PLAN_STEP.join },
      { type: "handover", bucket, epoch: this.table.bucket(bucket).epoch, to, series, step: PLAN_STEP.lead },
      { type: "cancel", bucket, series },
    );
  }

  /** `id` sees no new table until `see`. */
  blind(id: string): void {
    this.#blind.add(id);
  }

  see(id: string): void {
    this.#blind.delete(id);
    this.#show();
  }

  /** Hops and answers from one node to another wait; the replicas' own messages do not. */
  hold(link: string): void {
    this.#held.add(link);
  }

  heal(link: string): void {
    this.#held.delete(link);
  }

  /** What waits on the link is lost without a word; answers what it was. */
  drop(link: string): string[] {
    const lost = this.hops.filter((hop) => `${hop.from}>${hop.to}` === link);
    for (const hop of lost) this.hops.splice(this.hops.indexOf(hop), 1);
    return lost.map(({ text }) => text);
  }

  /** The connection of two nodes breaks: what is on it is lost, and both gateways hear of it. */
  cut(a: string, b: string): void {
    this.drop(`${a}>${b}`);
    this.drop(`${b}>${a}`);
    for (const [id, other] of [[a, b], [b, a]] as const) if (this.#processes.has(id)) this.enter(id, (core) => core.linkLost(other));
  }

  /** The last ticket of its log. */
  ticket(id: string): Ticket {
    return this.#homes.get(id)!.ticket;
  }

  /** Its disk syncs nothing until `fast`. */
  slow(id: string): void {
    this.#slow.add(id);
  }

  fast(id: string): void {
    this.#slow.delete(id);
  }

  /** The device, as it is; made known by its first use. */
  device(id: string): TestDevice {
    let device = this.devices.get(id);
    if (device === undefined) this.devices.set(id, (device = new TestDevice(id, (line) => this.journal(`${id} hears ${line}`))));
    return device;
  }

  /** An event from outside, with the clocks told before. */
  enter<T>(id: string, event: (core: CoreNode) => T): T {
    const process = this.#processes.get(id);
    assert(process !== undefined, `${id} does not run`);
    process.clock();
    return event(process.core);
  }

  request(id: string, request: GatewayRequest, deadlineMs = 1000): GatewayAnswer[] {
    const answers: GatewayAnswer[] = [];
    this.enter(id, (core) => core.request(request, deadlineMs, (answer) => answers.push(answer)));
    return answers;
  }

  /** Until nothing moves; no time passes. */
  settle(): void {
    for (let turns = 0; ; turns += 1) {
      assert(turns < 10_000, "the cluster comes to rest");
      let moved = false;
      for (const [id, process] of this.#processes) {
        process.clock();
        process.core.flush();
        while (process.serve()) moved = true;
        const home = this.#homes.get(id)!;
        if (!home.isSynced && !this.#slow.has(id)) {
          process.core.durable(home.sync());
          moved = true;
        }
      }
      const message = this.messages.shift();
      if (message !== undefined) {
        this.#processes.get(message.to)?.core.receive(message.message);
        moved = true;
      }
      if (this.#nextHop()) moved = true;
      if (!moved) return;
    }
  }

  pass(ms: number): void {
    for (let left = ms; left > 0; left -= STEP_MS) {
      this.now += STEP_MS;
      for (const id of this.running) this.enter(id, (core) => core.tick());
      this.settle();
    }
  }

  /** The device's stream as the bucket's leader has applied it, one word for each entry. */
  stream(device: string): string[] {
    const { id, leader } = this.table.bucketOfDevice(device);
    const { machine } = this.core(leader).copy(id)!;
    const known = machine.devices.find(device);
    if (known === undefined) return [];
    const { first, indexes } = indexesOf(machine, known, 1, known.end);
    return indexes.map((index, i) => {
      const entry = this.#homes.get(leader)!.disk(id).read(index, index, 1)[0]!;
      const { type, series, body } = view(entry, device, first + i);
      if (type === "uplink") return String(series);
      if (type !== "presence") return type;
      const { connected, reason } = JSON.parse(textOf(body)) as { connected: boolean; reason?: string };
      return connected ? "up" : `down(${reason})`;
    });
  }

  #nextHop(): boolean {
    const at = this.hops.findIndex(({ from, to }) => !this.#held.has(`${from}>${to}`));
    if (at < 0) return false;
    const { from, to, text, run } = this.hops.splice(at, 1)[0]!;
    const process = this.#processes.get(to);
    this.journal(`${from} → ${to} ${text}${process === undefined ? ", which is gone" : ""}`);
    if (process === undefined) return true;
    process.clock();
    run(process);
    process.core.flush();
    return true;
  }

  #register(id: string, clean = true): void {
    if (!this.#homes.has(id)) this.#homes.set(id, new Home(`store of ${id}`));
    const known = this.table.nodes.get(id);
    const address = { http: id, device: id, peer: id };
    this.#append({ type: "register", node: id, store: `store of ${id}`, seen: known?.incarnation ?? 0, clean, address, zone: "" });
  }

  #run(id: string): void {
    const { incarnation } = this.table.nodes.get(id)!;
    const table = new Table();
    for (const [position, batch] of this.#control.entries()) table.apply(position + 1, batch.id, batch.commands);
    this.#processes.set(id, new Process(this, id, incarnation, this.#homes.get(id)!, table));
  }

  #append(command: Command): void {
    const id = `control.1.${this.#control.length + 1}`;
    this.#control.push({ id, commands: [command] });
    this.table.apply(this.#control.length, id, [command]);
  }

  /** Every process that is not blind folds what it lacks. */
  #show(): void {
    for (const [id, process] of this.#processes) {
      if (this.#blind.has(id)) continue;
      for (let position = process.table.position + 1; position <= this.#control.length; position += 1) {
        const batch = this.#control[position - 1]!;
        const change = process.table.apply(position, batch.id, batch.commands);
        process.clock();
        process.core.tableChanged(change);
      }
    }
  }
}

function describeHop({ request, epoch }: Hop): string {
  const at = `(epoch ${epoch})`;
  switch (request.type) {
    case "publish":
      return `publish ${request.series} ${at}`;
    case "received":
      return `received ${request.delivered}/${request.handled} ${at}`;
    case "resume":
      return `resume session ${request.session}, holds ${request.oldest} … ${request.next - 1} ${at}`;
    case "reattach":
    case "detach":
      return `${request.type} session ${request.session}, attachment ${request.attachment} ${at}`;
    case "keyed":
      return `keyed ${request.key} ${at}`;
    default:
      return `${request.type} ${request.device} ${at}`;
  }
}

function describeAnswer(answer: HopAnswer): string {
  switch (answer.type) {
    case "attached":
      return `attached session ${answer.session}, attachment ${answer.attachment}, last ${answer.last} (epoch ${answer.epoch})`;
    case "acked":
      return `acked ${answer.series}`;
    case "refused":
      return `refused, expects ${answer.expected}: ${answer.code} (epoch ${answer.epoch})`;
    case "takenOver":
      return `takenOver session ${answer.session}, attachment ${answer.attachment}`;
    case "failed":
      return `failed: ${answer.code satisfies ErrorCode}`;
    case "stored":
      return `stored at ${answer.offset}${answer.duplicate ? ", a duplicate" : ""}`;
    default:
      return answer.type;
  }
}

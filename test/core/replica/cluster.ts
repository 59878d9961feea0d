// A small deterministic cluster of one bucket: production replicas and the production table over a network, disks and a control log that do only what they are told.

import { assert } from "../../../src/base/assert.ts";
import type { Entry } from "../../../src/core/entry.ts";
import { Replica } from "../../../src/core/replica/replica.ts";
import type { LoadPurpose, PeerMessage, ReplicaEffects, ReplicaLimits, Ticket } from "../../../src/core/replica/types.ts";
import type { Command } from "../../../src/core/table/commands.ts";
import { Table } from "../../../src/core/table/table.ts";
import { add, Counter } from "./counter.ts";
import { Disk } from "./disk.ts";

export const BUCKET = 0;
const START_OF_TIME = 1_800_000_000_000;
/** Entries answered to one load. */
const LOAD_ENTRIES = 3;

/** Small, so that windows fill, parts are many and entries leave the memory. */
export const SMALL: ReplicaLimits = {
  residentBytes: 400,
  appendBytes: 200,
  inflightBytes: 600,
  partBytes: 5,
  nearEntries: 2,
  resendMs: 100,
  heartbeatMs: 300,
  acclimationMs: 3000,
  slowMs: 150,
};

export interface Sent {
  readonly from: string;
  readonly to: string;
  readonly message: PeerMessage;
}

/** One process: what it keeps is on its disk. */
class Process implements ReplicaEffects {
  readonly incarnation: number;
  readonly machine = new Counter();
  readonly replica: Replica;
  /** What this leader took and has not answered: index → amount. */
  readonly asked = new Map<number, number>();
  readonly loads: { readonly purpose: LoadPurpose; readonly from: number; readonly to: number }[] = [];
  readonly installs: number[] = [];
  readonly events: string[] = [];
  confirmed = 0;
  readonly #disk: Disk;
  readonly #cluster: Cluster;
  readonly #id: string;

  constructor(cluster: Cluster, id: string, incarnation: number, disk: Disk) {
    this.#cluster = cluster;
    this.#id = id;
    this.#disk = disk;
    this.incarnation = incarnation;
    if (disk.state !== undefined) this.machine.restore(disk.state.bytes, disk.state.applied);
    this.replica = new Replica({
      bucket: BUCKET,
      node: id,
      incarnation,
      copy: disk.recover(),
      machine: this.machine,
      effects: this,
      limits: cluster.limits,
      lead: {
        opened: (epoch) => this.#happened(`opened ${epoch}`),
        closed: () => {
          this.#happened("closed");
          this.asked.clear();
        },
        appliedTo: (index) => this.#answer(index),
        confirmed: (question) => void (this.confirmed = question),
      },
    });
  }

  #happened(event: string): void {
    this.events.push(event);
    this.#cluster.journal(`${this.#id} ${event}`);
  }

  #answer(index: number): void {
    for (const [asked, amount] of this.asked) {
      if (asked > index) continue;
      this.#cluster.answered.set(asked, amount);
      this.#cluster.journal(`${this.#id} answers ${asked}`);
      this.asked.delete(asked);
    }
  }

  write(_bucket: number, entry: Entry): Ticket {
    return this.#disk.add({ type: "write", entry });
  }

  reset(_bucket: number, index: number, epoch: number): Ticket {
    return this.#disk.add({ type: "reset", index, epoch });
  }

  fill(_bucket: number, entries: readonly Entry[]): Ticket {
    return this.#disk.add({ type: "fill", entries });
  }

  mark(_bucket: number, incomplete: boolean): Ticket {
    return this.#disk.add({ type: "mark", incomplete });
  }

  floor(_bucket: number, index: number): void {
    this.#disk.add({ type: "floor", index });
  }

  load(_bucket: number, purpose: LoadPurpose, from: number, to: number): void {
    this.loads.push({ purpose, from, to });
  }

  install(_bucket: number, applied: number): void {
    this.installs.push(applied);
  }

  send(to: string, message: PeerMessage): void {
    this.#cluster.network.push({ from: this.#id, to, message });
  }

  propose(command: Command): void {
    this.#cluster.journal(`${this.#id} proposes ${command.type}`);
    this.#cluster.proposed.push(command);
  }
}

export class Cluster {
  readonly limits: ReplicaLimits;
  readonly table = new Table();
  readonly network: Sent[] = [];
  readonly proposed: Command[] = [];
  /** What clients were told is stored: index → amount. */
  readonly answered = new Map<number, number>();
  readonly #disks = new Map<string, Disk>();
  readonly #processes = new Map<string, Process>();
  /** Who has not seen the newest table. */
  readonly #blind = new Set<string>();
  #seq = 0;
  #stores = 0;
  now = 0;
  /** Snapshots that became a state. */
  installs = 0;
  /** Told what happens, for scenarios. */
  readonly journal: (line: string) => void;

  constructor(limits: ReplicaLimits = SMALL, journal: (line: string) => void = () => undefined) {
    this.limits = limits;
    this.journal = journal;
  }

  get nodes(): readonly string[] {
    return [...this.#disks.keys()];
  }

  get running(): readonly string[] {
    return [...this.#processes.keys()];
  }

  disk(id: string): Disk {
    return this.#disks.get(id)!;
  }

  process(id: string): Process {
    const process = this.#processes.get(id);
    assert(process !== undefined, `${id} does not run`);
    return process;
  }

  replica(id: string): Replica {
    return this.process(id).replica;
  }

  isRunning(id: string): boolean {
    return this.#processes.has(id);
  }

  /** Starts nodes and gives the bucket its first government. */
  begin(ids: readonly string[], minCopies: number): void {
    for (const id of ids) this.register(id);
    this.control({ type: "begin", bucketCount: 1, copies: ids.length === 1 ? 1 : 3, minCopies });
    for (const id of ids) this.#run(id);
    this.showTable();
  }

  /** Starts a node, or starts it again: a new incarnation from what its disk holds. */
  start(id: string): void {
    assert(!this.#processes.has(id), `${id} runs already`);
    this.register(id);
    this.#run(id);
    this.showTable();
  }

  /** A crash: what was not synced is gone. */
  crash(id: string): void {
    this.#processes.delete(id);
    this.disk(id).crash();
  }

  /** A new disk: another store, with nothing in it. */
  wipe(id: string): void {
    assert(!this.#processes.has(id), `${id} runs`);
    this.#disks.set(id, new Disk(`store${(this.#stores += 1)}`));
  }

  register(id: string): void {
    if (!this.#disks.has(id)) this.wipe(id);
    const disk = this.disk(id);
    const known = this.table.nodes.get(id);
    const address = { http: id, device: id, peer: id };
    const incomplete = disk.recover().incomplete ? [BUCKET] : [];
    this.#append({ type: "register", node: id, store: disk.store, seen: known?.incarnation ?? 0, clean: true, incomplete, address, zone: "" });
  }

  /** Folds commands in and shows everyone the table who is not held back. */
  control(...commands: Command[]): void {
    for (const command of commands) this.#append(command);
    this.showTable();
  }

  #append(command: Command): void {
    this.#seq += 1;
    this.table.apply(this.#seq, `control.1.${this.#seq}`, [command]);
  }

  /** Folds in what leaders proposed. */
  decide(): void {
    this.control(...this.proposed.splice(0));
  }

  /** `id` sees no new table until `see`. */
  blind(id: string): void {
    this.#blind.add(id);
  }

  see(id: string): void {
    this.#blind.delete(id);
    this.showTable();
  }

  showTable(): void {
    if (this.table.buckets.length === 0) return;
    const view = { minCopies: this.table.settings.minCopies, plan: this.table.plans.get(BUCKET) };
    for (const [id, process] of this.#processes) {
      if (!this.#blind.has(id)) process.replica.table(this.table.bucket(BUCKET), view, this.#wall);
    }
  }

  depart(id: string, by: string): void {
    const alive = this.running.filter((other) => other !== id);
    const { incarnation } = this.table.nodes.get(id)!;
    this.control({ type: "depart", node: id, incarnation, by, byIncarnation: this.table.nodes.get(by)!.incarnation, alive });
  }

  addLearner(id: string): void {
    const { epoch } = this.table.bucket(BUCKET);
    const { incarnation } = this.table.nodes.get(id)!;
    this.control({ type: "addLearner", bucket: BUCKET, epoch, node: id, incarnation, attempt: this.table.attempts + 1 });
  }

  /** Asks the leader on `id` to store `amount`; answers the index. */
  add(id: string, amount: number): number {
    const index = this.replica(id).propose(add(amount), this.#wall);
    this.process(id).asked.set(index, amount);
    return index;
  }

  get #wall(): number {
    return START_OF_TIME + this.now;
  }

  flush(id: string): void {
    this.replica(id).flush(this.now);
  }

  /** What was written up to `upTo` becomes durable. */
  sync(id: string, upTo: Ticket = this.disk(id).ticket): void {
    const ticket = this.disk(id).sync(upTo);
    this.#processes.get(id)?.replica.durable(ticket);
  }

  tick(id: string): void {
    this.replica(id).tick(this.now);
    this.flush(id);
  }

  /** Answers one load or install of a node; false when there was none. */
  serve(id: string): boolean {
    const { loads, installs, machine, replica } = this.process(id);
    const load = loads.shift();
    if (load !== undefined) {
      replica.loaded(load.purpose, this.disk(id).read(load.from, load.to, LOAD_ENTRIES));
      return true;
    }
    const applied = installs.shift();
    if (applied === undefined) return false;
    this.disk(id).state = { applied: machine.applied, bytes: machine.snapshot() };
    replica.installed(applied);
    this.installs += 1;
    return true;
  }

  checkpoint(id: string): void {
    const { machine } = this.process(id);
    this.disk(id).state = { applied: machine.applied, bytes: machine.snapshot() };
  }

  /** Takes a message off the network. */
  take(position: number): Sent {
    return this.network.splice(position, 1)[0]!;
  }

  deliver({ from, to, message }: Sent): void {
    const process = this.#processes.get(to);
    if (process === undefined || process.incarnation !== message.toIncarnation) return;
    this.journal(`${from} → ${to} ${describe(message)}`);
    process.replica.receive(message, this.now);
    this.flush(to);
  }

  /** Until nothing moves: messages, loads and syncs of everyone who may; no time passes. */
  settle(mayDeliver: (sent: Sent) => boolean = () => true, maySync: (id: string) => boolean = () => true): void {
    for (let turns = 0; ; turns += 1) {
      assert(turns < 10_000, "the cluster comes to rest");
      let moved = false;
      for (const id of this.running) {
        this.flush(id);
        while (this.serve(id)) moved = true;
        if (maySync(id) && !this.disk(id).isSynced) {
          this.sync(id);
          moved = true;
        }
      }
      const at = this.network.findIndex(mayDeliver);
      if (at >= 0) {
        this.deliver(this.take(at));
        moved = true;
      }
      if (!moved) return;
    }
  }

  /** Time passes in steps; everything settles in each. */
  pass(ms: number, mayDeliver?: (sent: Sent) => boolean, maySync?: (id: string) => boolean): void {
    for (let left = ms; left > 0; left -= 50) {
      this.now += 50;
      for (const id of this.running) this.tick(id);
      this.settle(mayDeliver, maySync);
    }
  }

  #run(id: string): void {
    const { incarnation } = this.table.nodes.get(id)!;
    this.#processes.set(id, new Process(this, id, incarnation, this.disk(id)));
  }
}

/** A message in words. */
function describe(message: PeerMessage): string {
  const epoch = `(epoch ${message.epoch})`;
  switch (message.type) {
    case "append": {
      const { prev, prevEpoch, entries, commit } = message;
      const what = entries.length === 0 ? "nothing" : entries.map((entry) => `${entry.index}/${entry.epoch}`).join(" ");
      return `append ${what} after ${prev}/${prevEpoch}, commit ${commit} ${epoch}`;
    }
    case "appended":
      return `appended ${message.match}${message.whole ? "" : ", not whole"} ${epoch}`;
    case "refused":
      return `refused, promised ${message.promised}, hint ${message.hint}`;
    case "report":
      return `report last ${message.last}${message.whole ? "" : ", not whole"} ${epoch}`;
    case "snapshot":
      return `snapshot at ${message.index}, part ${message.part + 1} of ${message.parts} ${epoch}`;
    case "history":
      return `history ${message.entries[0]!.index} … ${message.entries.at(-1)!.index} ${epoch}`;
    case "installed":
      return `installed ${message.parts} parts, history to ${message.historyTo} ${epoch}`;
  }
}

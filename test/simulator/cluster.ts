// A simulated cluster: sites with their disks, the network and the control log between them, and the faults that befall them.

import { Prng } from "../../src/base/prng.ts";
import { Checker } from "./checker.ts";
import type { Bucket } from "../../src/core/table/commands.ts";
import type { TableChange } from "../../src/core/table/table.ts";
import { ControlLog } from "./control.ts";
import { Disk, type SimRecovery } from "./disk.ts";
import { Network } from "./network.ts";
import type { Case, Fault } from "./profile.ts";
import { World, type Process } from "./world.ts";

/** The program that runs at a site: one incarnation of a node. */
export interface Host extends Process {
  alive: boolean;
  /** Bucket protocol messages and hops of another site's program. */
  receive(from: string, message: unknown): void;
  /** A live node is taken for dead. */
  suspect(node: string): void;
  /** The index up to which it has applied a bucket. */
  appliedIn(bucket: number): number;
  /** Everything it leads is open, nothing waits, nothing moves: why not, or undefined. */
  restless(): string | undefined;
}

export type StartHost = (cluster: Cluster, site: Site, recovery: SimRecovery) => Host;

/** A place where a node runs, now and then: its disk and clock outlive the process. */
export class Site implements Process {
  readonly name: string;
  readonly index: number;
  readonly zone: string;
  readonly disk: Disk;
  host: Host | undefined;
  pausedUntil = 0;
  /** When its newest pause ends or ended. */
  lastPausedUntil = 0;
  /** At which start its disk was last wiped or damaged, until a later start has registered. */
  distrustedAt: number | undefined;
  /** It has been started once; a spare waits for its arrival. */
  arrived = false;
  /** How often it was started. A disk that fails between two starts is found at the second. */
  boots = 0;
  /** Milliseconds that its clock is off. */
  skewMs: number;

  constructor(name: string, index: number, zone: string, disk: Disk, skewMs: number) {
    this.name = name;
    this.index = index;
    this.zone = zone;
    this.disk = disk;
    this.skewMs = skewMs;
  }

  get alive(): boolean {
    return this.host !== undefined;
  }

  get distrusted(): boolean {
    return this.distrustedAt !== undefined;
  }
}

/** Milliseconds since 1970 at the start of simulated time. */
const EPOCH_MS = 1_700_000_000_000;

export class Cluster {
  readonly case: Case;
  readonly world: World;
  readonly control: ControlLog;
  readonly network: Network;
  readonly checker: Checker;
  readonly sites: Site[] = [];
  readonly byName = new Map<string, Site>();
  readonly random: Prng;
  /** Faults have stopped; everything must come to rest. */
  quiet = false;
  readonly #start: StartHost;
  /** Batch of a Register → which start of its site appended it. */
  readonly #registrations = new Map<string, number>();
  #stores = 0;
  #operations = 0;

  constructor(drawn: Case, start: StartHost, trace: ((line: string) => void) | undefined) {
    this.case = drawn;
    this.#start = start;
    this.random = new Prng(drawn.seed + 1);
    this.world = new World(trace);
    this.control = new ControlLog(this.world, this.random.fork(), drawn.control, (change) => this.#tableChanged(change));
    this.network = new Network(this.world, this.random.fork(), drawn.links);
    this.checker = new Checker(() => this.control.truth, this.byName);
    for (let index = 0; index < drawn.nodes + drawn.spares; index += 1) {
      const disk = new Disk(this.world, this.random.fork(), drawn.disk, this.#newStore());
      const site = new Site(`n${index}`, index, `z${index % drawn.zones}`, disk, drawn.skewMs[index] ?? 0);
      this.sites.push(site);
      this.byName.set(site.name, site);
    }
  }

  /** The wall clock of a site, milliseconds since 1970. */
  wallMs(site: Site): number {
    return EPOCH_MS + Math.floor(this.world.now / 1000) + site.skewMs;
  }

  get nowMs(): number {
    return Math.floor(this.world.now / 1000);
  }

  startAll(): void {
    for (let index = 0; index < this.case.nodes; index += 1) this.boot(this.sites[index]!);
    for (const fault of this.case.faults) this.world.after(fault.atMs * 1000, undefined, fault.type, fault, () => this.#inject(fault));
  }

  boot(site: Site): void {
    if (site.host !== undefined) return;
    site.arrived = true;
    site.boots += 1;
    const recovery = site.disk.recover();
    this.checker.recovered();
    site.host = this.#start(this, site, recovery);
  }

  /** Ends the process at a site. */
  end(site: Site, power: boolean): void {
    if (site.host === undefined) return;
    site.host.alive = false;
    site.host = undefined;
    site.pausedUntil = 0;
    site.disk.crash(power);
    this.onEnd(site);
  }

  /** Told of every process that ended. */
  onEnd: (site: Site) => void = () => undefined;

  bootAfter(site: Site, ms: number): void {
    this.world.after(ms * 1000, undefined, "boot", site.name, () => this.boot(site));
  }

  /** Every fault ends, every site that was ever there runs again. A pause goes on to its end: what waits for that comes in its order. */
  heal(): void {
    this.quiet = true;
    this.network.heal();
    this.control.available = true;
    this.control.stalled.clear();
    for (const site of this.sites) {
      site.disk.slowFactor = 1;
      site.disk.failNextSync = false;
      this.#setFull(site, false);
      if (site.arrived) this.boot(site);
    }
  }

  #newStore(): string {
    this.#stores += 1;
    return `store${this.#stores}`;
  }

  /** What is committed in a bucket: by the oracle, or where loss was accepted, by its leader. */
  committed(bucket: Bucket): number {
    const oracle = this.checker.oracle(bucket.id);
    return oracle.forced ? (this.byName.get(bucket.leader)?.host?.appliedIn(bucket.id) ?? 0) : oracle.commit;
  }

  /** A process asks the table to know it under this batch. */
  registering(site: Site, batch: string): void {
    this.#registrations.set(batch, site.boots);
  }

  #tableChanged(change: TableChange): void {
    const table = this.control.truth;
    for (const name of change.nodes) {
      const site = this.byName.get(name);
      // The Register of the process that found the disk so tells the table what it is worth.
      const boot = this.#registrations.get(table.nodes.get(name)!.registration) ?? 0;
      if (site?.distrustedAt !== undefined && boot > site.distrustedAt) site.distrustedAt = undefined;
    }
    this.checker.tableChanged(change);
    const { nodes, buckets, copies, minCopies } = this.case;
    if (table.buckets.length === 0 && table.nodes.size >= Math.min(copies, nodes)) this.operate([{ type: "begin", bucketCount: buckets, copies, minCopies }]);
  }

  #inject(fault: Fault): void {
    if (this.quiet) return;
    switch (fault.type) {
      case "crash":
        return this.#crash(this.sites[fault.node]!, fault.power, fault.forMs);
      case "powerAll":
        for (const site of this.sites) this.#crash(site, true, fault.forMs + this.random.below(fault.staggerMs + 1));
        return;
      case "rolling":
        this.sites.forEach((site, place) => {
          this.world.after(place * fault.gapMs * 1000, undefined, "rolling", site.name, () => this.#crash(site, false, fault.forMs));
        });
        return;
      case "pause":
        this.#pause(this.sites[fault.node]!, this.world.now + fault.forMs * 1000);
        return;
      case "wipe": {
        const site = this.sites[fault.node]!;
        if (site.host === undefined) return;
        this.#crash(site, true, fault.forMs);
        site.disk.wipe(this.#newStore());
        site.distrustedAt = site.boots;
        return;
      }
      case "damage": {
        const site = this.sites[fault.node]!;
        if (site.host === undefined) return;
        this.#crash(site, false, fault.forMs);
        if (site.disk.damage()) site.distrustedAt = site.boots;
        return;
      }
      case "cut":
        return this.network.cut(this.sites[fault.from]!.name, this.sites[fault.to]!.name, this.world.now + fault.forMs * 1000);
      case "isolate":
        return this.#isolate(this.sites[fault.node]!, fault.ways, this.world.now + fault.forMs * 1000);
      case "unreachable": {
        const site = this.sites[fault.node]!;
        this.#isolate(site, "both", this.world.now + fault.forMs * 1000);
        if (site.host === undefined) return this.boot(site);
        return this.#crash(site, false, 1);
      }
      case "stall":
        return this.network.stall(this.sites[fault.from]!.name, this.sites[fault.to]!.name, this.world.now + fault.forMs * 1000);
      case "slowDisk": {
        const { disk } = this.sites[fault.node]!;
        disk.slowFactor = fault.factor;
        this.#later(fault.forMs, () => (disk.slowFactor = 1));
        return;
      }
      case "failSync":
        this.sites[fault.node]!.disk.failNextSync = true;
        return;
      case "fullDisk": {
        const site = this.sites[fault.node]!;
        this.#setFull(site, true);
        this.#later(fault.forMs, () => this.#setFull(site, false));
        return;
      }
      case "clockJump":
        this.sites[fault.node]!.skewMs += fault.byMs;
        return;
      case "suspect":
        this.sites[fault.by]!.host?.suspect(this.sites[fault.node]!.name);
        return;
      case "controlDown":
        this.control.available = false;
        this.#later(fault.forMs, () => (this.control.available = true));
        return;
      case "watchStall":
        this.control.stalled.set(this.sites[fault.node]!.name, this.world.now + fault.forMs * 1000);
        return;
      case "compact":
        return this.control.compact();
      case "arrive":
        return this.boot(this.sites[fault.node]!);
      case "drain":
        return this.#drain(this.sites[fault.node]!, fault.forMs);
      case "copies":
        return this.operate([{ type: "settings", settings: { copies: fault.copies, minCopies: fault.minCopies } }]);
    }
  }

  #later(ms: number, run: () => void): void {
    this.world.after(ms * 1000, undefined, "later", "", run);
  }

  #crash(site: Site, power: boolean, forMs: number): void {
    if (site.host === undefined) return;
    this.end(site, power);
    this.bootAfter(site, forMs);
  }

  /** One that is paused is not paused again: what waits for the first pause's end would come behind what came later. */
  #pause(site: Site, until: number): void {
    if (site.pausedUntil > this.world.now) return;
    site.pausedUntil = until;
    site.lastPausedUntil = until;
  }

  #isolate(site: Site, ways: "in" | "out" | "both", until: number): void {
    for (const other of this.sites) {
      if (ways !== "out") this.network.cut(other.name, site.name, until);
      if (ways !== "in") this.network.cut(site.name, other.name, until);
    }
  }

  #setFull(site: Site, isFull: boolean): void {
    if (site.disk.isFull === isFull) return;
    site.disk.isFull = isFull;
    site.disk.handle?.fullChanged();
  }

  #drain(site: Site, forMs: number): void {
    const incarnation = this.control.truth.nodes.get(site.name)?.incarnation;
    if (incarnation === undefined) return;
    this.operate([{ type: "drain", node: site.name, incarnation, on: true }]);
    this.#later(forMs, () => this.operate([{ type: "drain", node: site.name, incarnation, on: false }]));
  }

  /** An operator's commands, by way of no node. */
  operate(commands: Parameters<ControlLog["append"]>[2]): void {
    this.#operations += 1;
    this.control.append(OPERATOR, `operator.1.${this.#operations}`, commands, () => undefined);
  }
}

const OPERATOR: Process = { name: "op", alive: true, pausedUntil: 0 };

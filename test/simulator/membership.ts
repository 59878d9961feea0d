// A simulated node's dealings with the control log: its fold of the table, its Register and lease, the batches it appends (R1, R4).

import type { ControlEntry } from "../../src/control/port.ts";
import type { Command } from "../../src/core/table/commands.ts";
import { Table, type TableChange } from "../../src/core/table/table.ts";
import type { Cluster, Site } from "./cluster.ts";
import type { SimRecovery } from "./disk.ts";
import { check, type Process } from "./world.ts";

export interface MembershipEvents {
  /** The fold moved on; `change` is undefined where a snapshot took its place. */
  table(table: Table, change: TableChange | undefined): void;
  leases(alive: readonly { readonly node: string; readonly incarnation: number }[]): void;
  /** Another process registered as this node, or it was departed: this one must end. */
  mustStop(why: string): void;
}

/** Commands that wait at most; what is dropped is proposed again by whoever wants it. */
const WAITING_MAX = 200;
const RETRY_US = 30_000;
const REGISTER_AGAIN_MS = 300;

export class Membership {
  table = new Table();
  /** 0 until the table shows this process registered. */
  incarnation = 0;
  readonly #cluster: Cluster;
  readonly #site: Site;
  readonly #process: Process;
  readonly #recovery: SimRecovery;
  readonly #events: MembershipEvents;
  readonly #registrations = new Set<string>();
  #claimed = 0;
  #registerAt = 0;
  #seq: number;
  #waiting: Command[] = [];
  #inFlight = false;

  constructor(cluster: Cluster, site: Site, process: Process, recovery: SimRecovery, boots: number, events: MembershipEvents) {
    this.#cluster = cluster;
    this.#site = site;
    this.#process = process;
    this.#recovery = recovery;
    this.#events = events;
    this.#seq = boots * 1_000_000; // no two processes of a node ever use the same batch id
    cluster.control.read(process, (position, state) => {
      this.table = Table.restore(position, state);
      this.#moved(undefined);
      cluster.control.watch(process, position, {
        entries: (entries) => this.#fold(entries),
        snapshot: (at, bytes) => {
          this.table = Table.restore(at, bytes);
          this.#moved(undefined);
        },
      });
    });
    this.#every(cluster.case.leaseMs * 333, () => this.#renew());
  }

  propose(command: Command): void {
    if (this.#waiting.length < WAITING_MAX) this.#waiting.push(command);
    if (!this.#inFlight && this.incarnation > 0) this.#appendWaiting();
  }

  /** Whether this process's Register is still to take effect. */
  registerIfNeeded(): void {
    const { nowMs } = this.#cluster;
    if (this.incarnation > 0 || this.#inFlight || nowMs < this.#registerAt) return;
    const { name, zone } = this.#site;
    const seen = this.table.nodes.get(name)?.incarnation ?? 0;
    this.#claimed = seen + 1;
    this.#registerAt = nowMs + REGISTER_AGAIN_MS;
    this.#renew(); // a node takes its lease before it registers
    const incomplete = [...this.#recovery.copies].filter(([, copy]) => copy.incomplete).map(([bucket]) => bucket);
    const { store, clean } = this.#recovery;
    const address = { http: `${name}:1`, device: `${name}:2`, peer: `${name}:3` };
    const id = this.#nextId();
    this.#registrations.add(id);
    this.#cluster.registering(this.#site, id);
    this.#append(id, [{ type: "register", node: name, store, seen, clean, address, zone, incomplete }]);
  }

  #fold(entries: readonly ControlEntry[]): void {
    for (const { position, id, commands } of entries) {
      if (position <= this.table.position) continue;
      const change = this.table.apply(position, id, commands);
      const truth = this.#cluster.control.digests.get(position);
      check(this.table.digest() === truth, "16 (folds differ)", () => `${this.#site.name} at position ${position}`);
      this.#moved(change);
      if (!this.#process.alive) return;
    }
  }

  #moved(change: TableChange | undefined): void {
    const node = this.table.nodes.get(this.#site.name);
    const isMine = node !== undefined && this.#registrations.has(node.registration);
    if (this.incarnation === 0 && isMine) {
      this.incarnation = node.incarnation;
      this.#appendWaiting();
    }
    if (this.incarnation > 0 && !isMine) return this.#events.mustStop("another process registered as this node");
    if (this.incarnation > 0 && node?.state === "departed") return this.#events.mustStop("this node was departed");
    this.#events.table(this.table, change);
  }

  #renew(): void {
    const { control, world, case: drawn } = this.#cluster;
    const incarnation = this.incarnation > 0 ? this.incarnation : this.#claimed;
    if (incarnation === 0) return;
    world.after(drawn.control.delayUs, undefined, "lease", this.#site.name, () => {
      control.lease(this.#site.name, incarnation, drawn.leaseMs * 1000);
      const alive = control.alive();
      if (alive === undefined) return;
      world.after(drawn.control.delayUs, this.#process, "leases", "", () => this.#events.leases(alive));
    });
  }

  #appendWaiting(): void {
    if (this.#inFlight || this.#waiting.length === 0) return;
    const batch = this.#waiting;
    this.#waiting = [];
    this.#append(this.#nextId(), batch);
  }

  /** One batch is in flight; the same id is tried until it is settled. */
  #append(id: string, commands: readonly Command[]): void {
    this.#inFlight = true;
    this.#cluster.control.append(this.#process, id, commands, (settled) => {
      if (!settled) {
        this.#cluster.world.after(RETRY_US, this.#process, "retry", id, () => this.#append(id, commands));
        return;
      }
      this.#inFlight = false;
      if (this.incarnation > 0) this.#appendWaiting();
    });
  }

  #nextId(): string {
    this.#seq += 1;
    return `${this.#site.name}.${this.incarnation > 0 ? this.incarnation : this.#claimed}.${this.#seq}`;
  }

  #every(us: number, run: () => void): void {
    this.#cluster.world.after(us, this.#process, "timer", "", () => {
      run();
      this.#every(us, run);
    });
  }
}

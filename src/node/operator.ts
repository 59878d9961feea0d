// What an operator asks of the cluster: a node's drain and removal, its settings, a loss accepted (R3, R5, R9). Each call resolves when the table shows it.

import { setTimeout as sleep } from "node:timers/promises";
import { BellhopError } from "../base/errors.ts";
import { PLAN_STEP, type Bucket, type Command, type Node, type Settings } from "../core/table/commands.ts";
import type { Table } from "../core/table/table.ts";
import type { Membership } from "./membership.ts";

/** Milliseconds that a change may take to come back from the control log. */
const CHANGE_TIMEOUT_MS = 10_000;
/** Between two looks at what of this node still has to move; in milliseconds. */
const HAND_OVER_LOOK_MS = 100;
/** Buckets named in a refusal. */
const NAMED_MAX = 5;

/** What a bucket was led by, and what it goes on with after a loss was accepted. */
export interface Recovered {
  readonly bucket: number;
  readonly node: string;
  readonly epoch: number;
  readonly generation: number;
}

export class Operator {
  readonly #membership: Membership;

  constructor(membership: Membership) {
    this.#membership = membership;
  }

  get #table(): Table {
    return this.#membership.table;
  }

  /** Moves the node's buckets to others, a few at a time (C1), or lets it take copies again. @throws BellhopError `not_found`, `unsafe`, `deadline` */
  async drain(id: string, on: boolean): Promise<void> {
    const { incarnation, state } = this.#node(id);
    if (state === "departed") throw unsafe(`Node ${id} is departed: it holds no place that could be drained.`);
    const wanted = on ? "draining" : "live";
    const others = [...this.#table.nodes.values()].filter((node) => node.id !== id && node.state === "live").length;
    if (on && others < this.#table.settings.minCopies) {
      throw unsafe(`Without ${id} there are ${others} nodes to hold copies, and minCopies is ${this.#table.settings.minCopies}: start another node first.`);
    }
    await this.#settle({ type: "drain", node: id, incarnation, on }, () => this.#table.nodes.get(id)?.state === wanted);
  }

  /** Departs a node whose process has ended. @throws BellhopError `not_found`; `still_running`; `unsafe` where buckets would lack copies; `deadline` */
  async remove(id: string): Promise<void> {
    const { incarnation, state } = this.#node(id);
    if (this.#membership.alive.some((lease) => lease.node === id)) {
      throw new BellhopError("still_running", `The lease of node ${id} ends ${this.#membership.leaseMs / 1000} s after its process: drain it, stop it, then remove it.`);
    }
    const { copies } = this.#table.settings;
    const lacking = this.#table.buckets.filter((bucket) => isIn(bucket, id) && this.#others(bucket, id).length < copies);
    if (lacking.length > 0) {
      throw unsafe(`${lacking.length} buckets (${named(lacking)}) would have fewer than ${copies} copies without node ${id}: drain it, or wait until other nodes have them.`);
    }
    if (state === "departed") return;
    const self = this.#node(this.#membership.node);
    const alive = this.#membership.alive.map(({ node }) => node);
    await this.#settle({ type: "depart", node: id, incarnation, by: self.id, byIncarnation: self.incarnation, alive }, () => this.#table.nodes.get(id)?.state === "departed");
  }

  /** B4. @throws BellhopError `bad_request`; `unsafe` where buckets would stop taking writes; `deadline` */
  async set(change: Partial<Settings>): Promise<Settings> {
    const settings = { ...this.#table.settings, ...change };
    if (![1, 3, 5].includes(settings.copies)) throw new BellhopError("bad_request", "copies is 1, 3 or 5.");
    if (!Number.isInteger(settings.minCopies) || settings.minCopies < 1 || settings.minCopies > settings.copies) {
      throw new BellhopError("bad_request", `minCopies is a whole number from 1 to copies, which is ${settings.copies}.`);
    }
    const few = this.#table.buckets.filter((bucket) => bucket.members.length < settings.minCopies);
    if (settings.minCopies > this.#table.settings.minCopies && few.length > 0) {
      throw unsafe(`${few.length} buckets (${named(few)}) have fewer than ${settings.minCopies} copies now and would take no writes: wait until they have them (bellhop status), then set minCopies.`);
    }
    const isSet = (): boolean => this.#table.settings.copies === settings.copies && this.#table.settings.minCopies === settings.minCopies;
    await this.#settle({ type: "settings", settings }, isSet);
    return this.#table.settings;
  }

  /**
   * R9: a dark bucket goes on with the copy of one node; what that copy lacks is lost, and its devices are told BROKEN.
   * @param chosen the node; without it the bucket's last member
   * @throws BellhopError `not_found`; `unsafe` where the bucket is not dark; `deadline`
   */
  async acceptLoss(id: number, chosen?: string): Promise<Recovered> {
    const bucket = this.#table.buckets[id];
    if (bucket === undefined) throw new BellhopError("not_found", `There is no bucket ${id}; they are numbered from 0 to ${this.#table.buckets.length - 1}.`);
    if (bucket.state !== "dark") throw unsafe(`Bucket ${id} is not dark: it has a whole copy, on ${bucket.members.map(({ node }) => node).join(", ")}. Start those nodes.`);
    const { id: node, incarnation, state } = this.#node(chosen ?? bucket.leader);
    if (state === "departed") throw unsafe(`Node ${node} is departed: start it, or name another node.`);
    await this.#settle({ type: "forceUnclean", bucket: id, node, incarnation }, () => this.#table.bucket(id).generation > bucket.generation);
    const { epoch, generation } = this.#table.bucket(id);
    return { bucket: id, node, epoch, generation };
  }

  /**
   * The ordered shutdown (R19): others take over what this node leads and then go on without its copies, so that its end is felt by nobody.
   * Ends when the table shows it, when there is nobody to take over, or after `ms`.
   */
  async handOver(ms: number): Promise<void> {
    const until = performance.now() + ms;
    const { node: id, incarnation } = this.#membership;
    this.#membership.propose({ type: "drain", node: id, incarnation, on: true });
    while (performance.now() < until) {
      const held = this.#table.buckets.filter((bucket) => isIn(bucket, id) && this.#mayLeave(bucket, id));
      if (held.length === 0 || this.#table.nodes.get(id)?.state === "departed") return;
      let series = this.#table.planSeries;
      for (const bucket of held) {
        if (this.#table.plans.has(bucket.id)) continue;
        series += 1;
        for (const command of handOverOf(bucket, series, id, this.#others(bucket, id), this.#table.settings)) this.#membership.propose(command);
      }
      await sleep(HAND_OVER_LOOK_MS);
    }
  }

  /** Whether something of this bucket can still move off the node. */
  #mayLeave(bucket: Bucket, id: string): boolean {
    const others = this.#others(bucket, id).length;
    return bucket.state === "on" && others > 0 && (bucket.leader === id || others >= this.#table.settings.minCopies);
  }

  /** The bucket's other members that are there to stay. */
  #others(bucket: Bucket, id: string): string[] {
    return bucket.members.map(({ node }) => node).filter((node) => node !== id && this.#table.nodes.get(node)?.state === "live");
  }

  #node(id: string): Node {
    const node = this.#table.nodes.get(id);
    if (node === undefined) throw new BellhopError("not_found", `There is no node ${JSON.stringify(id)}; there are ${[...this.#table.nodes.keys()].join(", ")}.`);
    return node;
  }

  #settle(command: Command, until: () => boolean): Promise<void> {
    return this.#membership.settle(command, until, CHANGE_TIMEOUT_MS);
  }
}

/** A whole plan up to its last step, which is the new leader's: it retires, after its barrier, whom the target does not name (R8). */
function handOverOf(bucket: Bucket, series: number, id: string, others: readonly string[], { minCopies }: Settings): Command[] {
  const to = bucket.leader === id ? others[0]! : bucket.leader;
  const rest = others.filter((node) => node !== to);
  const target = others.length >= minCopies ? [to, ...rest] : [to, ...rest, id];
  const step = (at: number): Command => ({ type: "step", bucket: bucket.id, series, step: at });
  return [
    { type: "plan", plan: { kind: "drain", bucket: bucket.id, series, step: PLAN_STEP.join, target } },
    step(PLAN_STEP.join),
    to === bucket.leader ? step(PLAN_STEP.lead) : { type: "handover", bucket: bucket.id, epoch: bucket.epoch, to, series, step: PLAN_STEP.lead },
  ];
}

function isIn({ members }: Bucket, id: string): boolean {
  return members.some(({ node }) => node === id);
}

function named(buckets: readonly Bucket[]): string {
  const ids = buckets.slice(0, NAMED_MAX).map(({ id }) => id);
  return ids.join(", ") + (buckets.length > NAMED_MAX ? ", …" : "");
}

function unsafe(why: string): BellhopError {
  return new BellhopError("unsafe", why);
}

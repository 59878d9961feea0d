// What a node proposes by looking at the table: departures (R5, R6, R20), recovery, drain, copies and rebalance (R18, R19, C1, C7).
// Every live node may propose a departure; plans are proposed by the live node of the lowest slot. What has no effect is proposed again, ever more slowly.

import type { Bucket, Command, Node, Plan } from "./commands.ts";
import { PLAN_STEP } from "./commands.ts";
import { placeable } from "./placement.ts";
import { neededMove, rebalancingMove } from "./planner.ts";
import type { Wanted } from "./planner.ts";
import { Proposals } from "./proposals.ts";
import type { ProposalSink } from "./proposals.ts";
import { Suspicion } from "./suspicion.ts";
import type { SuspicionSettings } from "./suspicion.ts";
import type { Table } from "./table.ts";

export interface CoordinatorSettings extends SuspicionSettings {
  /** A reading of the leases is believed for this long, in ms. */
  readonly leasesFreshMs: number;
  /** A proposal that has had no effect is made again after this long, in ms; each time doubles it, up to 64 times as long. */
  readonly repeatMs: number;
  /** Plans that run at once, 1 or more. */
  readonly plansAtOnce: number;
  /** Rest between two moves of a rebalance, in ms (C7). */
  readonly rebalanceRestMs: number;
}

export class Coordinator {
  readonly #self: string;
  readonly #incarnation: number;
  readonly #settings: CoordinatorSettings;
  readonly #suspicion: Suspicion;
  readonly #departures: Proposals;
  readonly #plans: Proposals;
  #table: Table | undefined;
  #alive: readonly { readonly node: string; readonly incarnation: number }[] = [];
  #aliveAt = -Infinity;
  #rebalancedAt = -Infinity;
  /** Members that kept the others of a bucket waiting, and for how many milliseconds, since the last tick. */
  readonly #heldBack = new Map<string, number>();
  /** Buckets are looked at in turn, from here. */
  #cursor = 0;
  /** The table and candidates for which no bucket needed a move, and for which none evened the loads. */
  #noneNeeded = "";
  #even = "";

  constructor(self: string, incarnation: number, settings: CoordinatorSettings, sink: ProposalSink) {
    this.#self = self;
    this.#incarnation = incarnation;
    this.#settings = settings;
    this.#suspicion = new Suspicion(self, settings);
    this.#departures = new Proposals(sink, settings.repeatMs);
    this.#plans = new Proposals(sink, settings.repeatMs);
  }

  /** After every fold of the control log. `now` is monotonic, in ms, here and below. */
  table(table: Table, now: number): void {
    this.#table = table;
    this.#suspicion.table(table, now);
    this.#plan(now);
  }

  /** A peer's beat, with those whom it suspects (its `suspects`). */
  heard(from: string, suspects: readonly string[], now: number): void {
    this.#suspicion.heard(from, suspects, now);
  }

  /** Something came from a peer, a beat or not. */
  signOfLife(from: string, now: number): void {
    this.#suspicion.signOfLife(from, now);
  }

  /** The link to a peer was closed. */
  linkLost(node: string): void {
    this.#suspicion.linkLost(node);
  }

  /** The leases as just read. */
  leases(alive: readonly { readonly node: string; readonly incarnation: number }[], now: number): void {
    const wasRenewed = this.#hasLeases(now);
    this.#alive = alive;
    this.#aliveAt = now;
    if (!wasRenewed || !this.#hasLeases(now)) this.#suspicion.restart(now); // R6: its own lease was not renewed
  }

  /** This node's own loop stood still for `ms`, until now. */
  stalled(ms: number, now: number): void {
    this.#suspicion.paused(ms, now); // R6
  }

  /** Whom this node suspects, for its beats to the others. */
  suspects(now: number): string[] {
    return this.#hasLeases(now) ? this.#suspicion.suspects(now) : []; // R6
  }

  /** A leader on this node says how long a member has kept the others of its bucket waiting (R15); told before each tick anew. */
  heldBack(node: string, ms: number): void {
    this.#heldBack.set(node, Math.max(ms, this.#heldBack.get(node) ?? 0));
  }

  /** Several times within `suspicionMs`. */
  tick(now: number): void {
    this.#departTheGone(now);
    this.#heldBack.clear();
    this.#plan(now);
  }

  #departTheGone(now: number): void {
    const table = this.#table;
    if (table === undefined || !this.#isLive(table) || !this.#hasLeases(now)) return;
    const accused = new Set(this.#suspicion.accused(now));
    const alive = this.#unsuspected(table, now);
    const left = leftIn(table, alive);
    for (const { id, incarnation, state } of table.nodes.values()) {
      const isGone = this.#suspicion.mayBeGone(id, now) && !this.#alive.some((lease) => lease.node === id);
      const isSlow = this.#suspicion.isTooSlow(id, this.#heldBack.get(id) ?? 0, now) && isSpared(table, id, alive);
      if (state === "departed" ? !left.has(id) : !isGone && !accused.has(id) && !isSlow) continue;
      const command: Command = { type: "depart", node: id, incarnation, by: this.#self, byIncarnation: this.#incarnation, alive: [...alive] };
      this.#departures.propose(`${id} ${incarnation} ${state}`, command, now);
    }
    this.#departures.endRound();
  }

  #plan(now: number): void {
    const table = this.#table;
    if (table === undefined || !this.#isPlanner(table) || !this.#hasLeases(now)) return;
    const alive = this.#unsuspected(table, now);
    const candidates = placeable(table.nodes.values()).filter(({ id }) => alive.has(id) && (id === this.#self || this.#suspicion.hasHeard(id)));
    for (const plan of table.plans.values()) this.#advance(table, plan, now);
    this.#dropStrays(table, now);
    if (table.plans.size < this.#settings.plansAtOnce) this.#beginNext(table, candidates, now); // R18
    this.#plans.endRound();
  }

  /** Proposes what brings a running plan on; promotions, and the retirement that ends it, are its leader's. */
  #advance(table: Table, plan: Plan, now: number): void {
    const bucket = table.bucket(plan.bucket);
    const { series, step, target } = plan;
    const key = `plan ${bucket.id} ${series} ${step} ${bucket.version}`;
    const nodes = target.map((id) => table.nodes.get(id));
    const absent = nodes.filter((node) => node !== undefined).filter((node) => !isMember(bucket, node.id));
    const isLate = step !== PLAN_STEP.join && absent.length > 0;
    const isOff = bucket.state !== "on" || target.length < table.settings.minCopies || nodes.some((node) => node?.state !== "live");
    if (isLate || isOff) return this.#plans.propose(key, { type: "cancel", bucket: bucket.id, series }, now); // C4
    const next: Command = { type: "step", bucket: bucket.id, series, step };
    if (step === PLAN_STEP.join) {
      if (absent.length === 0) return this.#plans.propose(key, next, now);
      const newcomer = absent.find((node) => !bucket.learners.some((learner) => learner.node === node.id));
      if (newcomer !== undefined) this.#addLearner(table, bucket, newcomer, now);
    } else if (step === PLAN_STEP.lead) {
      const to = target[0]!;
      if (bucket.leader === to) return this.#plans.propose(key, next, now);
      this.#plans.propose(key, { type: "handover", bucket: bucket.id, epoch: bucket.epoch, to, series, step }, now);
    }
  }

  #addLearner(table: Table, bucket: Bucket, node: Node, now: number): void {
    const { id, incarnation } = node;
    const attempt = table.attempts + 1;
    const command: Command = { type: "addLearner", bucket: bucket.id, epoch: bucket.epoch, node: id, incarnation, attempt };
    this.#plans.propose(`learner ${bucket.id} ${id} ${bucket.version} ${attempt}`, command, now);
  }

  /** A learner whom no plan wants any more would pin its leader's log. */
  #dropStrays(table: Table, now: number): void {
    for (const bucket of table.buckets) {
      for (const { node, attempt } of bucket.learners) {
        if (table.plans.get(bucket.id)?.target.includes(node)) continue;
        this.#plans.propose(`drop ${bucket.id} ${attempt}`, { type: "dropLearner", bucket: bucket.id, node, attempt }, now);
      }
    }
  }

  #beginNext(table: Table, candidates: readonly Node[], now: number): void {
    const seen = `${table.version} ${candidates.map((node) => node.id).join(" ")}`;
    const wanted = this.#nextNeeded(table, candidates, seen) ?? this.#nextRebalancing(table, candidates, seen, now);
    if (wanted === undefined) return;
    const series = table.planSeries + 1;
    this.#plans.propose(`begin ${series}`, { type: "plan", plan: { ...wanted, series, step: PLAN_STEP.join } }, now);
  }

  #nextNeeded(table: Table, candidates: readonly Node[], seen: string): Wanted | undefined {
    if (this.#noneNeeded === seen) return undefined;
    const count = table.buckets.length;
    for (let i = 0; i < count; i += 1) {
      const id = (this.#cursor + i) % count;
      const wanted = table.plans.has(id) ? undefined : neededMove(table, table.bucket(id), candidates);
      if (wanted === undefined) continue;
      this.#cursor = id;
      return wanted;
    }
    this.#noneNeeded = seen;
    return undefined;
  }

  #nextRebalancing(table: Table, candidates: readonly Node[], seen: string, now: number): Wanted | undefined {
    if (this.#even === seen || table.plans.size > 0) return undefined;
    if (now - this.#rebalancedAt < this.#settings.rebalanceRestMs) return undefined; // C7: slow and polite
    this.#rebalancedAt = now;
    const wanted = rebalancingMove(table, candidates);
    if (wanted === undefined) this.#even = seen;
    return wanted;
  }

  #isLive(table: Table): boolean {
    const node = table.nodes.get(this.#self);
    return node !== undefined && node.incarnation === this.#incarnation && node.state !== "departed";
  }

  #isPlanner(table: Table): boolean {
    const first = [...table.nodes.values()].filter((node) => node.state !== "departed").sort((a, b) => a.slot - b.slot)[0];
    return first?.id === this.#self && this.#isLive(table);
  }

  /** R5: the leases have just been read, and this node's own is among them. */
  #hasLeases(now: number): boolean {
    const own = this.#alive.some(({ node, incarnation }) => node === this.#self && incarnation === this.#incarnation);
    return own && now - this.#aliveAt <= this.#settings.leasesFreshMs;
  }

  /** Whose leases are alive and who is not silent. The lease of another incarnation is no witness: that one may register unclean. */
  #unsuspected(table: Table, now: number): Set<string> {
    const silent = this.#suspicion.silent(now);
    const held = this.#alive.filter(({ node, incarnation }) => table.nodes.get(node)?.incarnation === incarnation);
    return new Set(held.map(({ node }) => node).filter((node) => !silent.includes(node)));
  }
}

function isMember(bucket: Bucket, node: string): boolean {
  return bucket.members.some((member) => member.node === node);
}

/** R6: wherever this node is a member, `minCopies` others are alive without it. */
function isSpared(table: Table, id: string, alive: ReadonlySet<string>): boolean {
  const least = Math.max(1, table.settings.minCopies);
  return table.buckets.every(({ members }) => {
    if (!members.some(({ node }) => node === id)) return true;
    return members.filter(({ node }) => node !== id && alive.has(node) && table.isLive(node)).length >= least;
  });
}

/** R5: the departed nodes whose Depart, proposed again, would now take effect in a bucket that an earlier one left out. */
function leftIn(table: Table, alive: ReadonlySet<string>): Set<string> {
  const left = new Set<string>();
  const departed = new Set([...table.nodes.values()].filter((node) => node.state === "departed").map((node) => node.id));
  if (departed.size === 0) return left;
  const least = Math.max(1, table.settings.minCopies);
  for (const { leader, members } of table.buckets) {
    for (const { node } of members) {
      if (!departed.has(node)) continue;
      const hasHeir = members.some((other) => other.node !== node && alive.has(other.node) && table.isLive(other.node));
      if (hasHeir && (leader === node || members.length - 1 >= least)) left.add(node);
    }
  }
  return left;
}

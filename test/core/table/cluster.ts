// A cluster of coordinators over one table, without replicas: leaders promote and retire at once, the control log delivers at once or on demand.

import { Coordinator } from "../../../src/core/table/coordinator.ts";
import type { CoordinatorSettings } from "../../../src/core/table/coordinator.ts";
import type { Bucket, Command } from "../../../src/core/table/commands.ts";
import { Fold, begun } from "./fold.ts";

export const SETTINGS: CoordinatorSettings = {
  suspicionMs: 500,
  hintedMs: 200,
  greetingMs: 500,
  loneSuspicionMs: 5_000,
  slowForMs: 3_000,
  dampingMs: 60_000,
  leasesFreshMs: 1_000,
  repeatMs: 200,
  plansAtOnce: 1,
  rebalanceRestMs: 1_000,
};
const STEP_MS = 100;

export class Cluster {
  readonly fold: Fold;
  now = 1_000_000;
  /** Processes that run; the others neither beat nor hold a lease. */
  readonly running = new Set<string>();
  /** Directed links that are cut, as "from>to". */
  readonly cuts = new Set<string>();
  /** Milliseconds for which each member has kept a leader on this node waiting: node → member → ms. */
  readonly heldBack = new Map<string, Map<string, number>>();
  /** Everything that was proposed, with its proposer. */
  readonly proposed: { by: string; command: Command }[] = [];
  readonly #coordinators = new Map<string, Coordinator>();

  constructor(fold: Fold, running: readonly string[]) {
    this.fold = fold;
    for (const node of running) this.start(node);
  }

  /** Runs the process of a node at the incarnation that the table shows. */
  start(node: string): void {
    const queue = (command: Command): void => void this.proposed.push({ by: node, command });
    this.running.add(node);
    this.#coordinators.set(node, new Coordinator(node, this.fold.incarnation(node), SETTINGS, { propose: queue }));
  }

  stop(node: string): void {
    this.running.delete(node);
    this.#coordinators.delete(node);
  }

  coordinator(node: string): Coordinator {
    return this.#coordinators.get(node)!;
  }

  /** Lets the time pass: beats, leases, ticks, and whatever is proposed taking effect. */
  pass(ms: number): void {
    for (const end = this.now + ms; this.now < end; this.now += STEP_MS) this.#step();
  }

  proposals<T extends Command["type"]>(type: T): Extract<Command, { type: T }>[] {
    return this.proposed.map(({ command }) => command).filter((command) => command.type === type) as Extract<Command, { type: T }>[];
  }

  /** The members of every bucket, the leader first. */
  governments(): string[][] {
    return this.fold.table.buckets.map(({ leader, members }) => [leader, ...members.map(({ node }) => node).filter((node) => node !== leader)]);
  }

  #step(): void {
    const leases = [...this.running].map((node) => ({ node, incarnation: this.fold.incarnation(node) }));
    for (const [from, sender] of this.#coordinators) {
      const suspects = sender.suspects(this.now);
      for (const [to, receiver] of this.#coordinators) {
        if (from !== to && !this.cuts.has(`${from}>${to}`)) receiver.heard(from, suspects, this.now);
      }
    }
    for (const [id, coordinator] of this.#coordinators) {
      for (const [node, ms] of this.heldBack.get(id) ?? []) coordinator.heldBack(node, ms);
      coordinator.table(this.fold.table, this.now);
      coordinator.leases(leases, this.now);
      coordinator.tick(this.now);
    }
    this.#settle();
  }

  /** Folds the proposals, and those that they lead to, until none is left. */
  #settle(): void {
    for (let at = this.#settled; at < this.proposed.length; at += 1) {
      this.#settled = at + 1;
      this.fold.run(this.proposed[at]!.command);
      for (const bucket of this.fold.table.buckets) this.#lead(bucket);
      for (const coordinator of this.#coordinators.values()) coordinator.table(this.fold.table, this.now);
    }
  }
  #settled = 0;

  /** What the bucket's leader does, as soon as it may. */
  #lead(bucket: Bucket): void {
    if (!this.running.has(bucket.leader)) return;
    const { id, epoch } = bucket;
    for (const { node, attempt, incarnation } of bucket.learners) {
      if (this.running.has(node)) this.fold.run({ type: "promote", bucket: id, epoch, node, attempt, incarnation });
    }
    const plan = this.fold.table.plans.get(id);
    if (plan === undefined || plan.step !== 2) return;
    const nodes = bucket.members.map(({ node }) => node).filter((node) => !plan.target.includes(node));
    this.fold.run({ type: "retire", bucket: id, epoch, nodes, series: plan.series, step: 2 });
  }
}

/** One coordinator, awake, beside peers that have never been heard and whose state only the test changes. */
export function alone(self: string, peers: readonly string[], options: Parameters<typeof begun>[1] = {}) {
  const fold = begun([self, ...peers].toSorted(), options);
  const proposed: Command[] = [];
  const it = new Coordinator(self, 1, SETTINGS, { propose: (command) => void proposed.push(command) });
  const leases = [...fold.table.nodes.keys()].map((node) => ({ node, incarnation: 1 }));
  const now = 1_000_000;
  it.leases(leases, now);
  it.table(fold.table, now);
  return { fold, proposed, it, leases, now };
}

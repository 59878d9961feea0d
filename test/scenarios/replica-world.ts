// The world of one bucket's replicas: nodes, links, disks and the table do what the scenario says.

import type { Command } from "../../src/core/table/commands.ts";
import { PLAN_STEP } from "../../src/core/table/commands.ts";
import { BUCKET, Cluster, SMALL, type Sent } from "../core/replica/cluster.ts";
import type { World } from "./world.ts";

export class ReplicaWorld implements World {
  #lines: string[] = [];
  readonly #cluster = new Cluster({ ...SMALL, residentBytes: 100_000, appendBytes: 10_000, inflightBytes: 100_000, partBytes: 8 }, (line) => this.#lines.push(line));
  /** Links that hold messages back: "a>b". */
  readonly #held = new Set<string>();
  /** Nodes whose disks do not sync. */
  readonly #slow = new Set<string>();

  run(command: string, words: readonly string[]): string {
    this.#lines = [];
    this.#act(command, words);
    return this.#lines.join("\n");
  }

  #act(command: string, words: readonly string[]): void {
    const cluster = this.#cluster;
    const [first = "", second = ""] = words;
    switch (command) {
      case "begin": // begin 2 a b c: nodes a, b, c with minCopies 2
        return cluster.begin(words.slice(1), Number(first));
      case "start":
        return words.forEach((id) => cluster.start(id));
      case "crash": // loses what is not synced
        return words.forEach((id) => cluster.crash(id));
      case "add": // add a 5: the leader a stores 5
        return void this.#lines.push(`index ${cluster.add(first, Number(second))}`);
      case "hold": // hold a>b b>a
        return words.forEach((link) => void this.#held.add(link));
      case "heal":
        return words.forEach((link) => void this.#held.delete(link));
      case "drop": // what is held on these links is lost
        return words.forEach((link) => this.#drop(link));
      case "slow": // slow a: its disk syncs nothing
        return words.forEach((id) => void this.#slow.add(id));
      case "fast":
        return words.forEach((id) => void this.#slow.delete(id));
      case "settle":
        return cluster.settle(this.#mayDeliver, this.#maySync);
      case "pass": // pass 300: milliseconds
        return cluster.pass(Number(first), this.#mayDeliver, this.#maySync);
      case "depart": // depart a by b
        return cluster.depart(first, words[2]!);
      case "learner":
        return cluster.addLearner(first);
      case "decide": // the control log takes what was proposed
        return cluster.decide();
      case "blind": // sees no new table
        return words.forEach((id) => cluster.blind(id));
      case "see":
        return words.forEach((id) => cluster.see(id));
      case "move": // move d b c: a plan with this target, its leader first
        return this.#control({ type: "plan", plan: { series: cluster.table.planSeries + 1, step: PLAN_STEP.join, kind: "migrate", bucket: BUCKET, target: words } });
      case "step":
        return this.#step();
      case "handover": // handover d
        return this.#handover(first);
      case "checkpoint":
        return words.forEach((id) => cluster.checkpoint(id));
      case "floor": // floor a 4
        return void this.#lines.push(`index ${cluster.replica(first).proposeFloor(Number(second), 0)}`);
      case "show":
        return this.#show();
      default:
        throw new Error(`the replica world does not know "${command}"`);
    }
  }

  readonly #mayDeliver = ({ from, to }: Sent): boolean => !this.#held.has(`${from}>${to}`);
  readonly #maySync = (id: string): boolean => !this.#slow.has(id);

  #drop(link: string): void {
    const { network } = this.#cluster;
    for (let i = network.length - 1; i >= 0; i -= 1) if (`${network[i]!.from}>${network[i]!.to}` === link) network.splice(i, 1);
  }

  #control(command: Command): void {
    this.#cluster.control(command);
  }

  #step(): void {
    const plan = this.#cluster.table.plans.get(BUCKET)!;
    this.#control({ type: "step", bucket: BUCKET, series: plan.series, step: plan.step });
  }

  #handover(to: string): void {
    const { table } = this.#cluster;
    const plan = table.plans.get(BUCKET)!;
    this.#control({ type: "handover", bucket: BUCKET, epoch: table.bucket(BUCKET).epoch, to, series: plan.series, step: plan.step });
  }

  #show(): void {
    const cluster = this.#cluster;
    const { epoch, leader, members, learners, state } = cluster.table.bucket(BUCKET);
    const attempts = learners.map((learner) => ` learner ${learner.node} (attempt ${learner.attempt})`).join("");
    const plan = cluster.table.plans.get(BUCKET);
    const planned = plan === undefined ? "" : ` plan ${plan.target.join("")} at step ${plan.step}`;
    this.#lines.push(`table: epoch ${epoch} leader ${leader} members ${members.map(({ node }) => node).join("")}${attempts}${planned}${state === "on" ? "" : ` ${state}`}`);
    for (const id of cluster.nodes) this.#lines.push(cluster.isRunning(id) ? this.#line(id) : `${id}: down`);
  }

  #line(id: string): string {
    const { replica, machine } = this.#cluster.process(id);
    const starts: string[] = [];
    for (let index = replica.floor; index <= replica.last; index += 1) {
      const epoch = replica.epochAt(index);
      if (index === replica.floor || epoch !== replica.epochAt(index - 1)) starts.push(`${index}/${epoch ?? "?"}`);
    }
    const joining = replica.joining.length === 0 ? "" : ` joining ${replica.joining.join("")}`;
    const open = replica.isOpen ? " open" : "";
    return `${id}: ${replica.role}${open}${joining} promised ${replica.promised} log ${starts.join(" ")} … ${replica.last} commit ${replica.commit} applied ${replica.applied} sum ${machine.sum}${replica.whole ? "" : " not whole"}`;
  }
}

// Helpers of the table's tests: a table that numbers its own batches, and short ways to write commands.

import { Table } from "../../../src/core/table/table.ts";
import type { TableChange } from "../../../src/core/table/table.ts";
import type { Bucket, Command } from "../../../src/core/table/commands.ts";

type Of<T extends Command["type"]> = Extract<Command, { type: T }>;

export class Fold {
  table = new Table();
  #seq = 0;

  /** Applies one batch of its own for each command, from an operator that is no node. */
  run(...commands: Command[]): TableChange {
    let change: TableChange = { buckets: new Set(), nodes: new Set() };
    for (const command of commands) {
      this.#seq += 1;
      change = this.table.apply(this.table.position + 1, `operator.0.${this.#seq}`, [command]);
    }
    return change;
  }

  bucket(id = 0): Bucket {
    return this.table.bucket(id);
  }

  members(id = 0): string[] {
    return this.bucket(id).members.map((member) => member.node);
  }

  incarnation(node: string): number {
    return this.table.nodes.get(node)!.incarnation;
  }

  /** Registers the node over whatever incarnation it has, clean and with its own store unless told otherwise. */
  register(node: string, options: Partial<Of<"register">> = {}): TableChange {
    return this.run({ ...registration(node, this.table.nodes.get(node)?.incarnation ?? 0), ...options });
  }

  depart(node: string, by: string, alive: readonly string[], options: Partial<Of<"depart">> = {}): TableChange {
    return this.run({
      type: "depart",
      node,
      incarnation: this.incarnation(node),
      by,
      byIncarnation: this.incarnation(by),
      alive,
      ...options,
    });
  }

  /** Adds a learner and promotes it at once, as a leader whose learner has caught up would. */
  join(node: string, bucket = 0): void {
    const { epoch } = this.bucket(bucket);
    const incarnation = this.incarnation(node);
    const attempt = this.table.attempts + 1;
    this.run(
      { type: "addLearner", bucket, epoch, node, incarnation, attempt },
      { type: "promote", bucket, epoch, node, attempt, incarnation },
    );
  }

  plan(target: readonly string[], bucket = 0): number {
    const series = this.table.planSeries + 1;
    this.run({ type: "plan", plan: { series, step: 0, kind: "migrate", bucket, target } });
    return series;
  }
}

export function registration(node: string, seen: number): Of<"register"> {
  const address = { http: `${node}:4800`, device: `${node}:4810`, peer: `${node}:4820` };
  return { type: "register", node, store: `store-of-${node}`, seen, clean: true, address, zone: `zone-of-${node}` };
}

/** Nodes registered in this order, then Begin: one bucket led by the first, unless told otherwise. */
export function begun(nodes: readonly string[], options: Partial<Of<"begin">> = {}): Fold {
  const fold = new Fold();
  for (const node of nodes) fold.register(node);
  fold.run({ type: "begin", bucketCount: 1, copies: 3, minCopies: 1, ...options });
  return fold;
}

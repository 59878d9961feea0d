// Commands of the control log that are wrong in one respect each, built on the table as it is: none may have an effect (R2, R5, R8).

import type { Bucket, Command } from "../../src/core/table/commands.ts";
import type { Table } from "../../src/core/table/table.ts";

export function strays(table: Table): Command[] {
  const found: Command[] = [];
  const nodes = [...table.nodes.values()];
  const live = nodes.filter(({ state }) => state !== "departed");
  const by = live.find(({ incarnation }) => incarnation > 1);
  const other = live.find(({ id }) => id !== by?.id);
  if (by !== undefined && other !== undefined) {
    // By a process that has ended since.
    found.push({ type: "depart", node: other.id, incarnation: other.incarnation, by: by.id, byIncarnation: by.incarnation - 1, alive: live.map(({ id }) => id) });
  }
  for (const bucket of table.buckets) {
    const plan = table.plans.get(bucket.id);
    if (plan === undefined) continue;
    const order = { bucket: bucket.id, epoch: bucket.epoch, series: plan.series, step: plan.step };
    const departed = bucket.members.find(({ node }) => !table.isLive(node));
    if (departed !== undefined) found.push({ type: "handover", ...order, to: departed.node });
    found.push({ type: "retire", ...order, epoch: bucket.epoch - 1, nodes: others(bucket) });
    if (table.settings.minCopies > 1) found.push({ type: "retire", ...order, nodes: others(bucket) });
  }
  return found;
}

function others(bucket: Bucket): string[] {
  return bucket.members.map(({ node }) => node).filter((node) => node !== bucket.leader);
}

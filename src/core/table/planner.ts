// What a bucket's government should be, seen from the table, and which bucket should move next (R18, R19, B2, C1, C7). Pure functions.

import type { Bucket, Node, Plan } from "./commands.ts";
import { followersOf } from "./placement.ts";
import type { Table } from "./table.ts";

export type Wanted = Pick<Plan, "kind" | "bucket" | "target">;

/**
 * The move that a bucket needs: copies lost, a member on its way out, another count of copies. Undefined where it needs none, nobody leads
 * it, or a member of it is in doubt: then a departure or a return comes first.
 * @param candidates nodes that copies may be placed on and that are in no doubt, in arrival order
 */
export function neededMove(table: Table, bucket: Bucket, candidates: readonly Node[]): Wanted | undefined {
  if (bucket.state !== "on" || !table.isLive(bucket.leader)) return undefined;
  const isCandidate = (id: string): boolean => candidates.some((node) => node.id === id);
  const isWhole = bucket.members.length === Math.min(table.settings.copies, candidates.length) && bucket.members.every(({ node }) => isCandidate(node));
  if (isWhole) return undefined;
  const isInDoubt = bucket.members.some(({ node }) => table.nodes.get(node)?.state === "live" && !isCandidate(node));
  if (isInDoubt) return undefined;
  const target = wantedGovernment(table, bucket, candidates);
  if (target.length < table.settings.minCopies) return undefined; // R8: a Retire down to it would be refused
  return { kind: kindOf(table, bucket, target), bucket: bucket.id, target };
}

/** Members that may stay, the leader first, then its best followers, as many as there should be copies. */
function wantedGovernment(table: Table, bucket: Bucket, candidates: readonly Node[]): string[] {
  const { copies } = table.settings;
  const stays = candidates.filter((node) => bucket.members.some((member) => member.node === node.id));
  const leader = stays.find((node) => node.id === bucket.leader) ?? stays[0] ?? candidates[0];
  if (leader === undefined) return [];
  const target = [leader];
  const others = bucket.members.map((member) => stays.find((node) => node.id === member.node)).filter((node) => node !== undefined);
  for (const node of others) {
    if (node !== leader && target.length < copies) target.push(node);
  }
  const zones = new Set(target.map((node) => node.zone));
  const free = followersOf(leader, candidates).filter((node) => !target.includes(node));
  for (const node of [...free.filter(({ zone }) => !zones.has(zone)), ...free.filter(({ zone }) => zones.has(zone))]) {
    if (target.length < copies) target.push(node);
  }
  return target.map((node) => node.id);
}

function kindOf(table: Table, bucket: Bucket, target: readonly string[]): Plan["kind"] {
  const leaving = bucket.members.filter((member) => !target.includes(member.node));
  if (leaving.some((member) => table.nodes.get(member.node)?.state === "draining")) return "drain";
  if (leaving.some((member) => !table.isLive(member.node)) || bucket.members.length < target.length) return "recover";
  return bucket.members.length > target.length ? "copies" : "drain";
}

/** The one move that evens the nodes' loads most: a copy from the fullest to the emptiest node, then a lead likewise. Undefined when even. */
export function rebalancingMove(table: Table, candidates: readonly Node[]): Wanted | undefined {
  return evenOut(table, candidates, (bucket) => bucket.members.map((member) => member.node), moveCopy)
    ?? evenOut(table, candidates, (bucket) => [bucket.leader], moveLead);
}

function evenOut(
  table: Table,
  candidates: readonly Node[],
  load: (bucket: Bucket) => readonly string[],
  move: (table: Table, bucket: Bucket, from: Node, to: Node) => string[] | undefined,
): Wanted | undefined {
  const loads = new Map(candidates.map((node) => [node.id, 0]));
  for (const bucket of table.buckets) {
    for (const node of load(bucket)) loads.set(node, (loads.get(node) ?? 0) + 1);
  }
  const byLoad = [...candidates].sort((a, b) => loads.get(a.id)! - loads.get(b.id)! || a.slot - b.slot);
  for (const from of byLoad.toReversed()) {
    for (const to of byLoad) {
      if (loads.get(from.id)! - loads.get(to.id)! < 2) break;
      for (const bucket of table.buckets) {
        if (bucket.state !== "on" || table.plans.has(bucket.id) || !load(bucket).includes(from.id)) continue;
        const target = move(table, bucket, from, to);
        if (target !== undefined) return { kind: "migrate", bucket: bucket.id, target };
      }
    }
  }
  return undefined;
}

/** Undefined where `to` has a copy already, or where the copies would be in fewer zones. */
function moveCopy(table: Table, bucket: Bucket, from: Node, to: Node): string[] | undefined {
  const members = [bucket.leader, ...bucket.members.map((member) => member.node).filter((node) => node !== bucket.leader)];
  if (members.includes(to.id)) return undefined;
  const target = members.map((node) => (node === from.id ? to.id : node));
  const zones = (nodes: readonly string[]): number => new Set(nodes.map((node) => table.nodes.get(node)?.zone)).size;
  return zones(target) < zones(members) ? undefined : target;
}

function moveLead(_table: Table, bucket: Bucket, _from: Node, to: Node): string[] | undefined {
  const members = bucket.members.map((member) => member.node);
  return members.includes(to.id) ? [to.id, ...members.filter((node) => node !== to.id)] : undefined;
}

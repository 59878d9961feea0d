// Which nodes serve a bucket: the leader's left and right in arrival order, wrapping, in other zones where there are any (B2).

import type { Node } from "./commands.ts";

/** Live nodes that are not on their way out, in arrival order: the ones a copy may be placed on. */
export function placeable(nodes: Iterable<Node>): Node[] {
  return [...nodes].filter((node) => node.state === "live").sort((a, b) => a.slot - b.slot);
}

/**
 * The other candidates as the leader's followers, best first: nearest by arrival order (right, left, right …, wrapping), and among
 * them first those that bring a new zone.
 * @param leader its slot need not be among the candidates'
 * @param candidates in arrival order
 */
export function followersOf(leader: Node, candidates: readonly Node[]): Node[] {
  const right = candidates.filter((node) => node.slot > leader.slot);
  const left = candidates.filter((node) => node.slot < leader.slot);
  const ring = [...right, ...left];
  const near: Node[] = [];
  for (let low = 0, high = ring.length - 1; low <= high; low += 1, high -= 1) {
    near.push(ring[low]!);
    if (low < high) near.push(ring[high]!);
  }
  const zones = new Set([leader.zone]);
  const newZone: Node[] = [];
  const sameZone: Node[] = [];
  for (const node of near) {
    (zones.has(node.zone) ? sameZone : newZone).push(node);
    zones.add(node.zone);
  }
  return [...newZone, ...sameZone];
}

// The cluster as one node sees it, for operators: who is there, what each bucket lacks, what moves and how far it is (E2, E4).

import type { CoreNode } from "../core/node.ts";
import type { Bucket } from "../core/table/commands.ts";
import type { LinkStats } from "../peer/links.ts";
import type { ClusterView, DarkBucket, LearnerView } from "./api.ts";
import type { Membership } from "./membership.ts";

/** Buckets that are told one by one. */
const TOLD_MAX = 100;

export function clusterView(core: CoreNode, membership: Membership, links: readonly LinkStats[] | undefined): ClusterView {
  const { table } = core;
  const { buckets, settings } = table;
  const alive = new Set(membership.alive.map(({ node }) => node));
  const of = (has: (bucket: Bucket) => boolean): number => buckets.filter(has).length;
  const dark = buckets.filter(({ id }) => table.leaderOf(id) === undefined);
  return {
    self: core.id,
    controlSeconds: membership.silentMs / 1000,
    copies: settings.copies,
    minCopies: settings.minCopies,
    position: table.position,
    buckets: buckets.length,
    incomplete: of(({ members }) => members.filter(({ node }) => table.isLive(node)).length < settings.copies),
    nodes: [...table.nodes.values()].map(({ id, state, incarnation, zone, slot, address }) => ({
      node: id, state, incarnation, zone, slot, ...address,
      lease: alive.has(id),
      leads: of((bucket) => bucket.leader === id),
      copies: of(({ members }) => members.some(({ node }) => node === id)),
      learns: of(({ learners }) => learners.some(({ node }) => node === id)),
    })),
    plans: [...table.plans.values()].map(({ kind, bucket, series, step, target }) => ({ kind, bucket, series, step, target: [...target], leader: table.bucket(bucket).leader })),
    learners: core.copies.flatMap(learnersOf),
    dark: { count: dark.length, buckets: dark.slice(0, TOLD_MAX).map((bucket) => darkBucket(bucket, alive)) },
    links: (links ?? []).map(({ node, isUp, waitingBytes, bytesIn, bytesOut }) => ({ node, up: isUp, waitingBytes, bytesIn, bytesOut })),
  };
}

/** How far the learners are of a bucket that this node leads. */
function learnersOf({ replica }: CoreNode["copies"][number]): LearnerView[] {
  return replica.peers.filter(({ isMember }) => !isMember).map(({ node, match, whole }) => ({ bucket: replica.bucket, node, whole, behind: replica.last - match }));
}

function darkBucket({ id, state, leader, members, lostStore }: Bucket, alive: ReadonlySet<string>): DarkBucket {
  const names = members.map(({ node }) => node);
  if (state === "dark") {
    return { bucket: id, state, members: names, why: `its last whole copy was on store ${lostStore ?? "?"} of node ${leader}, which came back without it: start that node on its old disk, or accept the loss` };
  }
  const absent = names.filter((node) => !alive.has(node));
  return { bucket: id, state, members: names, why: absent.length === 0 ? "its members have just come back" : `its members ${absent.join(", ")} do not run: start one of them on its disk` };
}

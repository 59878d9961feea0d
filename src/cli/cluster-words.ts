// What GET /v1/cluster answers, and how it is put in words: nodes, what moves, links, what is dark and why.

import type { ClusterView, LearnerView } from "../node/api.ts";
import { call, open } from "./call.ts";
import { duration } from "./health.ts";
import { styled, table } from "./output.ts";

/** Where the position is a string, as everywhere in HTTP. */
export type Cluster = Omit<ClusterView, "position"> & { readonly position: string };

/** For the progress that only other nodes know; nobody waits for one that does not answer. */
const ASIDE_MS = 1_000;
/** The control log renews leases each second: silent for longer, it is worth a line. */
const SILENT_SECONDS = 5;
const PLANS_TOLD = 5;
const DARK_TOLD = 5;

export async function readCluster(at: string): Promise<Cluster> {
  return (await call(at, { path: "/v1/cluster" })).body as Cluster;
}

/** Adds what the leaders of moving buckets know of their learners. */
export async function withProgress(cluster: Cluster): Promise<Cluster> {
  const leaders = new Set(cluster.plans.map(({ leader }) => leader).filter((leader) => leader !== cluster.self));
  const asked = cluster.nodes.filter(({ node, http }) => leaders.has(node) && http !== "").map(({ http }) => learnersAt(http));
  const learners = (await Promise.all(asked)).flat();
  return { ...cluster, learners: [...cluster.learners, ...learners] };
}

async function learnersAt(at: string): Promise<readonly LearnerView[]> {
  try {
    const response = await open(at, { path: "/v1/cluster" }, AbortSignal.timeout(ASIDE_MS));
    return response.ok ? ((await response.json()) as Cluster).learners : [];
  } catch {
    return []; // its progress is not shown then
  }
}

/** Why the cluster is not whole; empty when every bucket has a leader and its copies. */
export function lacks({ dark, incomplete, copies, minCopies, controlSeconds }: Cluster): string[] {
  const lines: string[] = [];
  if (dark.count > 0) lines.push(`${dark.count} buckets have no leader: nothing is read or written there`);
  if (incomplete > 0) lines.push(`${incomplete} buckets have fewer than ${copies} copies (they take writes from ${minCopies} on)`);
  if (controlSeconds > SILENT_SECONDS) lines.push(`the control log has not answered for ${duration(controlSeconds)}: writes go on, changes wait`);
  return lines;
}

/** The screen of a cluster below the node's own lines. */
export function clusterInWords(cluster: Cluster): string {
  const { nodes, links, self } = cluster;
  const rows = nodes
    .filter(({ state, copies, learns }) => state !== "departed" || copies > 0 || learns > 0 || nodes.length <= PLANS_TOLD)
    .map(({ node, state, lease, incarnation, zone, leads, copies, learns, http }) => {
      const link = links.find((one) => one.node === node);
      const linked = node === self ? "this node" : state === "departed" ? "" : link?.up === true ? `up, ${link.waitingBytes} bytes wait` : "down";
      return [`  ${node}`, lease || state === "departed" ? state : `${state}, silent`, String(incarnation), zone, String(leads), String(copies), String(learns), http, linked];
    });
  const parts = [table([["  NODE", "STATE", "START", "ZONE", "LEADS", "COPIES", "LEARNS", "HTTP", "LINK"], ...rows])];
  const lacking = lacks(cluster);
  const says = lacking.length === 0 ? styled(process.stdout, "green", `every bucket has its ${cluster.copies} copies`) : styled(process.stdout, "yellow", lacking.join("\n  "));
  parts.push(`  ${says}`);
  for (const { bucket, why } of cluster.dark.buckets.slice(0, DARK_TOLD)) parts.push(`  bucket ${bucket}: ${why}`);
  if (cluster.dark.count > DARK_TOLD) parts.push(`  … and ${cluster.dark.count - DARK_TOLD} more: GET /v1/cluster`);
  parts.push(...plansInWords(cluster));
  return parts.join("\n");
}

/** Where the word is a command's too, and means another thing there. */
const MOVES: Readonly<Record<string, string>> = { recover: "repair" };
const STEPS: readonly string[] = ["copies are made", "the lead moves", "old copies leave"];

function plansInWords({ plans: all, learners, incomplete }: Cluster): string[] {
  // With all copies there, what a recovery made is done, though its plan may end a moment later.
  const plans = incomplete === 0 ? all.filter(({ kind }) => kind !== "recover") : all;
  const lines = plans.slice(0, PLANS_TOLD).map(({ kind, bucket, step, target }) => {
    const progress = learners.filter((one) => one.bucket === bucket).map(({ node, whole, behind }) => `${node} is ${behind} entries behind${whole ? "" : ", gets the history"}`);
    return `  ${MOVES[kind] ?? kind} bucket ${bucket} to ${target.join(", ")}: ${[STEPS[step] ?? `step ${step}`, ...progress].join("; ")}`;
  });
  if (plans.length > PLANS_TOLD) lines.push(`  … and ${plans.length - PLANS_TOLD} more plans`);
  return lines;
}

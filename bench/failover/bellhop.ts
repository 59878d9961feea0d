// What is done to Bellhop: three nodes over three members of etcd, of which one is killed, frozen, or given a slow disk.

import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { packageFolder } from "../../src/observe/version.ts";
import { Cluster, type ClusterNode } from "../cluster.ts";
import { observeDevice, observeHttp } from "./observers.ts";
import type { Trial } from "./trial.ts";

const NODES = 3;
const ETCDS = 3;
const BUCKETS = 8;
const DEVICE = "observed";
const KNOWN_MS = 60_000;

export const BELLHOP_SETTINGS = `three nodes over ${ETCDS} members of etcd, ${BUCKETS} buckets, otherwise its defaults`;

/** The nodes of the bucket that is looked at. */
interface Target {
  readonly leader: ClusterNode;
  readonly follower: ClusterNode;
  /** Neither killed nor frozen: the observers' node. */
  readonly other: ClusterNode;
}

export type Harm = (cluster: Cluster, target: Target) => Promise<void>;

export const HARMS = {
  "leader-killed": (_, { leader }) => leader.stop(),
  "leader-frozen": async (_, { leader }) => leader.freeze(),
  "follower-killed": (_, { follower }) => follower.stop(),
  "follower-frozen": async (_, { follower }) => follower.freeze(),
  "etcd-killed": async (cluster) => (await cluster.etcdLeader())!.kill(),
  "etcd-frozen": async (cluster) => void process.kill((await cluster.etcdLeader())!.pid, "SIGSTOP"),
} satisfies Record<string, Harm>;

export type Environment = (node: string) => Readonly<Record<string, string>>;

/** @param environment of each node, beside this process's */
export async function startBellhopTrial(harm: Harm, environment?: Environment): Promise<Trial> {
  const cluster = await startCluster(environment);
  try {
    const target = await targetOf(cluster);
    const { other } = target;
    return {
      observers: [observeDevice(DEVICE, other.device), observeHttp(DEVICE, other.http)],
      harm: () => harm(cluster, target),
      stored: async () => Number(((await explained(other)) as { lastSeries?: number }).lastSeries ?? 0), // numbers are stored in order, without gaps
      stop: () => cluster.stop(),
    };
  } catch (error) {
    await cluster.stop();
    throw error;
  }
}

export function startCluster(environment?: Environment): Promise<Cluster> {
  const program = join(packageFolder(), "bin/bellhop.js");
  return Cluster.start({ nodes: NODES, etcds: ETCDS, buckets: BUCKETS, program, ...(environment === undefined ? {} : { environment }) });
}

/** Who leads and follows the bucket of the device; makes it known. */
export async function targetOf(cluster: Cluster): Promise<Target> {
  const [first] = cluster.nodes as readonly [ClusterNode];
  await fetch(`http://${first.http}/v1/devices/${DEVICE}/messages`, { method: "POST", body: "first", headers: { "content-type": "text/plain" }, signal: AbortSignal.timeout(KNOWN_MS) });
  const { leader: leading } = (await explained(first)) as { leader: string };
  const leader = cluster.nodes.find(({ id }) => id === leading)!;
  const [follower, other] = cluster.nodes.filter(({ id }) => id !== leading) as [ClusterNode, ClusterNode];
  return { leader, follower, other };
}

async function explained(node: ClusterNode): Promise<unknown> {
  const deadline = performance.now() + KNOWN_MS;
  for (;;) {
    const explanation = await node.get(`/v1/devices/${DEVICE}/explain`);
    if (explanation !== undefined) return explanation;
    if (performance.now() > deadline) throw new Error(`${node.id} does not know ${DEVICE}`);
    await sleep(20);
  }
}

// The faults of a run on real processes: each troubles the cluster and takes its trouble away again; what it cannot take away the cluster has to live with.

import { readFileSync, readdirSync, rmSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import type { Cluster, ClusterNode } from "../../bench/cluster.ts";
import type { Prng } from "../../src/base/prng.ts";
import type { LinkProxies, Trouble } from "./proxy.ts";

export interface Scene {
  readonly cluster: Cluster;
  readonly proxies: LinkProxies;
  readonly random: Prng;
  /** For the report. */
  readonly tell: (what: string) => void;
}

type Fault = (scene: Scene) => Promise<void>;

/** Longest wait for a node that is started again, in milliseconds. */
const UP_MS = 60_000;

export const FAULTS = {
  /** kill -9: it leads some buckets and follows others. */
  async kill(scene) {
    const node = anyNode(scene);
    scene.tell(node.id);
    await node.stop();
    await sleep(between(scene, 0, 3000));
    node.start();
  },

  /** SIGSTOP for 0.1 to 10 s, short ones as often as long ones. */
  async freeze(scene) {
    const node = anyNode(scene);
    const ms = 100 * 100 ** scene.random.float();
    scene.tell(`${node.id} for ${Math.round(ms)} ms`);
    node.freeze();
    await sleep(ms);
    node.thaw();
  },

  /** What one node sends to another waits; the other way is open. */
  async cut(scene) {
    const [from, to] = twoNodes(scene);
    const ms = between(scene, 200, 6000);
    scene.tell(`${from.id} to ${to.id} for ${Math.round(ms)} ms`);
    await troubled(scene, [[from, to]], { type: "cut" }, ms);
  },

  /** A node that nobody hears and that hears nobody, while it reaches etcd and its clients. */
  async isolate(scene) {
    const node = anyNode(scene);
    const ms = between(scene, 200, 6000);
    scene.tell(`${node.id} for ${Math.round(ms)} ms`);
    const others = scene.cluster.nodes.filter((other) => other !== node);
    await troubled(scene, others.flatMap((other): Link[] => [[node, other], [other, node]]), { type: "cut" }, ms);
  },

  /** Its last words are lost with it. */
  async cutAndKill(scene) {
    const node = anyNode(scene);
    scene.tell(node.id);
    const outgoing = scene.cluster.nodes.filter((other) => other !== node).map((other): Link => [node, other]);
    await troubled(scene, outgoing, { type: "cut" }, between(scene, 100, 400), () => node.stop());
    node.start();
  },

  async delay(scene) {
    const [from, to] = twoNodes(scene);
    const ms = Math.round(between(scene, 5, 150));
    scene.tell(`${from.id} to ${to.id} by ${ms} ms`);
    await troubled(scene, [[from, to]], { type: "delay", ms }, 3000);
  },

  /** One byte at a time. */
  async trickle(scene) {
    const [from, to] = twoNodes(scene);
    scene.tell(`${from.id} to ${to.id}`);
    await troubled(scene, [[from, to]], { type: "trickle" }, 1500);
  },

  async reset(scene) {
    const [from, to] = twoNodes(scene);
    scene.tell(`${from.id} and ${to.id}, five times`);
    for (let i = 0; i < 5; i += 1) {
      scene.proxies.reset(from.id, to.id);
      await sleep(between(scene, 20, 400));
    }
  },

  async etcdLeader({ cluster, tell }) {
    const leader = (await cluster.etcdLeader()) ?? cluster.etcd.servers[0]!;
    tell(leader.url);
    await leader.kill();
    await sleep(1500);
    await leader.restart();
  },

  /** Nothing can be decided meanwhile; what leads goes on leading. */
  async etcdQuorum(scene) {
    const ms = between(scene, 500, 5000);
    scene.tell(`away for ${Math.round(ms)} ms`);
    const victims = scene.cluster.etcd.servers.slice(0, Math.floor(scene.cluster.etcd.servers.length / 2) + 1);
    await Promise.all(victims.map((server) => server.kill()));
    await sleep(ms);
    await Promise.all(victims.map((server) => server.restart()));
  },

  /** Power is lost everywhere. */
  async all({ cluster }) {
    await Promise.all(cluster.nodes.map((node) => node.stop()));
    for (const node of cluster.nodes) node.start();
  },

  /** An empty disk in the old one's place. */
  async wipe(scene) {
    const node = anyNode(scene);
    scene.tell(node.id);
    await node.stop();
    rmSync(node.data, { recursive: true });
    node.start();
  },

  /** A byte of one file is another: the node repairs from its peers, or stops and says what is wrong; then it gets an empty disk. */
  async corrupt(scene) {
    const node = anyNode(scene);
    await node.stop();
    scene.tell(`${node.id}: ${flipAByte(scene, node.data)}`);
    node.start();
    if (await isUp(node)) return;
    const { said, exitCode } = node;
    if (!/error [a-z_]+: .+/.test(said) && !/"code":"/.test(said)) throw new Error(`${node.id} stopped with ${exitCode} on a damaged file and did not say why: ${said.slice(-1000)}`);
    scene.tell(`it stopped: ${/error .*/.exec(said)?.[0] ?? said.slice(-200)}`);
    rmSync(node.data, { recursive: true });
    node.start();
  },

  /** SIGTERM and a new start, node by node. */
  async rolling({ cluster }) {
    for (const node of cluster.nodes) {
      await node.stop("SIGTERM");
      node.start();
      await cluster.whole(UP_MS);
    }
  },
} satisfies Record<string, Fault>;

export type FaultName = keyof typeof FAULTS;
export const FAULT_NAMES = Object.keys(FAULTS) as FaultName[];

type Link = readonly [ClusterNode, ClusterNode];

async function troubled({ proxies }: Scene, links: readonly Link[], trouble: Trouble, ms: number, then?: () => Promise<void>): Promise<void> {
  for (const [from, to] of links) proxies.trouble(from.id, to.id, trouble);
  await sleep(ms);
  await then?.();
  proxies.heal();
}

function anyNode({ cluster, random }: Scene): ClusterNode {
  return cluster.nodes[random.below(cluster.nodes.length)]!;
}

function twoNodes({ cluster, random }: Scene): Link {
  const from = random.below(cluster.nodes.length);
  const to = (from + 1 + random.below(cluster.nodes.length - 1)) % cluster.nodes.length;
  return [cluster.nodes[from]!, cluster.nodes[to]!];
}

function between({ random }: Scene, least: number, most: number): number {
  return least + random.float() * (most - least);
}

/** In the bytes that are used: what follows them in a log's file is zeros. Says where. */
function flipAByte({ random }: Scene, data: string): string {
  const files = readdirSync(data, { recursive: true, encoding: "utf8" }).filter((name) => !/lock/.test(name) && statSync(join(data, name)).isFile() && statSync(join(data, name)).size > 0).sort();
  const name = files[random.below(files.length)]!;
  const bytes = readFileSync(join(data, name));
  let used = bytes.length;
  while (used > 1 && bytes[used - 1] === 0) used -= 1;
  const at = random.below(used);
  bytes[at] = bytes[at]! ^ 0x10;
  writeFileSync(join(data, name), bytes);
  return `byte ${at} of ${used} in ${name}`;
}

/** Whether it became ready; false when it ended. */
async function isUp(node: ClusterNode): Promise<boolean> {
  const deadline = performance.now() + UP_MS;
  while (node.isRunning) {
    if (node.said.includes("is ready") && (await node.get("/v1/status")) !== undefined) return true;
    if (performance.now() > deadline) throw new Error(`${node.id} was neither ready nor ended ${UP_MS / 1000} s after its start: ${node.said.slice(-1000)}`);
    await sleep(50);
  }
  return false;
}

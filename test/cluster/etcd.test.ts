// Three nodes over a real etcd: they form a cluster, outlive a killed leader and an etcd that is away, and come back after all of them lost power.

import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { freePort } from "../../bench/processes.ts";
import { startEtcd, type EtcdCluster } from "../../bench/etcd.ts";
import type { NodeProcess } from "../faults/node.ts";
import { eventually, PATIENCE_MS } from "./eventually.ts";
import { ask, PATIENT_FLAGS, startNode } from "./steady.ts";

const DEVICES = Array.from({ length: 8 }, (_, i) => `lamp-${i}`);

let etcd: EtcdCluster;
let folder: string;
const nodes: NodeProcess[] = [];
let flags: readonly string[][];

beforeAll(async () => {
  etcd = await startEtcd();
  folder = mkdtempSync(join(tmpdir(), "bellhop-etcd-cluster-"));
  const peers = [await freePort(), await freePort(), await freePort()];
  flags = peers.map((port, i) => ["--node", `n${i + 1}`, "--zone", `z${i + 1}`, "--peer", `127.0.0.1:${port}`, "--cluster", "test", "--etcd", etcd.endpoints.join(","), ...PATIENT_FLAGS]);
  nodes.push(...(await Promise.all(flags.map((more, i) => startNode(join(folder, `n${i + 1}`), { flags: more })))));
}, 2 * PATIENCE_MS);

afterAll(async () => {
  await Promise.all(nodes.map((node) => node.stop("SIGKILL")));
  await etcd.stop();
  rmSync(folder, { recursive: true });
});

/** Publishes one more to each device through the node. */
async function publish(node: NodeProcess, key: string): Promise<void> {
  for (const device of DEVICES) {
    const { status } = await ask(node.http, "POST", `/v1/devices/${device}/messages`, { body: key, headers: { "idempotency-key": key, "content-type": "text/plain" } });
    expect([200, 201]).toContain(status);
  }
}

async function texts(node: NodeProcess, device: string): Promise<string[]> {
  const reply = await ask(node.http, "GET", `/v1/devices/${device}/stream?type=downlink&limit=1000`);
  return reply.status === 200 ? (reply.json.entries as { payload: string }[]).map(({ payload }) => payload) : [];
}

async function expectEverywhere(expected: readonly string[]): Promise<void> {
  for (const node of nodes) {
    for (const device of DEVICES) {
      expect(await eventually(() => texts(node, device), (found) => found.length === expected.length)).toEqual(expected);
    }
  }
}

async function restart(place: number): Promise<void> {
  const old = nodes[place]!;
  nodes[place] = await startNode(old.data, { flags: flags[place]!, inPlaceOf: old });
}

test("what is published through any node is on all of them", { timeout: 5 * PATIENCE_MS }, async () => {
  for (const [i, node] of nodes.entries()) await publish(node, `a${i}`);
  await expectEverywhere(["a0", "a1", "a2"]);
});

test("etcd is away: publishes go on; a node that is killed meanwhile is replaced when it is back", { timeout: 5 * PATIENCE_MS }, async () => {
  await etcd.servers[0]!.kill();
  await publish(nodes[0]!, "b0");
  await etcd.servers[0]!.restart();
  await nodes[1]!.stop("SIGKILL");
  await publish(nodes[2]!, "b1");
  await restart(1);
  await expectEverywhere(["a0", "a1", "a2", "b0", "b1"]);
});

test("all nodes lose power at once, and etcd too: what was answered is there", { timeout: 5 * PATIENCE_MS }, async () => {
  await publish(nodes[1]!, "c0");
  await Promise.all([...nodes.map((node) => node.stop("SIGKILL")), etcd.servers[0]!.kill()]);
  await etcd.servers[0]!.restart();
  await Promise.all(nodes.map((_, place) => restart(place)));
  await publish(nodes[0]!, "c1");
  await expectEverywhere(["a0", "a1", "a2", "b0", "b1", "c0", "c1"]);
});

test("a node whose disk is wiped gets its copies again", { timeout: 5 * PATIENCE_MS }, async () => {
  await nodes[2]!.stop("SIGKILL");
  rmSync(nodes[2]!.data, { recursive: true });
  await restart(2);
  await publish(nodes[2]!, "d0");
  await expectEverywhere(["a0", "a1", "a2", "b0", "b1", "c0", "c1", "d0"]);
  const members = await eventually(
    async () => Promise.all(DEVICES.map(async (device) => ((await ask(nodes[0]!.http, "GET", `/v1/devices/${device}/explain`)).json.members as string[]).length)),
    (counts) => counts.every((count) => count === 3),
  );
  expect(members).toEqual(DEVICES.map(() => 3));
});

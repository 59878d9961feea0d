// A node that was alone grows into a cluster, and an etcd that was lost is restored from the nodes (E5, R10): real processes, a real etcd.

import { rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { startEtcd, type EtcdCluster } from "../../bench/etcd.ts";
import { freePort } from "../../bench/processes.ts";
import { bellhop } from "../cli/command.ts";
import { NodeProcess, testFolder } from "../faults/node.ts";
import { eventually, PATIENCE_MS } from "./eventually.ts";

const DEVICES = Array.from({ length: 8 }, (_, i) => `lamp-${i}`);

const folder = testFolder("grow");
let etcd: EtcdCluster;
const nodes: NodeProcess[] = [];
const peers: number[] = [];

beforeAll(async () => {
  etcd = await startEtcd();
  for (let i = 0; i < 3; i += 1) peers.push(await freePort());
}, PATIENCE_MS);
afterAll(async () => {
  await Promise.all(nodes.map((node) => node.stop("SIGKILL")));
  await etcd.stop();
  folder.remove();
});

function flags(place: number): readonly string[] {
  return ["--node", `n${place + 1}`, "--zone", `z${place + 1}`, "--peer", `127.0.0.1:${peers[place]}`, "--cluster", "test", "--etcd", etcd.endpoints.join(","), "--log-level", "warn"];
}

const dataOf = (place: number): string => join(folder.path, `n${place + 1}`);

async function publish(node: NodeProcess, body: string): Promise<void> {
  for (const device of DEVICES) {
    const status = await eventually(async () => (await node.publish(device, body, body).catch((error: Error) => ({ status: `${error.message}: ${node.said.slice(-500)}` }))).status, (answered) => answered === 201 || answered === 200);
    expect([200, 201]).toContain(status);
  }
}

async function expectEverywhere(expected: readonly string[]): Promise<void> {
  for (const node of nodes) {
    for (const device of DEVICES) {
      const payloads = async () => (await node.stream(device)).filter(({ type }) => type === "downlink").map(({ payload }) => payload);
      expect(await eventually(payloads, (found) => found.length === expected.length)).toEqual(expected);
    }
  }
}

async function whole(node: NodeProcess): Promise<void> {
  const { code, stderr } = await bellhop(["status", "--at", node.http, "--exit-when-healthy", "--timeout", "30"]);
  expect([code, stderr]).toEqual([0, ""]);
}

test("a node that was alone brings its data into an empty etcd; two more come, and every bucket gets three copies", { timeout: 2 * PATIENCE_MS }, async () => {
  const alone = await NodeProcess.start(dataOf(0));
  await publish(alone, "alone");
  await alone.stop();
  nodes.push(await NodeProcess.start(dataOf(0), { flags: flags(0), inPlaceOf: alone }));
  await publish(nodes[0]!, "first");
  nodes.push(await NodeProcess.start(dataOf(1), { flags: flags(1) }), await NodeProcess.start(dataOf(2), { flags: flags(2) }));
  expect((await bellhop(["cluster", "set", "copies=3", "--at", nodes[1]!.http])).stdout).toContain("copies 3, minCopies 1");
  await whole(nodes[2]!);
  expect((await bellhop(["cluster", "set", "minCopies=2", "--at", nodes[2]!.http])).stdout).toContain("copies 3, minCopies 2");
  await publish(nodes[2]!, "third");
  await expectEverywhere(["alone", "first", "third"]);
});

test("what has a history of its own does not mix with another one", { timeout: PATIENCE_MS }, async () => {
  const other = join(folder.path, "other");
  const alone = await NodeProcess.start(other);
  await alone.stop();
  const joining = await (await NodeProcess.launch(other, { flags: ["--node", "n9", "--peer", "127.0.0.1:0", "--cluster", "test", "--etcd", etcd.endpoints.join(",")] })).ended();
  expect(joining).toMatchObject({ code: 7, stderr: expect.stringContaining("two histories cannot become one") });
  await nodes[1]!.stop();
  expect(await (await NodeProcess.launch(dataOf(1))).ended()).toMatchObject({ code: 7, stderr: expect.stringContaining("belongs to the cluster test") });
  nodes[1] = await NodeProcess.start(dataOf(1), { flags: flags(1), inPlaceOf: nodes[1]! });
  await whole(nodes[0]!);
});

test("etcd loses everything: the nodes go on, refuse to start on an empty one, and restore it", { timeout: 2 * PATIENCE_MS }, async () => {
  await etcd.stop();
  await publish(nodes[0]!, "no-etcd");
  await Promise.all(nodes.map((node) => node.stop("SIGKILL")));
  etcd = await startEtcd();
  expect(await (await NodeProcess.launch(dataOf(0), { flags: flags(0) })).ended()).toMatchObject({ code: 7, stderr: expect.stringContaining("bellhop control import") });
  const files: string[] = [];
  for (const place of [0, 1, 2]) {
    const { code, stdout } = await bellhop(["control", "export", "--data", dataOf(place)]);
    expect(code).toBe(0);
    files.push(join(folder.path, `n${place + 1}.control`));
    writeFileSync(files.at(-1)!, stdout);
  }
  const importing = ["control", "import", ...files, "--cluster", "test", "--etcd", etcd.endpoints.join(",")];
  expect(await bellhop(importing)).toMatchObject({ code: 0, stdout: expect.stringContaining("start the nodes") });
  expect(await bellhop(importing)).toMatchObject({ code: 4, stderr: expect.stringContaining("has a control log of the cluster test already") });
  const old = [...nodes];
  await Promise.all(old.map(async (node, place) => (nodes[place] = await NodeProcess.start(dataOf(place), { flags: flags(place), inPlaceOf: node }))));
  await publish(nodes[1]!, "restored");
  await whole(nodes[2]!);
  await expectEverywhere(["alone", "first", "third", "no-etcd", "restored"]);
});

test("the last whole copies are lost: nothing is taken until an operator accepts it", { timeout: 2 * PATIENCE_MS }, async () => {
  await Promise.all(nodes.map((node) => node.stop("SIGKILL")));
  for (const place of [0, 1, 2]) rmSync(dataOf(place), { recursive: true });
  const old = [...nodes];
  await Promise.all(old.map(async (node, place) => (nodes[place] = await NodeProcess.start(dataOf(place), { flags: flags(place), inPlaceOf: node }))));
  const at = ["--at", nodes[0]!.http];
  const { json } = await eventually(() => nodes[0]!.call("GET", "/v1/cluster"), (reply) => reply.json.dark.buckets.every(({ state }: { state: string }) => state === "dark"));
  expect(json.dark.count).toBe(4);
  expect((await bellhop(["status", ...at])).stdout).toContain("accept the loss");
  expect(await bellhop(["recover", "0", ...at])).toMatchObject({ code: 4, stderr: expect.stringContaining("lost would be") });
  for (const bucket of ["0", "1", "2", "3"]) expect((await bellhop(["recover", bucket, "--accept-loss", ...at])).stderr).toBe("");
  await whole(nodes[1]!);
  await publish(nodes[1]!, "anew");
  await expectEverywhere(["anew"]);
});

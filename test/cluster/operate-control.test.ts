// A node that was alone grows into a cluster, and an etcd that was lost is restored from the nodes (E5, R10): real processes, a real etcd.

import { rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { startEtcd, type EtcdCluster } from "../../bench/etcd.ts";
import { freePort } from "../../bench/processes.ts";
import { bellhop } from "../cli/command.ts";
import { NodeProcess, testFolder } from "../faults/node.ts";
import { eventually, PATIENCE_MS } from "./eventually.ts";
import { ask, inTime, PATIENT_FLAGS, startNode } from "./steady.ts";

const DEVICES = Array.from({ length: 8 }, (_, i) => `lamp-${i}`);

const folder = testFolder("grow");
let etcd: EtcdCluster;
const nodes: NodeProcess[] = [];
const peers: number[] = [];

beforeAll(async () => {
  etcd = await startEtcd();
  for (let i = 0; i < 3; i += 1) peers.push(await freePort());
}, 2 * PATIENCE_MS);
afterAll(async () => {
  await Promise.all(nodes.map((node) => node.stop("SIGKILL")));
  await etcd.stop();
  folder.remove();
});

function flags(place: number): readonly string[] {
  return ["--node", `n${place + 1}`, "--zone", `z${place + 1}`, "--peer", `127.0.0.1:${peers[place]}`, "--cluster", "test", "--etcd", etcd.endpoints.join(","), "--log-level", "warn", ...PATIENT_FLAGS];
}

const dataOf = (place: number): string => join(folder.path, `n${place + 1}`);

async function publish(node: NodeProcess, body: string): Promise<void> {
  for (const device of DEVICES) {
    const { status } = await ask(node.http, "POST", `/v1/devices/${device}/messages`, { body, headers: { "idempotency-key": body, "content-type": "text/plain" } });
    expect([200, 201], node.said.slice(-500)).toContain(status);
  }
}

async function expectEverywhere(expected: readonly string[]): Promise<void> {
  for (const node of nodes) {
    for (const device of DEVICES) {
      const path = `/v1/devices/${device}/stream?type=downlink&limit=1000`;
      const payloads = async (): Promise<string[]> => (((await ask(node.http, "GET", path)).json.entries ?? []) as { payload: string }[]).map(({ payload }) => payload);
      expect(await eventually(payloads, (found) => found.length === expected.length)).toEqual(expected);
    }
  }
}

/** Whole as this node sees it, with the count of copies that was set through any. */
async function whole(node: NodeProcess): Promise<void> {
  expect((await eventually(() => ask(node.http, "GET", "/v1/cluster"), ({ json }) => json.copies === 3)).json.copies).toBe(3);
  const { code, stderr } = await bellhop(["status", "--at", node.http, "--exit-when-healthy", "--timeout", String(PATIENCE_MS / 1000)]);
  expect([code, stderr]).toEqual([0, ""]);
}

/** Refused for as long as it would be unsafe: while a copy lacks. */
async function set(node: NodeProcess, setting: string, told: string): Promise<void> {
  const { stdout, stderr } = await eventually(() => bellhop(["cluster", "set", setting, "--at", node.http]), (ended) => ended.stdout.includes(told));
  expect(stdout, stderr).toContain(told);
}

test("a node that was alone brings its data into an empty etcd; two more come, and every bucket gets three copies", { timeout: 5 * PATIENCE_MS }, async () => {
  const alone = await NodeProcess.start(dataOf(0));
  await publish(alone, "alone");
  await alone.stop();
  nodes.push(await startNode(dataOf(0), { flags: flags(0), inPlaceOf: alone }));
  await publish(nodes[0]!, "first");
  nodes.push(await startNode(dataOf(1), { flags: flags(1) }), await startNode(dataOf(2), { flags: flags(2) }));
  await set(nodes[1]!, "copies=3", "copies 3, minCopies 1");
  await whole(nodes[2]!);
  await set(nodes[2]!, "minCopies=2", "copies 3, minCopies 2");
  await publish(nodes[2]!, "third");
  await expectEverywhere(["alone", "first", "third"]);
});

test("what has a history of its own does not mix with another one", { timeout: 5 * PATIENCE_MS }, async () => {
  const other = join(folder.path, "other");
  const alone = await NodeProcess.start(other);
  await alone.stop();
  const words = ["--node", "n9", "--peer", "127.0.0.1:0", "--cluster", "test", "--etcd", etcd.endpoints.join(",")];
  const joining = await inTime(async () => (await NodeProcess.launch(other, { flags: words })).ended());
  expect(joining).toMatchObject({ code: 7, stderr: expect.stringContaining("two histories cannot become one") });
  await nodes[1]!.stop();
  expect(await (await NodeProcess.launch(dataOf(1))).ended()).toMatchObject({ code: 7, stderr: expect.stringContaining("belongs to the cluster test") });
  nodes[1] = await startNode(dataOf(1), { flags: flags(1), inPlaceOf: nodes[1]! });
  await whole(nodes[0]!);
});

test("etcd loses everything: the nodes go on, refuse to start on an empty one, and restore it", { timeout: 5 * PATIENCE_MS }, async () => {
  await etcd.stop();
  await publish(nodes[0]!, "no-etcd");
  await Promise.all(nodes.map((node) => node.stop("SIGKILL")));
  etcd = await startEtcd();
  expect(await inTime(async () => (await NodeProcess.launch(dataOf(0), { flags: flags(0) })).ended())).toMatchObject({ code: 7, stderr: expect.stringContaining("bellhop control import") });
  const files: string[] = [];
  for (const place of [0, 1, 2]) {
    const { code, stdout } = await bellhop(["control", "export", "--data", dataOf(place)]);
    expect(code).toBe(0);
    files.push(join(folder.path, `n${place + 1}.control`));
    writeFileSync(files.at(-1)!, stdout);
  }
  const importing = ["control", "import", ...files, "--cluster", "test", "--etcd", etcd.endpoints.join(",")];
  expect(await inTime(() => bellhop(importing))).toMatchObject({ code: 0, stdout: expect.stringContaining("start the nodes") });
  expect(await inTime(() => bellhop(importing))).toMatchObject({ code: 4, stderr: expect.stringContaining("has a control log of the cluster test already") });
  const old = [...nodes];
  await Promise.all(old.map(async (node, place) => (nodes[place] = await startNode(dataOf(place), { flags: flags(place), inPlaceOf: node }))));
  await publish(nodes[1]!, "restored");
  await whole(nodes[2]!);
  await expectEverywhere(["alone", "first", "third", "no-etcd", "restored"]);
});

test("the last whole copies are lost: nothing is taken until an operator accepts it", { timeout: 5 * PATIENCE_MS }, async () => {
  await Promise.all(nodes.map((node) => node.stop("SIGKILL")));
  for (const place of [0, 1, 2]) rmSync(dataOf(place), { recursive: true });
  const old = [...nodes];
  await Promise.all(old.map(async (node, place) => (nodes[place] = await startNode(dataOf(place), { flags: flags(place), inPlaceOf: node }))));
  const at = ["--at", nodes[0]!.http];
  const { json } = await eventually(() => ask(nodes[0]!.http, "GET", "/v1/cluster"), (reply) => reply.json.dark.buckets.filter(({ state }: { state: string }) => state === "dark").length === 4);
  expect(json.dark.count).toBe(4);
  expect((await bellhop(["status", ...at])).stdout).toContain("accept the loss");
  expect(await bellhop(["recover", "0", ...at])).toMatchObject({ code: 4, stderr: expect.stringContaining("lost would be") });
  for (const bucket of ["0", "1", "2", "3"]) expect((await bellhop(["recover", bucket, "--accept-loss", ...at])).stderr).toBe("");
  await whole(nodes[1]!);
  await publish(nodes[1]!, "anew");
  await expectEverywhere(["anew"]);
});

// A cluster of three real processes: whatever node is killed or frozen, what was answered is in the stream, once, on every node.

import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, expect, test } from "vitest";
import { call } from "../http/broker.ts";
import { startDev, type DevCluster, type DevNode } from "./dev.ts";
import { eventually, PATIENCE_MS } from "./eventually.ts";
import { ask } from "./steady.ts";

const DEVICES = Array.from({ length: 6 }, (_, i) => `lamp-${i}`);

let cluster: DevCluster;
beforeAll(async () => {
  cluster = await startDev(3);
}, 2 * PATIENCE_MS);
afterAll(() => cluster.stop());

/** Publishes numbers to a device, one after the other, each through the next of these nodes, with its key until it is answered. */
async function publish(device: string, nodes: readonly DevNode[], from: number, until: () => boolean): Promise<number> {
  let number = from;
  for (let tries = 0; !until(); tries += 1) {
    const { http } = nodes[tries % nodes.length]!;
    const headers = { "idempotency-key": `k${number}`, "content-type": "text/plain" };
    const reply = await call(http, "POST", `/v1/devices/${device}/messages`, { body: String(number), headers }).catch(() => undefined);
    if (reply?.status === 201 || reply?.status === 200) number += 1;
    else {
      expect([undefined, 503, 429]).toContain(reply?.status);
      await sleep(20);
    }
  }
  return number;
}

async function stored(node: DevNode, device: string): Promise<number[]> {
  const numbers: number[] = [];
  for (let after = "0"; ; ) {
    const reply = await ask(node.http, "GET", `/v1/devices/${device}/stream?after=${after}&limit=1000&type=downlink`);
    expect(reply.status).toBe(200);
    for (const { payload } of reply.json.entries as { payload: string }[]) numbers.push(Number(payload));
    if (reply.json.next === after) return numbers;
    after = reply.json.next as string;
  }
}

test.each(["SIGSTOP", "SIGKILL"] as const)("a node gets %s under load: the others go on, it comes back, nothing is lost or doubled", { timeout: 5 * PATIENCE_MS }, async (signal) => {
  const run = `${signal}-`;
  const victim = cluster.nodes[0]!;
  const others = cluster.nodes.slice(1);
  let stop = false;
  const publishing = DEVICES.map((device) => publish(run + device, others, 0, () => stop));
  expect(await eventually(() => entriesOf(others[0]!), (count) => count > 300)).toBeGreaterThan(300);
  const pid = await cluster.pidOf(victim.id);
  process.kill(pid, signal);
  const atKill = await entriesOf(others[1]!);
  expect(await eventually(() => entriesOf(others[1]!), (count) => count > atKill + 300)).toBeGreaterThan(atKill + 300);
  if (signal === "SIGSTOP") process.kill(pid, "SIGCONT");
  const devices = DEVICES.map((device) => run + device);
  expect(await eventually(() => isMemberFor(devices, others[0]!, victim.id), Boolean)).toBe(true);
  stop = true;
  const counts = await Promise.all(publishing);
  for (const node of cluster.nodes) {
    for (const [place, device] of DEVICES.entries()) {
      const expected = Array.from({ length: counts[place]! }, (_, number) => number);
      expect(await eventually(() => stored(node, run + device), (numbers) => numbers.length === expected.length)).toEqual(expected);
    }
  }
});

async function entriesOf(node: DevNode): Promise<number> {
  const reply = await ask(node.http, "GET", "/v1/status");
  return reply.json.numbers.entries_total as number;
}

/** Whether the node is in the government of each of these devices' buckets, as this one sees it. */
async function isMemberFor(devices: readonly string[], node: DevNode, id: string): Promise<boolean> {
  const replies = await Promise.all(devices.map((device) => ask(node.http, "GET", `/v1/devices/${device}/explain`)));
  return replies.every((reply) => (reply.json.members as string[]).includes(id));
}

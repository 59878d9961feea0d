// What an operator does to a running cluster: drain, stop, settings. Publishers and devices see a pause, never an error (C1, C2, R19).

import { afterAll, beforeAll, expect, test } from "vitest";
import { connect } from "../../clients/device/src/index.ts";
import { call, type Reply } from "../http/broker.ts";
import { startDev, type DevCluster, type DevNode } from "./dev.ts";
import { eventually, PATIENCE_MS } from "./eventually.ts";
import { ask, unlessDeparted } from "./steady.ts";

const DEVICES = Array.from({ length: 12 }, (_, i) => `lamp-${i}`);

/** A pause is what a loaded machine makes of it: it is no error before the test's own patience ends. */
const NEVER_LATE = { BELLHOP_PUBLISH_SECONDS: String(PATIENCE_MS / 1000), BELLHOP_OVERLOAD_SECONDS: String(PATIENCE_MS / 1000) };

let cluster: DevCluster;
beforeAll(async () => {
  cluster = await startDev(3, NEVER_LATE);
}, 2 * PATIENCE_MS);
afterAll(() => cluster.stop());

interface ClusterNode {
  readonly node: string;
  readonly state: string;
  readonly incarnation: number;
  readonly leads: number;
  readonly copies: number;
}

async function seen(at: DevNode, id: string): Promise<ClusterNode> {
  return ((await ask(at.http, "GET", "/v1/cluster")).json.nodes as ClusterNode[]).find(({ node }) => node === id)!;
}

async function whole(at: DevNode): Promise<Reply> {
  return eventually(() => ask(at.http, "GET", "/v1/cluster"), ({ json }) => json.incomplete === 0 && json.dark.count === 0);
}

/** 201, or 200 where the node itself sent it again to the new leader and the old one had stored it. */
const STORED = [200, 201];

/** Publishes without a pause to every device through the node; answers what came beside "stored", and how many were. */
function publishing(run: string, through: DevNode): { stop(): Promise<{ readonly refusals: string[]; readonly stored: number }> } {
  let over = false;
  const refusals = new Set<string>();
  let stored = 0;
  const all = DEVICES.map(async (device) => {
    for (let number = 0; !over; number += 1) {
      const sent = call(through.http, "POST", `/v1/devices/${run}${device}/messages`, { body: String(number), headers: { "content-type": "text/plain" } });
      const refusal = await sent.then(({ status, json }) => (STORED.includes(status) ? "" : `${status} ${json.code}: ${json.detail}`), (error: Error) => error.message);
      if (refusal === "") stored += 1;
      else refusals.add(refusal);
    }
  });
  return {
    async stop() {
      over = true;
      await Promise.all(all);
      return { refusals: [...refusals], stored };
    },
  };
}

test("a drained node hands over every bucket under load without an error, and gets them again", { timeout: 5 * PATIENCE_MS }, async () => {
  const [first, second] = [cluster.nodes[0]!, cluster.nodes[1]!];
  await unlessDeparted(first.http, cluster.nodes.map(({ id }) => id), async (attempt) => {
    const load = publishing(`drain-${attempt}-`, first);
    try {
      expect((await ask(first.http, "POST", `/v1/nodes/${second.id}/drain`)).status).toBe(200);
      expect(await eventually(() => seen(first, second.id), ({ copies }) => copies === 0)).toMatchObject({ state: "draining", leads: 0, copies: 0 });
    } finally {
      const { refusals, stored } = await load.stop();
      expect(refusals).toEqual([]);
      expect(stored).toBeGreaterThan(DEVICES.length);
    }
    expect((await ask(first.http, "PATCH", "/v1/cluster", { body: JSON.stringify({ minCopies: 3 }) })).json).toMatchObject({ code: "unsafe" });
    expect((await ask(first.http, "DELETE", `/v1/nodes/${second.id}`)).json).toMatchObject({ code: "still_running", retryable: true });
    expect((await ask(first.http, "POST", `/v1/nodes/${second.id}/drain?cancel=true`)).status).toBe(200);
  });
  expect((await whole(first)).json).toMatchObject({ incomplete: 0 });
});

test("a node that is stopped in order: publishers at the others get no error, its device goes elsewhere, it comes back", { timeout: 5 * PATIENCE_MS }, async () => {
  const [first, second, third] = cluster.nodes as [DevNode, DevNode, DevNode];
  await unlessDeparted(first.http, [first.id, second.id], async (attempt) => {
    expect((await whole(first)).json).toMatchObject({ incomplete: 0 }); // hand-over needs whom to hand to
    const { incarnation } = await seen(first, third.id);
    const device = connect({ brokers: [third.device, second.device], device: `at-third-${attempt}` });
    await device.publish("before");
    const load = publishing(`stop-${attempt}-`, first);
    try {
      process.kill(await cluster.pidOf(third.id), "SIGTERM");
      await eventually(() => seen(first, third.id), ({ copies }) => copies === 0);
      await device.publish("meanwhile");
      await eventually(() => seen(first, third.id), ({ state }) => state === "departed");
      await eventually(() => seen(first, third.id), ({ state }) => state === "live"); // the load goes on without it, and while it comes back
    } finally {
      const { refusals, stored } = await load.stop();
      expect(refusals).toEqual([]);
      expect(stored).toBeGreaterThan(DEVICES.length);
      await device.close();
    }
    expect(await eventually(() => seen(first, third.id), (node) => node.incarnation > incarnation && node.state === "live" && node.copies > 0)).toMatchObject({ state: "live" });
  });
  expect((await whole(first)).json).toMatchObject({ incomplete: 0, dark: { count: 0 } });
});

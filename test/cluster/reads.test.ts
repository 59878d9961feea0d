// Five nodes and three copies: whichever node is asked about whichever device answers, also where it has no copy of it, shows what it was told, and follows without a gap when nodes die.

import { rmSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { connect } from "../../clients/device/src/index.ts";
import { call, follow, type Call, type Events, type Reply } from "../http/broker.ts";
import { startDev, type DevCluster, type DevNode } from "./dev.ts";
import { eventually, PATIENCE_MS } from "./eventually.ts";

const DEVICES = Array.from({ length: 12 }, (_, i) => `lamp-${i}`);
const TEXT = { "content-type": "text/plain" };
const JSON_BODY = { "content-type": "application/json" };

let cluster: DevCluster;
beforeAll(async () => {
  cluster = await startDev(5);
}, PATIENCE_MS);
afterAll(() => cluster.stop());

/** An answer other than these is a failure that shows what it was. */
async function ask(node: DevNode, method: string, path: string, options: Call = {}, ...wanted: readonly number[]): Promise<Reply> {
  const reply = await call(node.http, method, path, options);
  if (!(wanted.length === 0 ? [200] : wanted).includes(reply.status)) throw new Error(`${method} ${path} at ${node.id}: ${reply.status} ${reply.text}`);
  return reply;
}

async function publish(node: DevNode, device: string, text: string): Promise<string> {
  const reply = await ask(node, "POST", `/v1/devices/${device}/messages`, { body: text, headers: { ...TEXT, "idempotency-key": text.replaceAll(" ", "-") } }, 200, 201);
  return reply.json.offset as string;
}

interface Place {
  readonly leader: DevNode;
  readonly followers: readonly DevNode[];
  readonly without: readonly DevNode[];
}

async function placeOf(device: string, by: DevNode): Promise<Place> {
  const { json } = await ask(by, "GET", `/v1/devices/${device}/explain`);
  const members = json.members as string[];
  const leader = cluster.nodes.find(({ id }) => id === json.leader)!;
  const followers = cluster.nodes.filter(({ id }) => members.includes(id) && id !== json.leader);
  return { leader, followers, without: cluster.nodes.filter(({ id }) => !members.includes(id)) };
}

test("every node is asked about devices that it leads, follows and has no copy of", { timeout: PATIENCE_MS }, async () => {
  const seen = new Map(cluster.nodes.map(({ id }) => [id, new Set<string>()]));
  for (const device of DEVICES) {
    await publish(cluster.nodes[0]!, device, "made");
    const { leader, followers, without } = await placeOf(device, cluster.nodes[0]!);
    expect([followers.length, without.length]).toEqual([2, 2]);
    seen.get(leader.id)!.add("leads");
    for (const { id } of followers) seen.get(id)!.add("follows");
    for (const { id } of without) seen.get(id)!.add("without");
  }
  for (const places of seen.values()) expect(places).toContain("without");
});

test("through every node every call about every device answers, and shows at once what that node has answered", { timeout: 2 * PATIENCE_MS }, async () => {
  for (const node of cluster.nodes) {
    const other = cluster.nodes[(cluster.nodes.indexOf(node) + 2) % cluster.nodes.length]!;
    for (const device of DEVICES) {
      const path = `/v1/devices/${device}`;
      const offset = await publish(node, device, `by ${node.id}`);
      const page = await ask(node, "GET", `${path}/stream?after=${Number(offset) - 1}`);
      expect(page.json.entries, `${device} at ${node.id}`).toMatchObject([{ offset, payload: `by ${node.id}` }]);
      expect((await ask(node, "GET", path)).json.end).toBe(offset);

      const changed = (await ask(node, "PATCH", `${path}/state`, { body: JSON.stringify({ by: node.id }), headers: JSON_BODY })).json as { version: number; offset: string };
      expect((await ask(node, "GET", `${path}/state`)).json.desired).toEqual({ version: changed.version, offset: changed.offset, document: { by: node.id } });
      expect((await ask(other, "GET", `${path}/state?at=${changed.offset}`)).json.desired.version).toBe(changed.version);
      const stale = await ask(node, "PUT", `${path}/state`, { body: "{}", headers: { ...JSON_BODY, "if-match": `"desired-${changed.version - 1}"` } }, 412);
      expect(stale.json.code).toBe("version_conflict");

      expect((await ask(node, "GET", `${path}/explain?offset=${offset}`)).json).toMatchObject({ device, offset: { is: "stored", entry: { payload: `by ${node.id}` } } });
      await ask(node, "POST", `${path}/credentials`, { body: JSON.stringify({ name: node.id }), headers: JSON_BODY }, 201);
      expect((await ask(node, "GET", `${path}/credentials`)).json.credentials).toMatchObject([{ name: node.id }]);
      await ask(node, "DELETE", `${path}/credentials/${node.id}`, {}, 204);
      expect((await ask(node, "GET", `${path}/credentials`)).json.credentials).toEqual([]);

      const lines = (await ask(node, "GET", `${path}/stream`, { headers: { accept: "application/x-ndjson" } })).text.trim().split("\n");
      expect(lines.map((line) => Number((JSON.parse(line) as { offset: string }).offset))).toEqual(Array.from({ length: Number(changed.offset) }, (_, i) => i + 1));

      const polled = ask(other, "GET", `${path}/stream?after=${changed.offset}&wait=20s`);
      const late = await publish(node, device, `late by ${node.id}`);
      expect((await polled).json.entries).toMatchObject([{ offset: late }]);
    }
    await ask(node, "PUT", `/v1/devices/new-${node.id}`, {}, 201);
    expect((await ask(node, "GET", `/v1/devices/new-${node.id}`)).json.end).toBe("0");
    const listed: string[] = [];
    for (let after = ""; ; ) {
      const { json } = await ask(node, "GET", `/v1/devices?limit=5&after=${after}`);
      listed.push(...(json.devices as { device: string }[]).map(({ device }) => device));
      if (json.next === null) break;
      after = json.next as string;
    }
    expect(listed.filter((device) => device.startsWith("lamp-")).sort()).toEqual([...DEVICES].sort());
    await ask(node, "DELETE", `/v1/devices/new-${node.id}`, {}, 204);
    expect((await ask(node, "GET", `/v1/devices/new-${node.id}`, {}, 404)).json.code).toBe("unknown_device");
  }
});

test("a device on a node without a copy gets its messages and its state, and its presence is seen", { timeout: PATIENCE_MS }, async () => {
  for (const device of DEVICES.slice(0, 4)) {
    const { leader, without } = await placeOf(device, cluster.nodes[0]!);
    const gateway = without[0]!;
    const client = connect({ brokers: gateway.device, device });
    await client.publish("up");
    expect((await ask(without[1]!, "GET", `/v1/devices/${device}`)).json.connected).toBe(true);
    const texts: string[] = [];
    await publish(leader, device, "down 1");
    await publish(gateway, device, "down 2");
    for await (const message of client) {
      texts.push(message.text());
      if (message.text() === "down 2") break;
    }
    expect(texts.slice(-2)).toEqual(["down 1", "down 2"]);
    const { json } = await ask(without[1]!, "PATCH", `/v1/devices/${device}/state`, { body: `{"light":"${device}"}`, headers: JSON_BODY });
    expect(await eventually(async () => client.state.desired, (desired) => desired?.version === json.version)).toMatchObject({ version: json.version, document: { light: device } });
    await client.close();
    expect(await eventually(async () => (await ask(without[1]!, "GET", `/v1/devices/${device}`)).json.connected as boolean, (connected) => !connected)).toBe(false);
  }
});

test("streams that are followed everywhere go on without a gap or a double when a follower is killed, and then the leader", { timeout: 2 * PATIENCE_MS }, async () => {
  const device = DEVICES[5]!;
  const { leader, followers, without } = await placeOf(device, cluster.nodes[0]!);
  const from = Number(await publish(leader, device, "begin"));
  const [killed, survivor] = followers as [DevNode, DevNode];
  const gateway = without[0]!;
  const followed = new Map<DevNode, number[]>();
  const streams: Events[] = [];
  for (const node of [survivor, ...without]) {
    const events = await follow(node.http, `/v1/devices/${device}/stream?after=${from}`, {});
    const offsets: number[] = [];
    followed.set(node, offsets);
    streams.push(events);
    const read = async (): Promise<void> => {
      for (let event = await events.next(); event !== undefined; event = await events.next()) offsets.push(event.event === "message" ? Number(event.id) : -1);
    };
    read().catch(() => undefined); // closed below
  }
  let last = from;
  let number = 0;
  const publishSome = async (count: number): Promise<void> => {
    const until = last + count;
    while (last < until) {
      const key = `k${number}`;
      const reply = await call(gateway.http, "POST", `/v1/devices/${device}/messages`, { body: key, headers: { ...TEXT, "idempotency-key": key } });
      if (reply.status !== 201 && reply.status !== 200) continue;
      number += 1;
      last = Number(reply.json.offset);
    }
  };
  await publishSome(20);
  for (const victim of [killed, leader]) {
    process.kill(victim.pid, "SIGKILL");
    await publishSome(50);
  }
  const expected = Array.from({ length: last - from }, (_, i) => from + 1 + i);
  for (const [node, offsets] of followed) {
    expect(await eventually(async () => [...offsets], ({ length }) => length >= expected.length), node.id).toEqual(expected);
  }
  for (const events of streams) events.close();
});

test("a node that comes back with nothing answers about every device as soon as it is there", { timeout: 2 * PATIENCE_MS }, async () => {
  const victim = cluster.nodes.find(({ pid }) => isRunning(pid))!;
  const other = cluster.nodes.find((node) => node !== victim && isRunning(node.pid))!;
  process.kill(victim.pid, "SIGKILL");
  rmSync(join(cluster.data, victim.id), { recursive: true });
  const ends = await Promise.all(DEVICES.map(async (device) => eventually(async () => (await call(other.http, "GET", `/v1/devices/${device}`, {})).json, (view) => view.end !== undefined)));
  await eventually(async () => (await call(victim.http, "GET", "/livez", {}).catch(() => undefined))?.status, (status) => status === 200);
  for (const [place, device] of DEVICES.entries()) {
    const { json } = await ask(victim, "GET", `/v1/devices/${device}`);
    expect(Number(json.end)).toBeGreaterThanOrEqual(Number(ends[place].end));
  }
});

function isRunning(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch {
    return false;
  }
}

// Five nodes and three copies: whichever node is asked about whichever device answers, also where it has no copy of it, shows what it was told, and follows without a gap when nodes die.

import { rmSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { connect } from "../../clients/device/src/index.ts";
import { follow, type Call, type Events, type Reply } from "../http/broker.ts";
import { startDev, type DevCluster, type DevNode } from "./dev.ts";
import { eventually, PATIENCE_MS } from "./eventually.ts";
import { ask as askAt, incarnations, unlessDeparted } from "./steady.ts";

const DEVICES = Array.from({ length: 12 }, (_, i) => `lamp-${i}`);
const TEXT = { "content-type": "text/plain" };
const JSON_BODY = { "content-type": "application/json" };

let cluster: DevCluster;
beforeAll(async () => {
  cluster = await startDev(5);
}, 2 * PATIENCE_MS);
afterAll(() => cluster.stop());

/** Runs it again where one of the nodes was departed meanwhile. */
const steadily = <T>(run: (attempt: number) => Promise<T>): Promise<T> => unlessDeparted(cluster.nodes[0]!.http, cluster.nodes.map(({ id }) => id), run);

/** An answer other than these is a failure that shows what it was. */
async function ask(node: DevNode, method: string, path: string, options: Call = {}, ...wanted: readonly number[]): Promise<Reply> {
  const reply = await askAt(node.http, method, path, options);
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

/** With its copies: one that was departed is replaced first. */
async function placeOf(device: string, by: DevNode): Promise<Place> {
  const explained = async () => (await ask(by, "GET", `/v1/devices/${device}/explain`)).json as { leader: string | null; members: string[] };
  const { leader, members } = await eventually(explained, (found) => found.leader !== null && found.members.length === 3);
  const followers = cluster.nodes.filter(({ id }) => members.includes(id) && id !== leader);
  return { leader: cluster.nodes.find(({ id }) => id === leader)!, followers, without: cluster.nodes.filter(({ id }) => !members.includes(id)) };
}

test("every node is asked about devices that it leads, follows and has no copy of", { timeout: 5 * PATIENCE_MS }, async () => {
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

test("through every node every call about every device answers, and shows at once what that node has answered", { timeout: 5 * PATIENCE_MS }, async () => {
  for (const node of cluster.nodes) {
    const other = cluster.nodes[(cluster.nodes.indexOf(node) + 2) % cluster.nodes.length]!;
    for (const device of DEVICES) await steadily((attempt) => everyCall(node, other, device, attempt));
    await steadily(() => makeListAndRemove(node));
  }
});

async function everyCall(node: DevNode, other: DevNode, device: string, attempt: number): Promise<void> {
  const path = `/v1/devices/${device}`;
  const text = `by ${node.id} ${attempt}`;
  const offset = await publish(node, device, text);
  const page = await ask(node, "GET", `${path}/stream?after=${Number(offset) - 1}`);
  expect(page.json.entries, `${device} at ${node.id}`).toMatchObject([{ offset, payload: text }]);
  expect((await ask(node, "GET", path)).json.end).toBe(offset);

  const changed = (await ask(node, "PATCH", `${path}/state`, { body: JSON.stringify({ by: node.id }), headers: JSON_BODY })).json as { version: number; offset: string };
  expect((await ask(node, "GET", `${path}/state`)).json.desired).toEqual({ version: changed.version, offset: changed.offset, document: { by: node.id } });
  expect((await ask(other, "GET", `${path}/state?at=${changed.offset}`)).json.desired.version).toBe(changed.version);
  const stale = await ask(node, "PUT", `${path}/state`, { body: "{}", headers: { ...JSON_BODY, "if-match": `"desired-${changed.version - 1}"` } }, 412);
  expect(stale.json.code).toBe("version_conflict");

  expect((await ask(node, "GET", `${path}/explain?offset=${offset}`)).json).toMatchObject({ device, offset: { is: "stored", entry: { payload: text } } });
  const name = `${node.id}-${attempt}`;
  await ask(node, "POST", `${path}/credentials`, { body: JSON.stringify({ name }), headers: JSON_BODY }, 201);
  expect((await ask(node, "GET", `${path}/credentials`)).json.credentials).toContainEqual(expect.objectContaining({ name }));
  await ask(node, "DELETE", `${path}/credentials/${name}`, {}, 204);
  expect((await ask(node, "GET", `${path}/credentials`)).json.credentials).not.toContainEqual(expect.objectContaining({ name }));

  const lines = (await ask(node, "GET", `${path}/stream`, { headers: { accept: "application/x-ndjson" } })).text.trim().split("\n");
  expect(lines.map((line) => Number((JSON.parse(line) as { offset: string }).offset))).toEqual(Array.from({ length: Number(changed.offset) }, (_, i) => i + 1));

  const polled = ask(other, "GET", `${path}/stream?after=${changed.offset}&wait=20s`);
  const late = await publish(node, device, `late ${text}`);
  expect((await polled).json.entries).toMatchObject([{ offset: late }]);
}

async function makeListAndRemove(node: DevNode): Promise<void> {
  await ask(node, "PUT", `/v1/devices/new-${node.id}`, {}, 200, 201);
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

test("a device on a node without a copy gets its messages and its state, and its presence is seen", { timeout: 5 * PATIENCE_MS }, async () => {
  for (const device of DEVICES.slice(0, 4)) await steadily((attempt) => farFromItsCopies(device, attempt));
});

async function farFromItsCopies(device: string, attempt: number): Promise<void> {
  const { leader, without } = await placeOf(device, cluster.nodes[0]!);
  const gateway = without[0]!;
  const client = connect({ brokers: gateway.device, device });
  try {
    await client.publish("up");
    expect((await ask(without[1]!, "GET", `/v1/devices/${device}`)).json.connected).toBe(true);
    const texts: string[] = [];
    const wanted = [`down 1 ${attempt}`, `down 2 ${attempt}`];
    await publish(leader, device, wanted[0]!);
    await publish(gateway, device, wanted[1]!);
    for await (const message of client) {
      texts.push(message.text());
      if (message.text() === wanted[1]) break;
    }
    expect(texts.slice(-2)).toEqual(wanted);
    const { json } = await ask(without[1]!, "PATCH", `/v1/devices/${device}/state`, { body: `{"light":"${device}"}`, headers: JSON_BODY });
    expect(await eventually(async () => client.state.desired, (desired) => desired?.version === json.version)).toMatchObject({ version: json.version, document: { light: device } });
  } finally {
    await client.close();
  }
  expect(await eventually(async () => (await ask(without[1]!, "GET", `/v1/devices/${device}`)).json.connected as boolean, (connected) => !connected)).toBe(false);
}

/** A reader that goes on after the last event it had, as a browser does. */
class Follower {
  readonly offsets: number[] = [];
  /** Streams that ended under it. */
  ends = 0;
  readonly #node: DevNode;
  readonly #path: string;
  #events: Events | undefined;
  #closed = false;

  private constructor(node: DevNode, path: string) {
    this.#node = node;
    this.#path = path;
  }

  /** Resolves when it follows. */
  static async start(node: DevNode, device: string, from: number): Promise<Follower> {
    const follower = new Follower(node, `/v1/devices/${device}/stream?after=`);
    await follower.#open(from);
    void follower.#read(from);
    return follower;
  }

  close(): void {
    this.#closed = true;
    this.#events?.close();
  }

  async #open(after: number): Promise<void> {
    this.#events = await eventually(() => follow(this.#node.http, `${this.#path}${after}`, {}).catch(() => undefined), (events) => events !== undefined || this.#closed);
  }

  async #read(from: number): Promise<void> {
    while (!this.#closed) {
      const event = await this.#events?.next().catch(() => undefined);
      if (event !== undefined) this.offsets.push(event.event === "message" ? Number(event.id) : -1);
      else if (!this.#closed) {
        this.ends += 1;
        await this.#open(this.offsets.at(-1) ?? from);
      }
    }
  }
}

test("streams that are followed everywhere go on without a gap or a double when a follower is killed, and then the leader", { timeout: 5 * PATIENCE_MS }, async () => {
  const device = DEVICES[5]!;
  const { leader, followers, without } = await placeOf(device, cluster.nodes[0]!);
  const from = Number(await publish(leader, device, "begin"));
  const [killed, survivor] = followers as [DevNode, DevNode];
  const gateway = without[0]!;
  const readers = [survivor, ...without];
  const begun = await incarnations(gateway.http, readers.map(({ id }) => id));
  const followed = await Promise.all(readers.map(async (node) => Follower.start(node, device, from)));
  let last = from;
  let number = 0;
  const publishSome = async (count: number): Promise<void> => {
    const until = last + count;
    for (; last < until; number += 1) last = Number(await publish(gateway, device, `k${number}`));
  };
  await publishSome(20);
  for (const victim of [killed, leader]) {
    await cluster.kill(victim.id);
    await publishSome(50);
  }
  const expected = Array.from({ length: last - from }, (_, i) => from + 1 + i);
  for (const [place, { offsets }] of followed.entries()) {
    expect(await eventually(async () => [...offsets], ({ length }) => length >= expected.length), readers[place]!.id).toEqual(expected);
  }
  const wereSteady = (await incarnations(gateway.http, readers.map(({ id }) => id))) === begun;
  if (wereSteady) expect(followed.map(({ ends }) => ends)).toEqual(followed.map(() => 0)); // it is the leader that moved, and not the reader
  for (const follower of followed) follower.close();
});

test("a node that comes back with nothing answers about every device as soon as it is there", { timeout: 5 * PATIENCE_MS }, async () => {
  const [victim, other] = cluster.nodes as [DevNode, DevNode];
  for (const device of DEVICES) await publish(other, device, "before"); // each is known, and its bucket has a leader
  const ends = await Promise.all(DEVICES.map(async (device) => (await ask(other, "GET", `/v1/devices/${device}`)).json.end as string));
  await cluster.kill(victim.id);
  rmSync(join(cluster.data, victim.id), { recursive: true });
  for (const [place, device] of DEVICES.entries()) {
    const { json } = await ask(victim, "GET", `/v1/devices/${device}`);
    expect(Number(json.end)).toBeGreaterThanOrEqual(Number(ends[place]));
  }
});

// What an operator sees: nodes, buckets and the decisions behind them; and what became of one message.

import { afterAll, beforeAll, expect, test } from "vitest";
import { connect } from "../../clients/device/src/index.ts";
import { runBroker, type RunningBroker } from "./broker.ts";

let broker: RunningBroker;
beforeAll(async () => {
  broker = await runBroker();
});
afterAll(() => broker.stop());

test("the cluster has its nodes and what they hold", async () => {
  const { json } = await broker.call("GET", "/v1/cluster");
  expect(json).toMatchObject({ copies: 1, minCopies: 1, buckets: 4, plans: [] });
  expect(json.nodes).toMatchObject([{ node: "n1", state: "live", incarnation: 1, leads: 4, copies: 4 }]);
});

test("what would stop writes or lose data is refused with its reason", async () => {
  const asked = async (method: string, path: string, body?: object) => (await broker.call(method, path, body === undefined ? {} : { body: JSON.stringify(body) })).json as { code?: string; detail?: string };
  expect(await asked("POST", "/v1/nodes/n1/drain")).toMatchObject({ code: "unsafe", detail: expect.stringContaining("0 nodes to hold copies") });
  expect(await asked("DELETE", "/v1/nodes/n1")).toMatchObject({ code: "still_running", retryable: true });
  expect(await asked("DELETE", "/v1/nodes/n7")).toMatchObject({ code: "not_found", detail: expect.stringContaining("n1") });
  expect(await asked("PATCH", "/v1/cluster", { copies: 3, minCopies: 2 })).toMatchObject({ code: "unsafe", detail: expect.stringContaining("4 buckets (0, 1, 2, 3) have fewer than 2 copies") });
  expect(await asked("PATCH", "/v1/cluster", { copies: 2 })).toMatchObject({ code: "bad_request" });
  expect(await asked("PATCH", "/v1/cluster", { minCopies: 3 })).toMatchObject({ code: "bad_request" });
  expect(await asked("POST", "/v1/buckets/1/recover", { acceptLoss: true })).toMatchObject({ code: "unsafe", detail: expect.stringContaining("not dark") });
  expect(await asked("POST", "/v1/buckets/1/recover", {})).toMatchObject({ code: "bad_request" });
  expect(await asked("POST", "/v1/buckets/9/recover", { acceptLoss: true })).toMatchObject({ code: "not_found" });
});

test("the buckets come by page", async () => {
  const first = (await broker.call("GET", "/v1/buckets?limit=3")).json;
  expect(first).toMatchObject({ next: "2", buckets: [{ bucket: 0, leader: "n1", state: "on", members: ["n1"] }, { bucket: 1 }, { bucket: 2 }] });
  expect((await broker.call("GET", "/v1/buckets?after=2")).json).toMatchObject({ next: null, buckets: [{ bucket: 3 }] });
});

test("a copy's digest moves with what is applied, and is the same when asked again", async () => {
  const digestsOf = async (): Promise<{ applied: number; digest: string }[]> => Promise.all([0, 1, 2, 3].map(async (bucket) => (await broker.call("GET", `/v1/buckets/${bucket}/digest`)).json));
  const before = await digestsOf();
  expect(await digestsOf()).toEqual(before);
  const body = { body: "on", headers: { "content-type": "text/plain" } };
  expect((await broker.call("POST", "/v1/devices/digested/messages", body)).status).toBe(201);
  const after = await digestsOf();
  const moved = after.filter(({ digest }, bucket) => digest !== before[bucket]!.digest);
  expect(moved).toHaveLength(1);
  expect(after.filter(({ applied }, bucket) => applied > before[bucket]!.applied)).toEqual(moved);
  expect((await broker.call("GET", "/v1/buckets/4/digest")).status).toBe(404);
});

test("the control log tells every decision, in order, by page", async () => {
  const { position } = (await broker.call("GET", "/v1/cluster")).json as { position: string };
  const types: string[] = [];
  let after = "0";
  for (;;) {
    const page = (await broker.call("GET", `/v1/control-log?after=${after}&limit=1`)).json as { entries: { position: string; commands: { type: string }[] }[]; next: string };
    if (page.entries.length === 0) break;
    expect(Number(page.entries[0]?.position)).toBeGreaterThan(Number(after));
    types.push(...page.entries.flatMap(({ commands }) => commands.map(({ type }) => type)));
    after = page.next;
  }
  expect(after).toBe(position);
  expect(types.slice(0, 2)).toEqual(["register", "begin"]);
  expect((await broker.call("GET", `/v1/control-log?after=${position}`)).json).toMatchObject({ entries: [], next: position });
});

test("explain tells of one offset where it is, what became of it, and why it waits", async () => {
  const send = async (body: string, headers: Record<string, string> = {}): Promise<string> =>
    (await broker.call("POST", "/v1/devices/why/messages", { body, headers: { "content-type": "text/plain", ...headers } })).json.offset as string;
  const explained = async (query: string) => (await broker.call("GET", `/v1/devices/why/explain?${query}`)).json.offset as Record<string, unknown>;
  const first = await send("unlock", { "idempotency-key": "order-1" });
  expect(await explained(`offset=${first}`)).toMatchObject({ is: "stored", delivered: false, handled: false, expired: false, waits: "not_connected", entry: { payload: "unlock" } });
  const byKey = await explained("key=order-1");
  expect(byKey).toMatchObject({ offset: first, is: "stored", index: expect.stringMatching(/^\d+$/), bucket: expect.any(Number) });

  const device = connect({ brokers: broker.device, device: "why" });
  for await (const message of device) {
    expect(new TextDecoder().decode(message.payload)).toBe("unlock");
    break;
  }
  while ((await explained(`offset=${first}`))["delivered"] !== true) await broker.call("GET", "/livez");
  expect(await explained(`offset=${first}`)).toMatchObject({ delivered: true, waits: null });
  await device.close();

  const expires = await send("short", { "bellhop-expires": "1" });
  expect(await explained(`offset=${expires}`)).toMatchObject({ expired: false, entry: { expires: expect.stringMatching(/Z$/) } });
  while ((await explained(`offset=${expires}`))["expired"] !== true) await broker.call("GET", "/livez"); // a second passes
  expect(await explained(`offset=${expires}`)).toMatchObject({ expired: true, delivered: false, waits: null });
  expect(await explained("offset=999")).toEqual({ offset: "999", is: "absent" });
});

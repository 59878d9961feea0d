// Servers with a series of their own over HTTP: sessions by nonce, numbers in order, duplicates, gaps, spent numbers, questions.

import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { runBroker, type Reply, type RunningBroker } from "./broker.ts";

let broker: RunningBroker;
beforeAll(async () => {
  broker = await runBroker({ maxPayloadBytes: 1000, sessionsPerDevice: 3, window: 4 });
});
afterAll(() => broker.stop());

let devices = 0;
const newDevice = (): string => `p${(devices += 1)}`;

const open = (device: string, body: object): Promise<Reply> =>
  broker.call("POST", `/v1/devices/${device}/publishers`, { body: JSON.stringify(body), headers: { "content-type": "application/json" } });

const put = (device: string, session: string, series: number | string, body: string | Uint8Array = `number ${series}`, headers: Record<string, string> = {}): Promise<Reply> =>
  broker.call("PUT", `/v1/devices/${device}/publishers/${session}/messages/${series}`, { body, headers: { "content-type": "text/plain", ...headers } });

const ask = async (device: string, session: string, series: number): Promise<string> => {
  const reply = await broker.call("GET", `/v1/devices/${device}/publishers/${session}/messages/${series}`);
  expect([reply.status, reply.json]).toMatchObject([200, { device, session, series: String(series), position: expect.stringMatching(/^\d+$/) as string }]);
  return (reply.json as { is: string }).is;
};

const opened = async (device: string, nonce = "5", more: object = {}): Promise<string> => {
  const reply = await open(device, { publisher: "billing", nonce, ...more });
  expect(reply.status).toBe(200);
  return (reply.json as { session: string }).session;
};

const payloads = async (device: string): Promise<unknown[]> => {
  const reply = await broker.call("GET", `/v1/devices/${device}/stream`);
  return (reply.json as { entries: { series?: string; publisher: string; payload: unknown }[] }).entries.map(({ series, publisher, payload }) => [publisher, series, payload]);
};

describe("a session", () => {
  test("is opened by a name and a nonce; the same again joins on, with the number to go on with", async () => {
    const device = newDevice();
    const first = await open(device, { publisher: "billing", nonce: "5", window: 2 });
    expect([first.status, first.json]).toEqual([200, { device, publisher: "billing", nonce: "5", session: expect.stringMatching(/^\d+$/) as string, next: "1", window: 2, wrap: "0" }]);
    const { session } = first.json as { session: string };
    await put(device, session, 1);
    await put(device, session, 2);
    expect((await open(device, { publisher: "billing", nonce: "5" })).json).toMatchObject({ session, next: "3" });
  });

  test("of a greater nonce takes over: the older one's numbers are refused, and what it had taken is told", async () => {
    const device = newDevice();
    const old = await opened(device);
    await put(device, old, 1);
    const fresh = await open(device, { publisher: "billing", nonce: "6", leaves: old });
    expect(fresh.json).toMatchObject({ next: "1", left: { session: old, last: "1" } });
    const late = await put(device, old, 2);
    expect([late.status, late.json.code, late.json.retryable]).toEqual([410, "taken_over", false]);
    const behind = await open(device, { publisher: "billing", nonce: "5" });
    expect([behind.status, behind.json.code, behind.json.nonce]).toEqual([410, "taken_over", "6"]);
    expect((await put(device, fresh.json.session as string, 1, "new")).status).toBe(201);
    expect(await payloads(device)).toEqual([["billing", "1", "number 1"], ["billing", "1", "new"]]);
  });

  test("without a nonce is a new one each time", async () => {
    const device = newDevice();
    const [a, b] = [await open(device, { publisher: "billing" }), await open(device, { publisher: "billing" })];
    expect(BigInt(b.json.nonce as string)).toBeGreaterThan(BigInt(a.json.nonce as string));
    expect((await put(device, a.json.session as string, 1)).json.code).toBe("taken_over");
    expect((await put(device, b.json.session as string, 1)).status).toBe(201);
  });

  test("stands beside those of other names; a device has so many", async () => {
    const device = newDevice();
    const [a, b] = [await opened(device), await opened(device, "1", { publisher: "alerts" })];
    expect((await Promise.all([put(device, a, 1), put(device, b, 1)])).map(({ status }) => status)).toEqual([201, 201]);
    await opened(device, "1", { publisher: "third" });
    const reply = await open(device, { publisher: "fourth" });
    expect([reply.status, reply.json.code]).toEqual([429, "too_many_requests"]);
  });

  test("may be opened again and again: nothing is left behind", async () => {
    const device = newDevice();
    for (let i = 0; i < 20; i += 1) await opened(device);
    expect((await broker.call("GET", "/v1/status")).json.waiting.requests).toBe(0);
  });

  test.each([
    ["", "no body"], ["{", "no JSON"], ["[]", "no object"], [`{"nonce":"1"}`, "no name"], [`{"publisher":"backend"}`, "the name of publishes without a session"], [`{"publisher":"a b"}`, "a blank"],
    [`{"publisher":"p","nonce":"18446744073709551616"}`, "65 bits"], [`{"publisher":"p","nonce":-1}`, "a negative nonce"], [`{"publisher":"p","window":0}`, "no window"], [`{"publisher":"p","none":"1"}`, "an unknown field"],
  ])("is refused: %s (%s)", async (body) => {
    const reply = await broker.call("POST", "/v1/devices/d/publishers", { body, headers: { "content-type": "application/json" } });
    expect([reply.status, reply.json.code]).toEqual([400, "bad_request"]);
  });
});

describe("a number", () => {
  test("is stored once: 201 with its offset, then 200", async () => {
    const device = newDevice();
    const session = await opened(device);
    const first = await put(device, session, 1);
    expect([first.status, first.json]).toEqual([201, { device, session, series: "1", offset: "1", duplicate: false }]);
    const again = await put(device, session, 1);
    expect([again.status, again.json]).toEqual([200, { device, session, series: "1", duplicate: true }]);
    expect(await payloads(device)).toEqual([["billing", "1", "number 1"]]);
  });

  test("several times at once is stored once", async () => {
    const device = newDevice();
    const session = await opened(device);
    const replies = await Promise.all(Array.from({ length: 10 }, () => put(device, session, 1)));
    expect(replies.map(({ status }) => status).sort()).toEqual([...Array<number>(9).fill(200), 201]);
    expect(await payloads(device)).toHaveLength(1);
  });

  test("that leaves one out is a gap: 409 with the number expected", async () => {
    const device = newDevice();
    const session = await opened(device);
    await put(device, session, 1);
    const reply = await put(device, session, 3);
    expect([reply.status, reply.json.code, reply.json.retryable, reply.json.expected]).toEqual([409, "gap", true, "2"]);
    expect(await payloads(device)).toHaveLength(1);
  });

  test("whose content is refused for good is spent: the next follows, and it is told the same again", async () => {
    const device = newDevice();
    const session = await opened(device);
    const past = { "bellhop-expires": "2020-01-01T00:00:00Z" };
    expect((await put(device, session, 1, "x", past)).json).toMatchObject({ status: 410, code: "expired" });
    const large = await put(device, session, 2, "x".repeat(1001));
    expect(large.json).toMatchObject({ status: 413, code: "too_large", detail: expect.stringContaining("1000") as string });
    expect((await put(device, session, 3, "x", { "bellhop-expires": "soon" })).json.code).toBe("bad_request");
    expect((await put(device, session, 4)).json).toMatchObject({ offset: "1" });
    expect((await put(device, session, 1)).json.code).toBe("expired");
    expect((await put(device, session, 2)).json.code).toBe("too_large");
    expect(await payloads(device)).toEqual([["billing", "4", "number 4"]]);
    expect(await Promise.all([1, 2, 4, 5].map((series) => ask(device, session, series)))).toEqual(["void", "void", "stored", "absent"]);
  });

  test("that was stored before it expired is told as a duplicate", async () => {
    const device = newDevice();
    const session = await opened(device);
    const expires = { "bellhop-expires": new Date(Date.now() + 100).toISOString() };
    expect((await put(device, session, 1, "x", expires)).status).toBe(201);
    while (Date.now() < Date.parse(expires["bellhop-expires"])) await put(newDevice(), "1", 1);
    expect((await put(device, session, 1, "x", expires)).status).toBe(200);
  });

  test("of a session that never was, or of the device's own, is broken", async () => {
    const device = newDevice();
    await opened(device);
    for (const session of ["1", "999999999"]) {
      const reply = await put(device, session, 1);
      expect([reply.status, reply.json.code, reply.json.retryable]).toEqual([410, "broken", false]);
    }
    expect((await put("never-heard-of", "1", 1)).json.code).toBe("broken");
  });

  test.each(["0", "-1", "1.5", "x", "1e3", "1000000000000000"])("must be one: %s", async (series) => {
    const reply = await put("d", "1", series);
    expect([reply.status, reply.json.code]).toEqual([400, "bad_request"]);
  });
});

describe("asked later (A6)", () => {
  test("a session that was left, and one that is forgotten", async () => {
    const device = newDevice();
    const old = await opened(device);
    await put(device, old, 1);
    const fresh = await opened(device, "6", { leaves: old });
    expect([await ask(device, old, 1), await ask(device, old, 2), await ask(device, fresh, 1), await ask(device, "99999999", 1)]).toEqual(["stored", "absent", "absent", "absent"]);
    await opened(device, "7");
    expect(await ask(device, old, 1)).toBe("forgotten");
  });

  test("a key: stored, and where, or absent", async () => {
    const device = newDevice();
    await broker.call("POST", `/v1/devices/${device}/messages`, { body: "x", headers: { "idempotency-key": "k 1".replace(" ", "-") } });
    const asked = async (key: string): Promise<unknown> => (await broker.call("GET", `/v1/devices/${device}/messages?key=${key}`)).json;
    const position = expect.stringMatching(/^\d+$/) as string;
    expect(await asked("k-1")).toEqual({ device, key: "k-1", is: "stored", offset: "1", position });
    expect(await asked("k-2")).toEqual({ device, key: "k-2", is: "absent", position });
    expect((await broker.call("GET", `/v1/devices/${device}/messages`)).status).toBe(400);
  });
});

test("a session outlives a restart of the broker", async () => {
  const { mkdtempSync, rmSync } = await import("node:fs");
  const { tmpdir } = await import("node:os");
  const { join } = await import("node:path");
  const data = mkdtempSync(join(tmpdir(), "bellhop-publishers-"));
  const body = JSON.stringify({ publisher: "billing", nonce: "5" });
  const headers = { "content-type": "application/json" };
  const first = await runBroker({ data });
  const { session } = (await first.call("POST", "/v1/devices/d/publishers", { body, headers })).json as { session: string };
  for (const series of [1, 2]) expect((await first.call("PUT", `/v1/devices/d/publishers/${session}/messages/${series}`, { body: "x" })).status).toBe(201);
  await first.stop();
  const second = await runBroker({ data });
  expect((await second.call("PUT", `/v1/devices/d/publishers/${session}/messages/2`, { body: "x" })).status).toBe(200);
  expect((await second.call("POST", "/v1/devices/d/publishers", { body, headers })).json).toMatchObject({ session, next: "3" });
  await second.stop();
  rmSync(data, { recursive: true });
});

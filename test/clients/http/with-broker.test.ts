// The client against a real broker: publish, read, follow, state, devices, explain, and brokers that stop and come back.

import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { type Bellhop, type BellhopError, connect, type Followed, type Message, type Page } from "../../../clients/http/src/index.ts";
import { type RunningBroker, runBroker } from "../../http/broker.ts";

let broker: RunningBroker;
let bellhop: Bellhop;
beforeEach(async () => {
  broker = await runBroker();
  bellhop = connect({ brokers: broker.http, retry: { baseMs: 10 } });
});
afterEach(() => broker.stop());

async function entriesOf(device: string): Promise<Page["entries"]> {
  const entries: Page["entries"][number][] = [];
  for await (const page of bellhop.stream(device)) entries.push(...page.entries);
  return entries;
}

test("text, bytes and JSON arrive as they were given, with their type", async () => {
  const bytes = Uint8Array.of(0, 255, 128);
  await bellhop.publish("lamp ü/1", "good night");
  await bellhop.publish("lamp ü/1", bytes);
  await bellhop.publish("lamp ü/1", { on: true, level: 3 });
  await bellhop.publish("lamp ü/1", '{"n": 1e400}', { contentType: "application/vnd.lamp+json" });
  await bellhop.publish("lamp ü/1", "");
  expect((await entriesOf("lamp ü/1")).map(({ encoding, payload, contentType }) => [encoding, payload, contentType])).toEqual([
    ["text", "good night", "text/plain; charset=utf-8"],
    ["bytes", bytes, "application/octet-stream"],
    ["json", { on: true, level: 3 }, "application/json"],
    ["json", { n: Infinity }, "application/vnd.lamp+json"],
    ["text", "", "text/plain; charset=utf-8"],
  ]);
});

test("the same key is the same message; with another body it is refused; what is over is refused", async () => {
  const stored = { device: "d1", offset: "1", duplicate: false, key: "k" };
  expect(await bellhop.publish("d1", "x", { key: "k" })).toEqual(stored);
  expect(await bellhop.publish("d1", "x", { key: "k" })).toEqual({ ...stored, duplicate: true });
  await expect(bellhop.publish("d1", "y", { key: "k" })).rejects.toMatchObject({ code: "key_reused", status: 422, device: "d1", key: "k" });
  await expect(bellhop.publish("d1", "z", { expires: 1000 })).rejects.toMatchObject({ code: "expired", status: 410 });
  for (const device of ["", ".", ".."]) await expect(bellhop.publish(device, "z")).rejects.toMatchObject({ code: "bad_request", device });
  expect(await bellhop.publish("d1", "z", { expires: new Date(Date.now() + 60_000) })).toMatchObject({ offset: "2" });
});

test("stream reads by page up to the end, of some types or all, and ends", async () => {
  for (let i = 1; i <= 25; i += 1) await bellhop.publish("d1", `m${i}`);
  await bellhop.state("d1").patch({ level: 1 });
  const sizes: number[] = [];
  for await (const page of bellhop.stream("d1", { limit: 10 })) sizes.push(page.entries.length);
  expect(sizes).toEqual([10, 10, 6]);
  const states: string[] = [];
  for await (const page of bellhop.stream("d1", { limit: 10, types: ["state"] })) states.push(...page.entries.map(({ offset }) => offset));
  expect(states).toEqual(["26"]);
  for await (const page of bellhop.stream("nobody")) expect.unreachable(JSON.stringify(page));
});

test("follow: from now on, or behind an offset; over a broker that stops and comes back at its address", async () => {
  const data = mkdtempSync(join(tmpdir(), "bellhop-http-client-"));
  let own = await runBroker({ data });
  const client = connect({ brokers: own.http, retry: { baseMs: 10, mostMs: 200 } });
  try {
    for (let i = 1; i <= 3; i += 1) await client.publish("d1", `m${i}`);
    const followed = client.follow("d1", { after: "1" })[Symbol.asyncIterator]();
    const next = async (): Promise<unknown> => ((await followed.next()).value as Exclude<Followed, { type: "gap" }>).payload;
    expect([await next(), await next()]).toEqual(["m2", "m3"]);
    await own.stop();
    const [published] = await Promise.all([
      client.publish("d1", "m4"), // waits for the broker to come back
      runBroker({ data, http: own.http }).then((again) => (own = again)),
    ]);
    expect(published.offset).toBe("4");
    expect(await next()).toBe("m4");
    await followed.return?.();
  } finally {
    await own.stop();
    rmSync(data, { recursive: true });
  }
});

test("state: read, set, patch, a conflict by its version, and a position to read at", async () => {
  const state = bellhop.state("d1");
  await expect(state.get()).rejects.toMatchObject({ code: "unknown_device" });
  expect(await state.set({ level: 1, mode: "auto" }, { ifVersion: 0 })).toEqual({ version: 1, offset: "1" });
  const { offset } = await state.patch({ level: 2, mode: null }, { ifVersion: 1 });
  const read = await state.get({ at: offset });
  expect(read).toMatchObject({ device: "d1", desired: { version: 2, offset: "2", document: { level: 2 } }, reported: { version: 0 } });
  expect(read.etag).not.toBe("");
  await expect(state.patch({ level: 3 }, { ifVersion: 1 })).rejects.toMatchObject({ code: "version_conflict", status: 412, device: "d1" });
  expect(await state.set({ at: "home" }, { document: "reported", ifVersion: 0 })).toMatchObject({ version: 1 });
});

test("devices in their order, page by page; one of them; and what the broker says of an offset and a key", async () => {
  for (const device of ["a", "b", "c"]) await bellhop.publish(device, "x", { key: `key-${device}` });
  const names: string[] = [];
  for await (const { device } of bellhop.devices({ limit: 2 })) names.push(device);
  expect(names).toEqual(["a", "b", "c"]);
  expect(await bellhop.device("a").get()).toMatchObject({ device: "a", connected: false, end: "1" });
  const explained = await bellhop.device("a").explain({ offset: "1", key: "key-a" });
  expect(explained).toMatchObject({ device: "a", leader: "n1", offset: { is: "stored", entry: { payload: "x" } }, key: { is: "stored", offset: "1" } });
  expect(await bellhop.device("a").explain()).not.toHaveProperty("offset");
  await expect(bellhop.device("nobody").get()).rejects.toMatchObject({ code: "unknown_device", status: 404, device: "nobody" });
});

test("300 publishes at once wait for their turn, and each is stored once", async () => {
  const payloads = Array.from({ length: 300 }, (_, i) => `m${i}`);
  const stored = await Promise.all(payloads.map((payload, i) => bellhop.publish(`d${i % 5}`, payload)));
  expect(new Set(stored.map(({ device, offset }) => `${device}@${offset}`)).size).toBe(300);
  const found = (await Promise.all([0, 1, 2, 3, 4].map((n) => entriesOf(`d${n}`)))).flat().map(({ payload }) => payload);
  expect(found.sort()).toEqual(payloads.sort());
  expect(bellhop.load).toEqual({ waiting: 0, underWay: 0 });
});

test("a change whose answer was lost is not taken for another's", async () => {
  let lose = true;
  const losing: typeof fetch = async (input, init) => {
    const response = await fetch(input, init);
    if (!lose || init?.method !== "PATCH") return response;
    lose = false;
    await response.arrayBuffer();
    throw new TypeError("fetch failed");
  };
  const state = connect({ brokers: broker.http, fetch: losing, retry: { baseMs: 1 } }).state("d1");
  await state.set({ level: 1, unit: "lx" });
  expect(await state.patch({ level: 2, unit: null }, { ifVersion: 1 })).toEqual({ version: 2, offset: "2" });
  lose = true;
  await bellhop.state("d1").patch({ by: "another" }); // version 3
  const conflict = (await state.patch({ level: 9 }, { ifVersion: 2 }).catch((error: unknown) => error)) as BellhopError;
  expect(conflict).toMatchObject({ code: "version_conflict" });
});

test("a batch: a result for each message, in order; headers travel; the same keys again are duplicates", async () => {
  const messages: Message[] = [
    { device: "d1", payload: { on: true }, key: "a", headers: { "x-origin": "plan" } },
    { device: "d2", payload: '{"n": 1.0}', contentType: "application/json", key: "b" },
    { device: "d1", payload: Uint8Array.of(0, 200), key: "c" },
    { device: "d1", payload: "late", key: "d", expires: 1000 },
    { device: "..", payload: "nowhere", key: "e" },
    { device: "d1", payload: "text", key: "f" },
  ];
  const outcome = async (): Promise<string[]> => (await bellhop.publishMany(messages)).map((one) => (one.ok ? `${one.offset}${one.duplicate ? " again" : ""}` : one.error.code));
  expect(await outcome()).toEqual(["1", "1", "2", "expired", "bad_request", "3"]);
  expect(await outcome()).toEqual(["1 again", "1 again", "2 again", "expired", "bad_request", "3 again"]);
  const [json, bytes, text] = await entriesOf("d1");
  expect(json).toMatchObject({ payload: { on: true }, headers: { "x-origin": "plan" }, contentType: "application/json" });
  expect(bytes).toMatchObject({ encoding: "bytes", payload: Uint8Array.of(0, 200) });
  expect(text).toMatchObject({ encoding: "text", payload: "text" });
  const raw = await broker.call("GET", "/v1/devices/d2/stream");
  expect(raw.text).toContain('"payload":{"n": 1.0}'); // JSON text passes as it was written
  expect(await bellhop.publish("d1", { on: true }, { key: "a", headers: { "x-origin": "plan" } })).toMatchObject({ offset: "1", duplicate: true });
});

test("2500 messages in batches: each is stored once", async () => {
  const results = await bellhop.publishMany(Array.from({ length: 2500 }, (_, i) => ({ device: "d1", payload: `m${i}` })));
  expect(results.every(({ ok }) => ok)).toBe(true);
  const offsets = results.map((result) => (result.ok ? Number(result.offset) : 0));
  expect(new Set(offsets).size).toBe(2500);
  expect(Math.max(...offsets)).toBe(2500);
});

test("a publish whose answers were all lost is asked for, and resolves", async () => {
  const losing: typeof fetch = async (input, init) => {
    const response = await fetch(input, init);
    if (init?.method !== "POST") return response;
    await response.arrayBuffer();
    throw new TypeError("fetch failed");
  };
  const client = connect({ brokers: broker.http, fetch: losing, retry: { baseMs: 1, forMs: 1000 } });
  expect(await client.publish("d1", "x", { key: "k" })).toEqual({ device: "d1", offset: "1", duplicate: true, key: "k" });
  expect(await entriesOf("d1")).toHaveLength(1);
  const deaf: typeof fetch = (input, init) => (init?.method === "POST" ? Promise.reject(new TypeError("fetch failed")) : fetch(input, init));
  const other = connect({ brokers: broker.http, fetch: deaf, retry: { baseMs: 1, forMs: 1000 } });
  await expect(other.publish("d1", "x", { key: "k2" })).rejects.toMatchObject({ code: "timed_out", outcome: { is: "absent", position: expect.stringMatching(/^\d+$/) as string } });
});

test("a series: in the order of the calls, refused ones told and passed over, gone on with after a restart, taken over", async () => {
  const series = await bellhop.publisher("d1", { name: "planner" });
  const results = await Promise.allSettled([
    series.publish("m1"),
    series.publish("late", { expires: 1000 }),
    series.publish("x".repeat(300 * 1024)),
    ...Array.from({ length: 40 }, (_, i) => series.publish(`m${i + 2}`)),
  ]);
  expect(results.slice(0, 3).map((result) => (result.status === "fulfilled" ? result.value.offset : (result.reason as BellhopError).code))).toEqual(["1", "expired", "too_large"]);
  expect((await entriesOf("d1")).map(({ payload }) => payload)).toEqual(Array.from({ length: 41 }, (_, i) => `m${i + 1}`));

  const again = await connect({ brokers: broker.http }).publisher("d1", { name: "planner", nonce: series.nonce });
  expect(again).toMatchObject({ session: series.session, next: 44 });
  expect(await again.publish("m42")).toMatchObject({ offset: "42", series: "44", duplicate: false });
  expect((await entriesOf("d1")).at(-1)).toMatchObject({ type: "downlink", publisher: "planner", series: "44", payload: "m42" });

  const other = await bellhop.publisher("d1", { name: "planner" });
  expect(other.next).toBe(1);
  await expect(again.publish("m43")).rejects.toMatchObject({ code: "taken_over", device: "d1" });
  expect(await other.publish("theirs")).toMatchObject({ offset: "43" });
});

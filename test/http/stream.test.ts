// Reading a stream: pages, long poll, server-sent events with resume, a slow reader, and the bound on followers.

import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { runBroker, type RunningBroker, type StreamEvent } from "./broker.ts";

let broker: RunningBroker;
beforeAll(async () => {
  broker = await runBroker({ maxLongPollSeconds: 20, pageEntries: 50 });
});
afterAll(() => broker.stop());

let devices = 0;
const newDevice = (): string => `s${(devices += 1)}`;

async function publish(device: string, ...payloads: string[]): Promise<void> {
  for (const body of payloads) expect((await broker.call("POST", `/v1/devices/${device}/messages`, { body, headers: { "content-type": "text/plain" } })).status).toBe(201);
}

interface PageJson {
  entries: { offset: string; type: string; payload: unknown }[];
  next: string;
  earliest: string;
}

async function read(device: string, query = ""): Promise<PageJson> {
  const reply = await broker.call("GET", `/v1/devices/${device}/stream${query}`);
  expect(reply.status).toBe(200);
  return reply.json as PageJson;
}

const offsets = (page: PageJson): string[] => page.entries.map((entry) => entry.offset);
const payloads = (events: StreamEvent[]): unknown[] => events.map((event) => (JSON.parse(event.data) as { payload: unknown }).payload);

describe("pages", () => {
  test("go on where `next` points, without hole or repetition", async () => {
    const device = newDevice();
    await publish(device, "a", "b", "c", "d", "e");
    const first = await read(device, "?limit=2");
    expect([offsets(first), first.next, first.earliest]).toEqual([["1", "2"], "2", "1"]);
    const second = await read(device, `?limit=2&after=${first.next}`);
    expect(offsets(second)).toEqual(["3", "4"]);
    const third = await read(device, `?limit=2&after=${second.next}`);
    expect([offsets(third), third.next]).toEqual([["5"], "5"]);
    const last = await read(device, `?after=${third.next}`);
    expect([offsets(last), last.next]).toEqual([[], "5"]);
  });

  test("hold no more than pageEntries", async () => {
    const device = newDevice();
    await publish(device, ...Array.from({ length: 55 }, (_, i) => `${i}`));
    expect((await read(device, "?limit=1000")).entries).toHaveLength(50);
  });

  test("of chosen types only", async () => {
    const device = newDevice();
    await publish(device, "a");
    await broker.call("PUT", `/v1/devices/${device}/state`, { body: `{"on":true}` });
    await publish(device, "b");
    expect((await read(device, "?type=downlink")).entries.map((entry) => entry.payload)).toEqual(["a", "b"]);
    const states = await read(device, "?type=state");
    expect(states.entries.map((entry) => entry.type)).toEqual(["state"]);
    expect(states.next).toBe("3");
    expect(offsets(await read(device, "?type=state,downlink"))).toEqual(["1", "2", "3"]);
    expect(offsets(await read(device, "?type=presence"))).toEqual([]);
  });

  test("of a device that nobody knows are empty", async () => {
    expect(await read("nobody")).toMatchObject({ entries: [], next: "0" });
  });

  test.each(["?after=x", "?after=-1", "?after=1234567890123456", "?limit=0", "?limit=x", "?wait=soon", "?type=all", "?type="])("refuse %s", async (query) => {
    const reply = await broker.call("GET", `/v1/devices/d/stream${query}`);
    expect([reply.status, reply.json.code, reply.json.status]).toEqual([400, "bad_request", 400]);
  });
});

describe("a long poll", () => {
  test("is answered when something comes", async () => {
    const device = newDevice();
    await publish(device, "a");
    const waiting = read(device, "?after=1&wait=20s");
    await waitingFollowers(1);
    await publish(device, "b");
    expect((await waiting).entries.map((entry) => entry.payload)).toEqual(["b"]);
  });

  test("waits past entries of other types", async () => {
    const device = newDevice();
    const waiting = read(device, "?wait=20s&type=state");
    await waitingFollowers(1);
    await publish(device, "a");
    await broker.call("PATCH", `/v1/devices/${device}/state`, { body: `{"on":true}` });
    expect((await waiting).entries.map((entry) => entry.type)).toEqual(["state"]);
  });

  test("is answered at once when something is there", async () => {
    const device = newDevice();
    await publish(device, "a");
    expect(offsets(await read(device, "?wait=20s"))).toEqual(["1"]);
  });

  test("is answered empty when nothing comes", async () => {
    const device = newDevice();
    await publish(device, "a");
    expect(await read(device, "?after=1&wait=1s")).toMatchObject({ entries: [], next: "1" });
  });

  test("gives its place back when its client leaves", async () => {
    const abort = new AbortController();
    const waiting = broker.call("GET", `/v1/devices/${newDevice()}/stream?wait=20s`, { signal: abort.signal });
    await waitingFollowers(1);
    abort.abort();
    await expect(waiting).rejects.toThrow();
    await waitingFollowers(0);
  });
});

/** Polls the broker's own count of followers until it is as expected; the test's time-out bounds it. */
async function waitingFollowers(expected: number): Promise<void> {
  for (;;) {
    const reply = await broker.call("GET", "/v1/status");
    if ((reply.json as { followers: number }).followers === expected) return;
  }
}

describe("server-sent events", () => {
  test.each<[string, boolean]>([
    ["text/event-stream", true], ["application/json, Text/Event-Stream;q=0.5", true], ["text/event-stream; charset=utf-8", true],
    ["text/event-stream;q=0", false], ["text/event-stream; Q=0.000", false], ["text/event-streams", false], ["*/*", false], ["", false],
  ])("are wanted with Accept: %s (%s)", async (accept, wanted) => {
    const events = await broker.follow(`/v1/devices/${newDevice()}/stream`, { accept });
    expect(events.response.headers["content-type"]).toMatch(wanted ? /^text\/event-stream/ : /^application\/json/);
    events.close();
  });

  test("begin behind `after` and go on with what comes", async () => {
    const device = newDevice();
    await publish(device, "a", "b");
    const events = await broker.follow(`/v1/devices/${device}/stream?after=1`);
    expect(events.response.headers["content-type"]).toBe("text/event-stream; charset=utf-8");
    expect(payloads(await events.take(1))).toEqual(["b"]);
    await publish(device, "c");
    const [next] = await events.take(1);
    expect([next?.id, next?.event, JSON.parse(next?.data ?? "{}")]).toMatchObject(["3", "message", { offset: "3", type: "downlink", payload: "c" }]);
    events.close();
  });

  test("resume behind Last-Event-ID, which wins over `after`", async () => {
    const device = newDevice();
    await publish(device, "a", "b", "c");
    const events = await broker.follow(`/v1/devices/${device}/stream?after=0`, { "last-event-id": "2" });
    expect(payloads(await events.take(1))).toEqual(["c"]);
    events.close();
  });

  test("from the end show only what comes", async () => {
    const device = newDevice();
    await publish(device, "a", "b");
    const events = await broker.follow(`/v1/devices/${device}/stream?after=end`);
    await publish(device, "c");
    expect(payloads(await events.take(1))).toEqual(["c"]);
    events.close();
  });

  test("carry JSON over several lines whole", async () => {
    const device = newDevice();
    await broker.call("POST", `/v1/devices/${device}/messages`, { body: `{\n  "a": 1,\r\n  "b": "x"\n}`, headers: { "content-type": "application/json" } });
    const events = await broker.follow(`/v1/devices/${device}/stream`);
    expect(payloads(await events.take(1))).toEqual([{ a: 1, b: "x" }]);
    events.close();
  });

  test("of chosen types only", async () => {
    const device = newDevice();
    await publish(device, "a");
    const events = await broker.follow(`/v1/devices/${device}/stream?type=state`);
    await publish(device, "b");
    await broker.call("PUT", `/v1/devices/${device}/state`, { body: "{}" });
    const [event] = await events.take(1);
    expect(event?.id).toBe("3");
    events.close();
  });

  test("a reader that pauses loses nothing and takes its place back", async () => {
    const device = newDevice();
    const events = await broker.follow(`/v1/devices/${device}/stream`);
    const large = "x".repeat(200_000);
    for (let i = 0; i < 100; i += 1) await publish(device, `${i} ${large}`); // 20 MB: more than the sockets hold
    const all = await events.take(100);
    expect(all.map((event) => event.id)).toEqual(Array.from({ length: 100 }, (_, i) => String(i + 1)));
    expect(all.every((event, i) => event.data.includes(`"${i} xxx`))).toBe(true);
    events.close();
    await waitingFollowers(0);
  });

  test("refuse what is no position", async () => {
    await expect(broker.follow(`/v1/devices/d/stream`, { "last-event-id": "abc" })).rejects.toThrow("400");
  });
});

describe("bounds", () => {
  test("followers above maxFollowers hear 503 with Retry-After, and reads go on", async () => {
    const small = await runBroker({ maxFollowers: 2 });
    const open = [await small.follow("/v1/devices/d/stream"), await small.follow("/v1/devices/d/stream")];
    const refused = await small.call("GET", "/v1/devices/d/stream", { headers: { accept: "text/event-stream" } });
    expect([refused.status, refused.json.code, refused.json.retryable, refused.headers["retry-after"]]).toEqual([503, "overloaded", true, "1"]);
    expect((await small.call("GET", "/v1/devices/d/stream?wait=5s")).status).toBe(503);
    expect((await small.call("GET", "/v1/devices/d/stream")).status).toBe(200);
    open[0]?.close();
    for (;;) {
      const again = await small.follow("/v1/devices/d/stream").catch(() => undefined);
      if (again !== undefined) break;
    }
    await small.stop();
  });

  test("when the broker stops, long polls are answered and followed streams end", async () => {
    const stopping = await runBroker();
    const poll = stopping.call("GET", "/v1/devices/d/stream?wait=20s");
    const events = await stopping.follow("/v1/devices/d/stream");
    for (;;) {
      const reply = await stopping.call("GET", "/v1/status");
      if ((reply.json as { followers: number }).followers === 2) break;
    }
    await stopping.stop();
    expect((await poll).json).toMatchObject({ entries: [] });
    expect(await events.next()).toBeUndefined();
  });
});

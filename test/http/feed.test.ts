// The feed of all devices: every entry once and in order within its device, from now, from the start or from a position; gaps; bounds.

import { request } from "node:http";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { positionOf, positionText } from "../../src/http/position.ts";
import { connect } from "../../clients/device/src/index.ts";
import { runBroker, type Events, type RunningBroker } from "./broker.ts";

let broker: RunningBroker;
beforeAll(async () => {
  broker = await runBroker();
});
afterAll(() => broker.stop());

interface FeedEntry {
  device: string;
  offset: string;
  type: string;
  payload: unknown;
}
interface PageJson {
  entries: FeedEntry[];
  gaps: { bucket?: number; entries?: number; device?: string; from?: string; to?: string }[];
  next: string;
}

const publish = async (device: string, body: string): Promise<void> => {
  expect((await broker.call("POST", `/v1/devices/${device}/messages`, { body, headers: { "content-type": "text/plain" } })).status).toBe(201);
};
const page = async (query: string, of = broker): Promise<PageJson> => (await of.call("GET", `/v1/feed?${query}`)).json as PageJson;
const entryOf = (data: string | undefined): FeedEntry => JSON.parse(data ?? "") as FeedEntry;

/** Reads page by page until one is empty. */
async function all(after: string, query = "", of = broker): Promise<{ entries: FeedEntry[]; gaps: PageJson["gaps"]; next: string }> {
  const entries: FeedEntry[] = [];
  const gaps: PageJson["gaps"] = [];
  for (let next = after; ; ) {
    const found = await page(`after=${next}&limit=7${query}`, of);
    if (found.entries.length === 0 && found.gaps.length === 0) return { entries, gaps, next: found.next };
    entries.push(...found.entries);
    gaps.push(...found.gaps);
    next = found.next;
  }
}

/** Each device's offsets are 1, 2, 3, … */
function expectInOrder(entries: readonly FeedEntry[], from = 1): void {
  const offsets = new Map<string, number>();
  for (const { device, offset } of entries) {
    expect(Number(offset)).toBe((offsets.get(device) ?? from - 1) + 1);
    offsets.set(device, Number(offset));
  }
}

describe("by page", () => {
  test("from the start each entry comes once, in order within its device, over all buckets", async () => {
    for (let i = 1; i <= 60; i += 1) await publish(`page-${i % 6}`, `message ${i}`);
    const { entries, next } = await all("start");
    const mine = entries.filter(({ device }) => device.startsWith("page-"));
    expect(mine).toHaveLength(60);
    expectInOrder(mine);
    expect(await page(`after=${next}`)).toEqual({ entries: [], gaps: [], next });
  });

  test("without a position it begins now, and a long poll waits for what comes", async () => {
    const { next } = await page("");
    const poll = page(`after=${next}&wait=20s`);
    await publish("poll", "came");
    const { entries } = await poll;
    expect(entries).toMatchObject([{ device: "poll", type: "downlink", payload: "came" }]);
  });

  test("a type is selected, and an empty page still moves on", async () => {
    const { next } = await page("");
    for (let i = 0; i < 20; i += 1) await publish("typed", "x");
    await broker.call("PUT", "/v1/devices/typed/state", { body: "{}", headers: { traceparent: "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01" } });
    const found = await page(`after=${next}&type=state&limit=5`);
    expect(found.entries).toMatchObject([{ device: "typed", offset: "21", type: "state", headers: { traceparent: "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01" } }]);
  });

  test("presence of a device that came and went is in it", async () => {
    const { next } = await page("");
    const device = connect({ brokers: broker.device, device: "comes" });
    await device.publish("hello");
    await device.close();
    const seen: string[] = [];
    for (let after = next; seen.length < 3; ) {
      const found = await page(`after=${after}&wait=5s`);
      seen.push(...found.entries.map(({ type }) => type));
      after = found.next;
    }
    expect(seen).toEqual(["presence", "uplink", "presence"]);
  });

  test("duplicates and refused messages are no entries", async () => {
    const { next } = await page("");
    for (let i = 0; i < 3; i += 1) await broker.call("POST", "/v1/devices/dup/messages", { body: "x", headers: { "idempotency-key": "one" } });
    expect((await all(next)).entries).toHaveLength(1);
  });

  test.each([["!", 400], ["AQ", 400], [positionText([1, 2]), 410], [positionText([1e9, 1e9, 1e9, 1e9]), 410]])("the position %s is refused", async (after, status) => {
    expect((await broker.call("GET", `/v1/feed?after=${after}`)).status).toBe(status);
  });
});

describe("followed", () => {
  async function entries(events: Events, count: number): Promise<FeedEntry[]> {
    return (await events.take(count)).map(({ data }) => entryOf(data));
  }

  test("brings what comes from now on", async () => {
    await publish("before", "x");
    const events = await broker.follow("/v1/feed");
    for (let i = 1; i <= 5; i += 1) await publish("live", `m${i}`);
    const came = await entries(events, 5);
    expect(came.map(({ payload }) => payload)).toEqual(["m1", "m2", "m3", "m4", "m5"]);
    events.close();
  });

  test("comes back behind its last id: nothing is missing", async () => {
    const ids: string[] = [];
    const first = await raw("/v1/feed", {}, (text) => {
      ids.push(...[...text.matchAll(/^id: (.*)$/gm)].map((match) => match[1] ?? ""));
      return text.includes('"second"');
    }, async () => {
      await publish("resume", "first");
      await publish("resume", "second");
    });
    expect(first).toContain('"first"');
    await publish("resume", "third");
    const again = await broker.follow("/v1/feed", { "last-event-id": ids.at(-1) ?? "" });
    for (;;) {
      const [entry] = await entries(again, 1);
      if (entry?.payload === "third") break;
      expect(["first", "second"]).toContain(entry?.payload); // repeated at most
    }
    again.close();
  });

  test("a bad id is refused before the stream begins", async () => {
    const reply = await broker.call("GET", "/v1/feed", { headers: { accept: "text/event-stream", "last-event-id": "none" } });
    expect([reply.status, reply.json.code]).toEqual([400, "bad_request"]);
  });

  test("many writers and a reader from the start: everything, in order", async () => {
    const { next } = await page("");
    const events = await broker.follow(`/v1/feed?after=${next}`);
    const devices = Array.from({ length: 20 }, (_, i) => `many-${i}`);
    await Promise.all(devices.map(async (device) => {
      for (let i = 0; i < 30; i += 1) await publish(device, String(i));
    }));
    const came = await entries(events, 600);
    expectInOrder(came);
    expect(new Set(came.map(({ device }) => device)).size).toBe(20);
    events.close();
  });

  test("takes a follower's place, and gives it back", async () => {
    const small = await runBroker({ maxFollowers: 1 });
    const events = await small.follow("/v1/feed");
    const refused = await small.call("GET", "/v1/feed?wait=5s");
    expect([refused.status, refused.json.code, refused.headers["retry-after"]]).toEqual([503, "overloaded", "1"]);
    events.close();
    while ((await small.call("GET", "/v1/status")).json.followers > 0) await small.call("GET", "/livez");
    (await small.follow("/v1/feed")).close();
    await small.stop();
  });

  test("a reader that reads nothing holds up no other, and finds everything when it reads on", async () => {
    const payload = "x".repeat(200_000);
    const slow = await broker.follow("/v1/feed");
    slow.response.pause();
    const quick = await broker.follow("/v1/feed");
    for (let i = 0; i < 60; i += 1) {
      await publish("slow", payload); // 12 MB: more than the sockets hold
      await quick.take(1);
    }
    expectInOrder(await entries(slow, 60));
    slow.close();
    quick.close();
  });
});

describe("gaps", () => {
  test("what the broker's retention has eaten is told for its bucket, and the rest follows", async () => {
    const own = await runBroker({ bucketCount: 1, segmentBytes: 1024 * 1024, retainBytes: 4 * 1024 * 1024 });
    const begin = (await page("", own)).next;
    const payload = "x".repeat(250_000);
    for (let i = 0; i < 40; i += 1) await own.call("POST", "/v1/devices/d/messages", { body: payload });
    for (;;) { // looked at every 10 s; the test's time-out bounds it
      const { gap } = (await own.call("GET", "/v1/devices/d/stream?limit=1")).json as { gap?: { to: string } };
      if (gap !== undefined) break;
      await own.call("GET", "/v1/devices/d/stream?after=end&wait=1s");
    }
    const { entries, gaps } = await all(begin, "", own);
    expect(gaps).toEqual([{ bucket: 0, entries: expect.any(Number) }]);
    expectInOrder(entries, Number(entries[0]?.offset));
    expect(entries.at(-1)?.offset).toBe("40");
    expect(Number(entries[0]?.offset)).toBeGreaterThan(1);
    await own.stop();
  });

  test("what a device itself does not keep is told for it", async () => {
    const { next } = await page("");
    for (let i = 1; i <= 8; i += 1) await publish("short", `m${i}`);
    await broker.call("PUT", "/v1/devices/short", { body: `{"retainEntries": 3}` });
    const { entries, gaps } = await all(next);
    expect(entries.map(({ offset }) => offset)).toEqual(["6", "7", "8"]);
    expect(gaps[0]).toMatchObject({ device: "short", from: "1" });
    expect(gaps.at(-1)).toMatchObject({ device: "short", to: "5" });
  });

  test("a removed device is in it no more", async () => {
    const { next } = await page("");
    await publish("left", "x");
    await broker.call("DELETE", "/v1/devices/left");
    await publish("stays", "x");
    expect((await all(next)).entries.map(({ device }) => device)).toEqual(["stays"]);
  });
});

test("a position comes back as it was", () => {
  for (const indexes of [[], [0], [1, 127, 128, 16_383, 16_384, 2 ** 48], Array.from({ length: 64 }, (_, i) => i * 1_000_003)]) {
    expect(positionOf(positionText(indexes))).toEqual(indexes);
  }
  for (const text of ["", "____________________", positionText([1, 2, 3]).slice(0, -2), `${positionText([1])}AA`]) expect(() => positionOf(text)).toThrow("position");
});

/** Reads a followed address as it is until `until` holds; `then` is run once it has begun. */
function raw(path: string, headers: Record<string, string>, until: (text: string) => boolean, then: () => Promise<void>): Promise<string> {
  return new Promise((resolve, reject) => {
    request(`http://${broker.http}${path}`, { headers: { accept: "text/event-stream", ...headers } }, (response) => {
      let text = "";
      response.setEncoding("utf8");
      response.on("data", (chunk: string) => {
        if (text === "") then().catch(reject);
        text += chunk;
        if (!until(text)) return;
        response.destroy();
        resolve(text);
      });
      response.on("error", () => undefined);
    }).on("error", reject).end();
  });
}

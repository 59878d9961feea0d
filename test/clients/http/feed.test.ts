// The feed of all devices against a scripted server: positions, what a new connection brings again, gaps.

import { afterEach, beforeEach, expect, test } from "vitest";
import { connect, type FeedItem, type FeedOptions } from "../../../clients/http/src/index.ts";
import { events, problem, ScriptedServer } from "./scripted-server.ts";

let server: ScriptedServer;
beforeEach(async () => {
  server = await ScriptedServer.start();
});
afterEach(() => server.stop());

const position = (id: string): string => `id: ${id}\n\n`;

function entry(device: string, offset: number, second = "00"): string {
  const fields = { device, offset: String(offset), time: `2026-11-20T12:00:${second}.000Z`, type: "uplink", publisher: "", headers: {}, contentType: "text/plain" };
  return `data: ${JSON.stringify({ ...fields, encoding: "text", payload: "x" })}\n\n`;
}

async function take(count: number, options: FeedOptions = {}): Promise<string[]> {
  const bellhop = connect({ brokers: server.url, retry: { baseMs: 1, mostMs: 5 } });
  const taken: string[] = [];
  for await (const item of bellhop.feed(options)) if (taken.push(word(item)) === count) break;
  return taken;
}

function word(item: FeedItem): string {
  if (item.type === "position") return `at ${item.position}`;
  if (item.type === "gap") return "device" in item ? `gap ${item.device} ${item.from}-${item.to}` : `gap of ${item.entries} in bucket ${item.bucket}`;
  return `${item.device} ${item.offset}`;
}

test("after a cut it goes on behind the last position, and leaves out what it has handed over since", async () => {
  server.script(
    events(position("P0") + entry("a", 1) + entry("b", 7) + position("P1") + entry("a", 2) + entry("c", 1), "cut"),
    problem("stopping"),
    events(position("P1") + entry("a", 2) + entry("b", 8) + entry("c", 1) + entry("a", 3) + position("P2"), "cut"),
    events(position("P2") + entry("a", 4)),
  );
  expect(await take(10, { after: "start" })).toEqual(["at P0", "a 1", "b 7", "at P1", "a 2", "c 1", "b 8", "a 3", "at P2", "a 4"]);
  expect(server.asked.map(({ headers }) => headers["last-event-id"])).toEqual([undefined, "P1", "P1", "P2"]);
  expect(server.asked.map(({ url }) => url)).toEqual(Array(4).fill("/v1/feed?after=start"));
});

test("a device that was removed and came back begins anew", async () => {
  server.script(events(position("P0") + entry("a", 1) + entry("a", 2) + entry("a", 1, "03"), "cut"), events(entry("a", 1, "03") + entry("a", 2, "04")));
  expect(await take(5)).toEqual(["at P0", "a 1", "a 2", "a 1", "a 2"]);
});

test("gaps: of a device, and of a bucket; only some types", async () => {
  const gaps = 'event: gap\ndata: {"device":"a","from":"1","to":"4"}\n\nevent: gap\ndata: {"bucket":3,"entries":12}\n\n';
  server.script(events(position("P0") + gaps + entry("a", 5)));
  expect(await take(4, { types: ["uplink", "presence"] })).toEqual(["at P0", "gap a 1-4", "gap of 12 in bucket 3", "a 5"]);
  expect(server.asked[0]!.url).toBe("/v1/feed?after=end&type=uplink%2Cpresence");
});

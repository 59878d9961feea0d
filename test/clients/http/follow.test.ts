// Following a stream against a scripted server: cuts, half-written events, silence, gaps, errors, and a reader that takes its time.

import { afterEach, beforeEach, expect, test } from "vitest";
import { Calls } from "../../../clients/http/src/calls.ts";
import { followEvents } from "../../../clients/http/src/follow.ts";
import { type Bellhop, connect, type Followed, type FollowOptions, type Interruption } from "../../../clients/http/src/index.ts";
import { cut, events, json, problem, ScriptedServer, silence } from "./scripted-server.ts";

let server: ScriptedServer;
let stop: AbortController;
beforeEach(async () => {
  server = await ScriptedServer.start();
  stop = new AbortController();
});
afterEach(async () => {
  stop.abort();
  await server.stop();
});

const client = (retry = {}): Bellhop => connect({ brokers: server.url, retry: { baseMs: 1, mostMs: 5, ...retry } });

function entry(offset: number, text = `m${offset}`): string {
  const fields = { offset: String(offset), time: "2026-11-20T12:00:00.000Z", type: "uplink", publisher: "", headers: {}, contentType: "text/plain" };
  return `id: ${offset}\ndata: ${JSON.stringify({ ...fields, encoding: "text", payload: text })}\n\n`;
}

/** What is followed, as short words, until so many have come. */
async function take(count: number, options: FollowOptions = {}): Promise<string[]> {
  const taken: string[] = [];
  for await (const item of client().follow("d1", { after: "0", signal: stop.signal, ...options })) {
    taken.push(word(item));
    if (taken.length === count) break;
  }
  return taken;
}

const word = (item: Followed): string => (item.type === "gap" ? `gap ${item.from}-${item.to}` : `${item.offset} ${item.payload as string}`);
const resumedFrom = (): (string | undefined)[] => server.asked.map(({ headers }) => headers["last-event-id"] as string | undefined);

test("after each cut it goes on behind the last entry it handed over: no hole, no repetition", async () => {
  server.script(
    events(entry(1) + entry(2) + 'id: 3\ndata: {"offset":"3","ti', "cut"), // half an event is none
    cut,
    problem("stopping"),
    events(entry(3) + ": nothing for 15 s\nid: 7\n\n", "end"), // a comment moves the position, of a filtered stream for example
    events(entry(8)),
  );
  expect(await take(4)).toEqual(["1 m1", "2 m2", "3 m3", "8 m8"]);
  expect(resumedFrom()).toEqual([undefined, "2", "2", "2", "7"]);
  expect(server.asked.every(({ headers, url }) => headers.accept === "text/event-stream" && url === "/v1/devices/d1/stream?after=0")).toBe(true);
});

test("a gap comes as an item of its own, and the position moves with it", async () => {
  server.script(events('id: 4\nevent: gap\ndata: {"from":"1","to":"4"}\n\n', "end"), events(entry(5)));
  expect(await take(2)).toEqual(["gap 1-4", "5 m5"]);
  expect(resumedFrom()).toEqual([undefined, "4"]);
});

test("`end` is made an offset before anything is followed, so that a cut before the first entry skips nothing", async () => {
  server.script(json({ entries: [], next: "41", earliest: "1" }), cut, events(entry(42)));
  expect(await take(1, { after: "end", types: ["uplink", "state"] })).toEqual(["42 m42"]);
  expect(server.asked.map(({ url }) => url)).toEqual([
    "/v1/devices/d1/stream?after=end&limit=1",
    "/v1/devices/d1/stream?after=41&type=uplink%2Cstate",
    "/v1/devices/d1/stream?after=41&type=uplink%2Cstate",
  ]);
});

test("what answers with something else than events is not taken for a stream", async () => {
  server.script(json({ entries: [] }), events(entry(1)));
  const interruptions: Interruption[] = [];
  expect(await take(1, { onInterruption: (one) => interruptions.push(one) })).toEqual(["1 m1"]);
  expect(interruptions.map(({ error, failures }) => [error.code, failures])).toEqual([["bad_answer", 1]]);
});

test("an error in the stream: what may pass is tried again, what will not is thrown", async () => {
  const told = (code: string, retryable: boolean): string => `event: error\ndata: ${JSON.stringify({ code, retryable, title: "Why.", status: 503 })}\n\n`;
  server.script(events(entry(1) + told("bucket_dark", true)), events(entry(2) + told("forbidden", false)));
  const taken: string[] = [];
  const reading = (async () => {
    for await (const item of client().follow("d1", { after: "0", signal: stop.signal })) taken.push(word(item));
  })();
  await expect(reading).rejects.toMatchObject({ code: "forbidden", retryable: false });
  expect(taken).toEqual(["1 m1", "2 m2"]);
});

test("refused for good: thrown at once", async () => {
  server.script(problem("unauthenticated"));
  await expect(take(1)).rejects.toMatchObject({ code: "unauthenticated", status: 401, device: "d1" });
  expect(server.asked).toHaveLength(1);
});

test("a connection that fell silent, or never answered, is given up", async () => {
  server.script(silence, events(entry(1), "stay"), events(entry(2)));
  const settings = { brokers: [server.url], key: undefined, fetch, forMs: 1000, attemptMs: 60, baseMs: 1, mostMs: 5, concurrency: 4 };
  const path = "/v1/devices/d1/stream";
  const ids: string[] = [];
  for await (const event of followEvents(new Calls(settings), () => ({ method: "GET", path }), { signal: stop.signal, silentMs: 60 })) {
    if (ids.push(event.id) === 2) break;
  }
  expect(ids).toEqual(["1", "2"]);
  expect(server.asked).toHaveLength(3);
});

test("the signal ends the loop without an error: while it waits for an entry, for the next attempt, and before it began", async () => {
  server.script(events(entry(1)));
  const taken: string[] = [];
  for await (const item of client().follow("d1", { after: "0", signal: stop.signal })) {
    taken.push(word(item));
    setImmediate(() => stop.abort());
  }
  expect(taken).toEqual(["1 m1"]);

  stop = new AbortController();
  server.script(problem("overloaded", { "retry-after": "1000" }));
  expect(await take(1, { onInterruption: () => stop.abort() })).toEqual([]);
  expect(await take(1, { after: "end" })).toEqual([]);
  expect(server.asked).toHaveLength(2);
});

test("leaving the loop closes the connection", async () => {
  const closed = new Promise<void>((resolve) => {
    server.script((response, asked) => {
      response.on("close", resolve);
      events(entry(1))(response, asked);
    });
  });
  await take(1);
  await closed;
});

test("who takes nothing gets nothing sent: the server's socket fills, and goes on where it stood", async () => {
  const count = 1000;
  const big = "x".repeat(32 * 1024);
  let sent = 0;
  let full = false;
  server.script((response) => {
    response.writeHead(200, { "content-type": "text/event-stream" });
    const write = (): void => {
      while (sent < count) {
        sent += 1;
        if (!response.write(entry(sent, big))) {
          full = true;
          response.once("drain", write);
          return;
        }
      }
    };
    write();
  });
  const items = client().follow("d1", { after: "0", signal: stop.signal })[Symbol.asyncIterator]();
  expect((await items.next()).done).toBe(false);
  // Until what the sockets and the runtime buffer is full: the count stands still over many turns.
  for (let before = -1; before !== sent; ) {
    before = sent;
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  expect(full).toBe(true);
  expect(sent).toBeLessThan(count / 2); // of 32 MiB
  for (let offset = 2; offset <= count; offset += 1) {
    const { value } = (await items.next()) as { value: Followed };
    expect(value).toMatchObject({ offset: String(offset) });
  }
});

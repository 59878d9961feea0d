// A logical call against a scripted server: what is tried again, where, how long, and with which error it ends.

import { createServer } from "node:net";
import { afterEach, beforeEach, expect, test } from "vitest";
import { retryAfterMs } from "../../../clients/http/src/backoff.ts";
import { Brokers } from "../../../clients/http/src/brokers.ts";
import { type Bellhop, type BellhopError, type BellhopOptions, connect } from "../../../clients/http/src/index.ts";
import { cut, json, problem, ScriptedServer, silence, stored, type Script } from "./scripted-server.ts";

let server: ScriptedServer;
beforeEach(async () => {
  server = await ScriptedServer.start();
});
afterEach(() => server.stop());

function client(retry: BellhopOptions["retry"] = {}, more: Partial<BellhopOptions> = {}): Bellhop {
  return connect({ brokers: server.url, ...more, retry: { baseMs: 1, mostMs: 5, ...retry } });
}

const failure = (promise: Promise<unknown>): Promise<BellhopError> =>
  promise.then(
    () => expect.unreachable("it was to fail"),
    (error: BellhopError) => error,
  );

test("one call has one key and one body for all its attempts: lost connections, 503, 429 and what a proxy answers are tried again", async () => {
  const proxy: Script = (response) => response.writeHead(502, { "content-type": "text/html" }).end("<h1>Bad Gateway</h1>");
  const portal: Script = (response) => response.writeHead(200, { "content-type": "text/html" }).end("<h1>Log in</h1>");
  server.script(cut, problem("bucket_paused"), problem("too_many_requests"), proxy, portal, stored("7"));
  expect(await client().publish("d1", { on: true })).toEqual({ device: "d1", offset: "7", duplicate: false, key: expect.any(String) as string });
  expect(server.asked).toHaveLength(6);
  expect(new Set(server.asked.map(({ headers }) => headers["idempotency-key"])).size).toBe(1);
  expect(new Set(server.asked.map(({ body }) => body))).toEqual(new Set(['{"on":true}']));
});

test("a certificate that is not accepted ends a call at once, where no other broker is left to ask", async () => {
  let asked = 0;
  const distrusting = (): Promise<Response> => {
    asked += 1;
    return Promise.reject(new TypeError("fetch failed", { cause: new Error("self-signed certificate in certificate chain") }));
  };
  const one = await failure(client({}, { fetch: distrusting }).publish("d1", "a"));
  expect([one.code, one.retryable, asked]).toEqual(["untrusted", false, 1]);
  const two = await failure(client({}, { brokers: [server.url, "https://127.0.0.1:1"], fetch: distrusting }).publish("d1", "a"));
  expect([two.code, two.retryable, asked]).toEqual(["untrusted", false, 3]);
});

test("two calls have different keys; a given one is taken", async () => {
  server.always(stored("1"));
  const bellhop = client();
  await Promise.all([bellhop.publish("d1", "a"), bellhop.publish("d1", "b"), bellhop.publish("d1", "c", { key: "mine" })]);
  const keys = server.asked.map(({ headers }) => headers["idempotency-key"]);
  expect(new Set(keys).size).toBe(3);
  expect(keys).toContain("mine");
});

test("what is not retryable is not tried again, and says what and about whom", async () => {
  server.script(problem("key_reused", {}, { detail: "It was another body." }));
  const error = await failure(client().publish("d1", "x", { key: "k" }));
  expect(error).toMatchObject({ name: "BellhopError", code: "key_reused", retryable: false, status: 422, device: "d1", key: "k", attempts: 1, detail: "It was another body." });
  expect(server.asked).toHaveLength(1);
});

test("a code of a newer broker is passed on, and its `retryable` counts", async () => {
  server.script(problem("internal", {}, { code: "of_tomorrow", retryable: true }), problem("forbidden", {}, { code: "of_tomorrow_too", retryable: false }));
  expect(await failure(client().publish("d1", "x"))).toMatchObject({ code: "of_tomorrow_too", attempts: 2 });
});

test("what no broker says and will not pass is not tried again: a redirect, a page that is not there", async () => {
  const moved: Script = (response) => response.writeHead(302, { location: "http://127.0.0.1:1/" }).end();
  const missing: Script = (response) => response.writeHead(404, { "content-type": "text/html" }).end("no such page");
  server.script(moved, missing);
  expect(await failure(client().publish("d1", "x"))).toMatchObject({ code: "bad_answer", status: 302, retryable: false });
  expect(await failure(client().publish("d1", "x"))).toMatchObject({ code: "bad_answer", status: 404, retryable: false });
});

test("Retry-After is a floor: the next attempt does not come before", async () => {
  const times: number[] = [];
  server.always((response, asked) => {
    times.push(performance.now());
    (times.length === 1 ? problem("overloaded", { "retry-after": "1" }) : stored("1"))(response, asked);
  });
  await client().publish("d1", "x");
  expect(times[1]! - times[0]!).toBeGreaterThanOrEqual(990); // timers may be a few milliseconds early
});

test("a Retry-After beyond the call's time ends it at once", async () => {
  const tomorrow = new Date(Date.now() + 86_400_000).toUTCString();
  server.script(problem("storage_full", { "retry-after": tomorrow }), json({ is: "absent", position: "3" }));
  const error = await failure(client({ forMs: 60_000 }).publish("d1", "x", { key: "k" }));
  expect(error).toMatchObject({ code: "timed_out", retryable: true, outcome: { is: "absent", position: "3" }, attempts: 1 });
  expect((error.cause as BellhopError).code).toBe("storage_full");
});

test("Retry-After in seconds and as a date", () => {
  const now = Date.parse("2026-11-20T12:00:00Z");
  expect(retryAfterMs("3", now)).toBe(3000);
  expect(retryAfterMs("Fri, 20 Nov 2026 12:00:05 GMT", now)).toBe(5000);
  expect(retryAfterMs("Fri, 20 Nov 2026 11:00:00 GMT", now)).toBe(0);
  expect(retryAfterMs("soon", now)).toBe(0);
  expect(retryAfterMs(null, now)).toBe(0);
});

test("an attempt without an answer is given up, and the next one is made", async () => {
  server.script(silence);
  server.always(stored("4", true)); // on a loaded machine it may take more attempts than one
  expect(await client({ attemptMs: 50 }).publish("d1", "x")).toMatchObject({ offset: "4", duplicate: true });
});

test("an answer whose end does not come is given up too", async () => {
  const half: Script = (response) => void response.writeHead(201, { "content-type": "application/json" }).write('{"device":"d1","off');
  server.script(half);
  server.always(stored("4", true)); // on a loaded machine it may take more attempts than one
  expect(await client({ attemptMs: 50 }).publish("d1", "x")).toMatchObject({ offset: "4" });
});

test("when the time is over the broker is asked: stored is no error", async () => {
  server.always((response, { method, url, headers }) => {
    if (method === "POST") return problem("deadline", { "retry-after": "1" })(response, undefined as never);
    expect(url).toBe("/v1/devices/d%2F1/messages?key=k%2B1");
    expect(headers["idempotency-key"]).toBeUndefined();
    json({ is: "stored", offset: "9", position: "12" })(response, undefined as never);
  });
  expect(await client({ forMs: 900 }).publish("d/1", "x", { key: "k+1" })).toEqual({ device: "d/1", offset: "9", duplicate: true, key: "k+1" });
});

test.each([
  [json({ is: "absent", position: "12" }), { is: "absent", position: "12" }],
  [json({ is: "forgotten" }), { is: "forgotten" }],
  [problem("forbidden"), { is: "unknown" }],
])("when the time is over and it is not known to be stored, the error says how it stands (%#)", async (script, outcome) => {
  server.script(problem("deadline", { "retry-after": "1" }), script);
  expect(await failure(client({ forMs: 900 }).publish("d1", "x", { key: "k" }))).toMatchObject({ code: "timed_out", retryable: true, key: "k", outcome });
});

test("a signal ends it at once: in an attempt, between two, while it waits for its turn, and before it began", async () => {
  const why = new Error("no longer wanted");
  const inAttempt = new AbortController();
  server.script(silence);
  const first = failure(client().publish("d1", "x", { signal: inAttempt.signal, key: "k" }));
  await server.askedTimes(1);
  inAttempt.abort(why);
  expect(await first).toMatchObject({ code: "aborted", cause: why, key: "k", retryable: false });

  const between = new AbortController();
  server.script(problem("overloaded", { "retry-after": "1000" }));
  const second = failure(client({ forMs: 10_000_000 }).publish("d1", "x", { signal: between.signal }));
  await server.askedTimes(2);
  between.abort(why);
  expect(await second).toMatchObject({ code: "aborted" });

  const waiting = new AbortController();
  const bellhop = client({}, { concurrency: 1 });
  server.script(silence);
  const ahead = new AbortController();
  const before = failure(bellhop.publish("d1", "x", { signal: ahead.signal }));
  const third = failure(bellhop.publish("d1", "x", { signal: waiting.signal }));
  await server.askedTimes(3);
  expect(bellhop.load).toEqual({ waiting: 1, underWay: 1 });
  waiting.abort(why);
  expect(await third).toMatchObject({ code: "aborted", attempts: 0 });
  ahead.abort();
  await before;
  expect(bellhop.load).toEqual({ waiting: 0, underWay: 0 });

  expect(await failure(client().publish("d1", "x", { signal: AbortSignal.abort(why) }))).toMatchObject({ code: "aborted", cause: why });
  expect(server.asked).toHaveLength(3);
});

test("at most `concurrency` requests are under way", async () => {
  let most = 0;
  let under = 0;
  server.always((response, asked) => {
    under += 1;
    most = Math.max(most, under);
    setImmediate(() => {
      under -= 1;
      stored("1")(response, asked);
    });
  });
  const bellhop = client({}, { concurrency: 3 });
  await Promise.all(Array.from({ length: 50 }, () => bellhop.publish("d1", "x")));
  expect(most).toBeGreaterThan(1);
  expect(most).toBeLessThanOrEqual(3);
});

test("a broker that is gone costs one attempt; while it rests the others are asked", async () => {
  const gone = await closedPort();
  server.always(stored("1"));
  const bellhop = client({}, { brokers: [gone, server.url] });
  for (let i = 0; i < 20; i += 1) await bellhop.publish("d1", "x");
  expect(server.asked).toHaveLength(20);
});

test("all brokers gone: the error says which connection failed", async () => {
  const error = await failure(client({ forMs: 60 }, { brokers: [await closedPort()] }).publish("d1", "x"));
  expect(error).toMatchObject({ code: "timed_out", outcome: { is: "unknown" } });
  expect(error.message).toContain("ECONNREFUSED");
});

test("rests double and end with the first success; when all rest, the one that wakes first is asked", () => {
  const brokers = new Brokers(["a:1", "b:2"]);
  const first = brokers.next(0);
  brokers.failed(first, 0);
  const second = brokers.next(1);
  expect(second).not.toBe(first);
  brokers.failed(second, 500);
  expect(brokers.next(501)).toBe(first); // both rest: until 1000 and until 1500
  brokers.failed(first, 1000);
  expect([first.restsUntil, second.restsUntil]).toEqual([3000, 1500]);
  expect(brokers.next(1600)).toBe(second);
  brokers.worked(second);
  expect(brokers.next(9000)).toBe(second); // it stays where it works
  brokers.failed(second, 9000);
  expect(second.restsUntil).toBe(10_000); // the first rest again
});

test("the leader's hint is followed within the list only: the key goes nowhere else", async () => {
  const other = await ScriptedServer.start();
  const stranger = await ScriptedServer.start();
  try {
    const host = new URL(other.url).host;
    server.always(problem("bucket_paused", { "bellhop-leader": host }));
    other.always((response, asked) => problem("bucket_paused", { "bellhop-leader": new URL(stranger.url).host })(response, asked));
    const bellhop = client({ forMs: 200 }, { brokers: [server.url, other.url], key: "secret" });
    await failure(bellhop.publish("d1", "x"));
    expect(server.asked.length).toBeLessThanOrEqual(1); // or none: it may begin with the other
    expect(other.asked.length).toBeGreaterThan(1);
    expect(other.asked[0]!.headers.authorization).toBe("Bearer secret");
    expect(stranger.asked).toHaveLength(0);
  } finally {
    await other.stop();
    await stranger.stop();
  }
});

test("addresses and numbers that make no sense are refused before anything is sent", () => {
  expect(() => connect({ brokers: [] })).toThrow(TypeError);
  expect(() => connect({ brokers: "http://" })).toThrow(TypeError);
  expect(() => connect({ brokers: "a:1", retry: { forMs: -1 } })).toThrow("forMs");
  expect(() => connect({ brokers: "a:1", concurrency: 0 })).toThrow("concurrency");
});

/** An address where nobody listens any more. */
async function closedPort(): Promise<string> {
  const listening = createServer();
  await new Promise<void>((resolve) => listening.listen(0, "127.0.0.1", resolve));
  const { port } = listening.address() as { port: number };
  await new Promise((resolve) => listening.close(resolve));
  return `http://127.0.0.1:${port}`;
}

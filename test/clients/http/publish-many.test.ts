// Batches against a scripted server: a result for each line, in order; only what may be sent again is, with its key.

import { afterEach, beforeEach, expect, test } from "vitest";
import { type Bellhop, connect } from "../../../clients/http/src/index.ts";
import { ERRORS, type ErrorCode } from "../../../src/base/errors.ts";
import { problemOf } from "../../../src/http/answers.ts";
import { cut, json, problem, ScriptedServer, type Script } from "./scripted-server.ts";

let server: ScriptedServer;
beforeEach(async () => {
  server = await ScriptedServer.start();
});
afterEach(() => server.stop());

const client = (forMs = 60_000): Bellhop => connect({ brokers: server.url, retry: { baseMs: 1, mostMs: 5, forMs } });

interface Line {
  readonly device: string;
  readonly key: string;
  readonly payload?: unknown;
}

/** Answers each line as `answerTo` says: an offset, or a code. */
const lines = (answerTo: (line: Line) => string): Script => (response, { body }) => {
  const answers = body.trimEnd().split("\n").map((text) => {
    const line = JSON.parse(text) as Line;
    const answer = answerTo(line);
    return answer in ERRORS ? { device: line.device, ...problemOf(answer as ErrorCode, "") } : { device: line.device, offset: answer, duplicate: false };
  });
  response.writeHead(200, { "content-type": "application/x-ndjson" }).end(answers.map((answer) => `${JSON.stringify(answer)}\n`).join(""));
};

const sent = (request: number): Line[] => server.asked[request]!.body.trimEnd().split("\n").map((line) => JSON.parse(line) as Line);
const short = (results: Awaited<ReturnType<Bellhop["publishMany"]>>): string[] => results.map((one) => (one.ok ? one.offset : one.error.code));

test("only lines that may be sent again are, with their keys; every message has its result in its place", async () => {
  server.script(lines(({ payload }) => ({ a: "1", b: "bucket_paused", c: "expired", d: "overloaded" })[payload as string]!), lines(({ payload }) => (payload === "b" ? "overloaded" : "9")), lines(() => "2"));
  const results = await client().publishMany(["a", "b", "c", "d"].map((payload) => ({ device: "d1", payload, ...(payload === "d" ? { key: "mine" } : {}) })));
  expect(short(results)).toEqual(["1", "2", "expired", "9"]);
  expect(results[2]).toMatchObject({ ok: false, error: { retryable: false, device: "d1", key: results[2]!.key } });
  expect(results[3]!.key).toBe("mine");
  expect(sent(1).map(({ payload, key }) => [payload, key])).toEqual([["b", results[1]!.key], ["d", "mine"]]);
  expect(sent(2).map(({ key }) => key)).toEqual([results[1]!.key]);
});

test("a batch that is lost as a whole goes again as it was", async () => {
  server.script(cut, problem("stopping"), json([1]), lines(() => "1"));
  expect(short(await client().publishMany([{ device: "a", payload: "x" }, { device: "b", payload: "y" }]))).toEqual(["1", "1"]);
  expect(new Set(server.asked.map(({ body }) => body)).size).toBe(1);
  expect(server.asked).toHaveLength(4);
});

test("answers that are fewer or more than the lines are not guessed at", async () => {
  const answered = (count: number): Script => (response) => response.writeHead(200, { "content-type": "application/x-ndjson" }).end('{"offset":"1"}\n'.repeat(count));
  server.script(answered(1), answered(3), lines(() => "7"));
  expect(short(await client().publishMany([{ device: "a", payload: "x" }, { device: "b", payload: "y" }]))).toEqual(["7", "7"]);
});

test("a batch that is too large for the broker goes in halves, and the one message that is too large is told alone", async () => {
  server.always((response, asked) => {
    const script = asked.body.length > 200 ? problem("too_large") : lines(() => "1");
    script(response, asked);
  });
  const payloads = ["a", "b", "c", "x".repeat(300), "e"];
  expect(short(await client().publishMany(payloads.map((payload) => ({ device: "d", payload, key: "k" }))))).toEqual(["1", "1", "1", "too_large", "1"]);
});

test("many messages go in batches of at most 1000 lines", async () => {
  server.always(lines(() => "1"));
  const results = await client().publishMany(Array.from({ length: 2500 }, (_, i) => ({ device: "d", payload: i })));
  expect(results.every(({ ok }) => ok)).toBe(true);
  expect([0, 1, 2].map((request) => sent(request).length)).toEqual([1000, 1000, 500]);
});

test("when the time is over each is asked for: stored is no error", async () => {
  server.script(lines(() => "deadline"));
  server.always((response, { method, url }) => {
    if (method === "POST") problem("overloaded", { "retry-after": "1" })(response, undefined as never);
    else json(url.includes("key=a") ? { is: "stored", offset: "5" } : { is: "absent", position: "5" })(response, undefined as never);
  });
  const results = await client(900).publishMany([{ device: "d", payload: "x", key: "a" }, { device: "d", payload: "y", key: "b" }]);
  expect(results[0]).toEqual({ ok: true, device: "d", key: "a", offset: "5", duplicate: true });
  expect(results[1]).toMatchObject({ ok: false, error: { code: "timed_out", outcome: { is: "absent", position: "5" } } });
});

test("aborted, it rejects at once", async () => {
  const stop = new AbortController();
  server.always(problem("overloaded", { "retry-after": "1000" }));
  const publishing = client(10_000_000).publishMany([{ device: "d", payload: "x" }], { signal: stop.signal });
  await server.askedTimes(1);
  stop.abort();
  await expect(publishing).rejects.toMatchObject({ code: "aborted" });
});

test("nothing to publish: no request", async () => {
  expect(await client().publishMany([])).toEqual([]);
  expect(server.asked).toHaveLength(0);
});

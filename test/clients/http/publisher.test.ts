// An ordered series against a scripted server that takes numbers as a broker does: in order, whatever fails, and what ends it.

import type { ServerResponse } from "node:http";
import { afterEach, beforeEach, expect, test } from "vitest";
import { type Bellhop, type BellhopError, connect, type Publisher } from "../../../clients/http/src/index.ts";
import { type Asked, cut, json, problem, ScriptedServer, type Script } from "./scripted-server.ts";

let server: ScriptedServer;
beforeEach(async () => {
  server = await ScriptedServer.start();
});
afterEach(() => server.stop());

const client = (forMs = 60_000): Bellhop => connect({ brokers: server.url, retry: { baseMs: 1, mostMs: 5, forMs, attemptMs: 500 } });

/** What a broker keeps of a session. */
class Session {
  readonly stored: string[] = [];
  expected = 1;
  /** Answers before the broker looks at the number; undefined: it looks. */
  disturb: (series: number, asked: Asked) => Script | undefined = () => undefined;

  readonly answer: Script = (response, asked) => {
    if (asked.method === "POST") return json({ device: "d1", session: "7", nonce: (JSON.parse(asked.body) as { nonce: string }).nonce, next: "1", window: 16, wrap: "0" })(response, asked);
    const number = Number(/\/publishers\/7\/messages\/(\d+)$/.exec(asked.url)![1]);
    const disturbance = this.disturb(number, asked);
    if (disturbance !== undefined) return disturbance(response, asked);
    this.take(number, asked)(response, asked);
  };

  take(number: number, { body }: Asked): Script {
    if (number > this.expected) return problem("gap", {}, { expected: String(this.expected) });
    if (number < this.expected) return json({ device: "d1", duplicate: true });
    this.expected += 1;
    this.stored.push(body);
    return json({ device: "d1", offset: String(number), duplicate: false }, 201);
  }
}

async function open(session: Session, forMs?: number): Promise<Publisher> {
  server.always(session.answer);
  return client(forMs).publisher("d1", { name: "planner" });
}

const words = (count: number): string[] => Array.from({ length: count }, (_, i) => `m${i + 1}`);
const failure = (promise: Promise<unknown>): Promise<BellhopError> => promise.then(() => expect.unreachable("it was to fail"), (error: BellhopError) => error);

test("messages are stored in the order of the calls, several under way at once", async () => {
  const session = new Session();
  let under = 0;
  let most = 0;
  const slow: Script = (response, asked) => {
    most = Math.max(most, (under += 1));
    setTimeout(() => {
      under -= 1;
      session.answer(response, asked);
    }, 3 * Math.random()); // some overtake others
  };
  server.always(slow);
  const series = await client().publisher("d1", { name: "planner" });
  const stored = await Promise.all(words(100).map((word) => series.publish(word)));
  expect(session.stored).toEqual(words(100));
  expect(stored.map(({ series: number }) => number)).toEqual(Array.from({ length: 100 }, (_, i) => String(i + 1)));
  expect(most).toBeGreaterThan(1);
  expect(series.waiting).toBe(0);
});

test("a gap that is told late, when what it expected has been stored since, ends nothing", async () => {
  const session = new Session();
  let late: (() => void) | undefined;
  session.disturb = (number, asked) => {
    if (number === 1 && late === undefined) return (response) => void setTimeout(() => session.answer(response, asked), 1); // until 2 has overtaken it
    if (number !== 2 || late !== undefined) return undefined;
    const gap = session.take(number, asked);
    return (response) => {
      late = () => gap(response, asked);
    };
  };
  const publisher = await open(session);
  const second = Promise.all(["m1", "m2"].map((word) => publisher.publish(word)));
  while (session.expected < 2 || late === undefined) await new Promise((resolve) => setImmediate(resolve));
  while (publisher.waiting > 1) await new Promise((resolve) => setImmediate(resolve)); // 1 is answered
  late();
  expect((await second).map(({ series }) => series)).toEqual(["1", "2"]);
  expect(session.stored).toEqual(["m1", "m2"]);
});

test("lost requests, lost answers, refusals that pass: each is stored once, in order", async () => {
  const session = new Session();
  let calls = 0;
  session.disturb = (number, asked) => {
    calls += 1;
    if (calls % 7 === 0) return problem("bucket_paused");
    if (calls % 11 === 0) return cut;
    if (calls % 5 !== 0) return undefined;
    session.take(number, asked); // stored, its answer lost
    return cut;
  };
  const publisher = await open(session);
  const stored = await Promise.all(words(120).map((word) => publisher.publish(word)));
  expect(session.stored).toEqual(words(120));
  expect(stored.some(({ duplicate, offset }) => duplicate && offset === undefined)).toBe(true);
});

test("refused for good: that one is told, its number is spent, and the next ones follow", async () => {
  const session = new Session();
  session.disturb = (number) => {
    if (number !== 2) return undefined;
    if (session.expected === 2) session.expected = 3; // as the broker does: the number is spent on nothing
    return session.expected >= 3 ? problem("too_large") : undefined;
  };
  const publisher = await open(session);
  const results = await Promise.allSettled(words(4).map((word) => publisher.publish(word)));
  expect(results.map(({ status }) => status)).toEqual(["fulfilled", "rejected", "fulfilled", "fulfilled"]);
  expect((results[1] as PromiseRejectedResult).reason).toMatchObject({ code: "too_large", device: "d1" });
  expect(session.stored).toEqual(["m1", "m3", "m4"]);
  expect(publisher.waiting).toBe(0);
});

test("taken over: everything that waits is told so, and all that comes after", async () => {
  const session = new Session();
  session.disturb = (number) => (number >= 3 ? problem("taken_over") : undefined);
  const publisher = await open(session);
  const results = await Promise.allSettled(words(5).map((word) => publisher.publish(word)));
  expect(results.map(({ status }) => status)).toEqual(["fulfilled", "fulfilled", "rejected", "rejected", "rejected"]);
  expect(await failure(publisher.publish("late"))).toMatchObject({ code: "taken_over", retryable: false });
});

test("a broker that expects what it had acknowledged has lost it: told, not sent anew", async () => {
  const session = new Session();
  const publisher = await open(session);
  await publisher.publish("m1");
  session.expected = 1;
  expect(await failure(publisher.publish("m2"))).toMatchObject({ code: "gap", expected: "1" });
});

test("when nothing moves the series ends, and each message says what the broker knows of it", async () => {
  const session = new Session();
  session.disturb = (number, { method }) => {
    if (method === "GET") return json(number === 1 ? { is: "stored", position: "5" } : { is: "absent", position: "5" });
    return problem("overloaded", { "retry-after": "1" });
  };
  const publisher = await open(session, 700);
  const results = await Promise.allSettled(words(9).map((word) => publisher.publish(word)));
  expect(results[0]).toMatchObject({ status: "fulfilled", value: { series: "1", duplicate: true } });
  expect(results[1]).toMatchObject({ status: "rejected", reason: { code: "timed_out", outcome: { is: "absent", position: "5" } } });
  expect(results[8]).toMatchObject({ status: "rejected", reason: { code: "timed_out", outcome: { is: "unsent" } } });
  expect(await failure(publisher.publish("late"))).toMatchObject({ code: "timed_out" });
});

test("close waits for what is under way, and then takes nothing more", async () => {
  let hold: (() => void) | undefined;
  const session = new Session();
  const held: Script = (response: ServerResponse, asked) => {
    hold = () => session.take(1, asked)(response, asked);
  };
  session.disturb = () => (hold === undefined ? held : undefined);
  const publisher = await open(session);
  const first = publisher.publish("m1");
  const closing = publisher.close();
  await server.askedTimes(2);
  hold!();
  expect(await first).toMatchObject({ offset: "1" });
  await closing;
  expect(await failure(publisher.publish("late"))).toMatchObject({ code: "closed" });
});

test("the signal ends it at once", async () => {
  const session = new Session();
  session.disturb = () => () => undefined; // no answer ever comes
  server.always(session.answer);
  const stop = new AbortController();
  const publisher = await client().publisher("d1", { name: "planner", signal: stop.signal });
  const waiting = failure(publisher.publish("m1"));
  await server.askedTimes(2);
  stop.abort(new Error("enough"));
  expect(await waiting).toMatchObject({ code: "aborted", cause: new Error("enough") });
});

test("an opening that is sent again has the same nonce; where a greater one stands, the next above it is taken, once", async () => {
  const opened = json({ device: "d1", session: "7", nonce: "91", next: "1", window: 16 });
  server.script(cut, problem("taken_over", {}, { nonce: "90" }), opened, problem("taken_over", {}, { nonce: "90" }));
  expect(await client().publisher("d1", { name: "planner" })).toMatchObject({ nonce: "91", next: 1 });
  const nonces = server.asked.map(({ body }) => (JSON.parse(body) as { nonce: string }).nonce);
  expect(nonces[0]).toMatch(/^\d{15,20}$/);
  expect(nonces.slice(1)).toEqual([nonces[0], "91"]);
  expect(await failure(client().publisher("d1", { name: "planner", nonce: "12" }))).toMatchObject({ code: "taken_over", nonce: "90" });
});

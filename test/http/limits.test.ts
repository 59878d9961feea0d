// Limits of the HTTP port: requests per address and key with RateLimit headers, connections, and clients that send nothing or too slowly.

import { once } from "node:events";
import { request, type IncomingMessage } from "node:http";
import { connect } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { afterEach, expect, test } from "vitest";
import { hostAndPort } from "../../src/base/address.ts";
import { type Reply, runBroker, type RunningBroker } from "./broker.ts";

let broker: RunningBroker;
afterEach(() => broker.stop());

const status = (headers: Record<string, string> = {}): Promise<Reply> => broker.call("GET", "/livez", { headers });

test("above the rate of an address: 429 with Retry-After and what is left, and then it is answered again", async () => {
  broker = await runBroker({ httpRequestsPerAddress: 5 });
  const replies = await Promise.all(Array.from({ length: 20 }, () => status()));
  const refused = replies.filter((reply) => reply.status === 429);
  expect(refused.length).toBeGreaterThan(0);
  expect(replies.filter((reply) => reply.status === 200).length).toBeGreaterThanOrEqual(5);
  for (const { headers, json } of refused) {
    expect([headers["ratelimit-policy"], headers["ratelimit"], headers["retry-after"]]).toEqual([`"address";q=5;w=1`, `"address";r=0;t=1`, "1"]);
    expect([json.code, json.retryable]).toEqual(["too_many_requests", true]);
  }
  await sleep(1000); // what Retry-After asks for
  expect((await status()).status).toBe(200);
});

test("the rate of a key is its own", async () => {
  broker = await runBroker({ httpRequestsPerKey: 2 });
  const of = (key: string): Promise<Reply> => status({ authorization: `Bearer ${key}` });
  const first = await Promise.all(Array.from({ length: 10 }, () => of("one")));
  expect(first.some((reply) => reply.status === 429)).toBe(true);
  const other = await of("other");
  expect([other.status, other.headers["ratelimit"]]).toEqual([200, `"key";r=1;t=1`]);
  expect((await status()).headers["ratelimit"]).toBeUndefined();
});

test("without a limit there are no such headers", async () => {
  broker = await runBroker();
  const { headers } = await status();
  expect([headers["ratelimit"], headers["ratelimit-policy"]]).toEqual([undefined, undefined]);
});

test("a request on one connection too many is refused in words, and the place is free again afterwards", async () => {
  broker = await runBroker({ httpMaxConnections: 2 });
  const held = Array.from({ length: 2 }, () => connect(hostAndPort(broker.http)));
  await Promise.all(held.map((socket) => once(socket, "connect")));
  await expect.poll(async () => (await status()).status).toBe(503);
  const { json, headers } = await status();
  expect([json.code, headers["connection"], headers["retry-after"]]).toEqual(["overloaded", "close", "1"]);
  held.forEach((socket) => socket.destroy());
  await expect.poll(async () => (await status()).status).toBe(200);
});

test("silence, a head that comes a byte at a time and a body that stays away end with httpRequestSeconds, and others are answered meanwhile", async () => {
  broker = await runBroker({ httpRequestSeconds: 1 });
  const open = (): ReturnType<typeof connect> => connect(hostAndPort(broker.http)).on("error", () => undefined);
  const silent = open();
  const slow = open();
  const drip = setInterval(() => slow.writable && slow.write("X"), 100);
  const withoutBody = request(`http://${broker.http}/v1/devices/d/messages`, { method: "POST", headers: { "content-length": "10" } });
  withoutBody.on("error", () => undefined).write("one");
  const answered = once(withoutBody, "response") as Promise<[IncomingMessage]>;
  expect((await status()).status).toBe(200);
  const [[response]] = await Promise.all([answered, once(silent.resume(), "close"), once(slow.resume(), "close")]);
  expect(response.statusCode).toBe(408);
  clearInterval(drip);
});

test("a reader that never reads does not make the broker hold more than its buffers", async () => {
  broker = await runBroker({ maxPayloadBytes: 65_536, drainSeconds: 1 });
  for (let i = 0; i < 40; i += 1) await broker.call("POST", "/v1/devices/d/messages", { body: "x".repeat(65_536), headers: { "content-type": "text/plain" } });
  const deaf = connect(hostAndPort(broker.http)).on("error", () => undefined);
  deaf.write("GET /v1/devices/d/stream?limit=1000 HTTP/1.1\r\nhost: localhost\r\n\r\n".repeat(200)); // half a gigabyte of answers
  await once(deaf, "readable");
  const before = process.memoryUsage().rss;
  for (let i = 0; i < 50; i += 1) expect((await status()).status).toBe(200);
  expect(process.memoryUsage().rss - before).toBeLessThan(200 * 1024 * 1024);
  deaf.destroy();
});

test("behind an unfinished answer so many requests of a connection wait; further ones are refused, each in its turn", async () => {
  broker = await runBroker();
  const socket = connect(hostAndPort(broker.http));
  const get = (path: string): string => `GET ${path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n`;
  socket.write(`${get("/v1/devices/waits/stream?after=0&wait=1s")}${get("/livez").repeat(30)}`);
  let said = "";
  const statuses = (): string[] => [...said.matchAll(/HTTP\/1\.1 (\d+)/g)].map(([, status]) => status!);
  for await (const chunk of socket) {
    said += String(chunk);
    if (statuses().length === 31) break;
  }
  expect(statuses()).toEqual(["200", ...Array.from({ length: 16 }, () => "200"), ...Array.from({ length: 14 }, () => "429")]);
});

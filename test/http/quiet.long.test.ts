// Followed streams over longer times: comments while nothing comes, and a reader that takes nothing.

import { request, type IncomingMessage } from "node:http";
import { afterAll, beforeAll, expect, test } from "vitest";
import { runBroker, type RunningBroker } from "./broker.ts";

let broker: RunningBroker;
beforeAll(async () => {
  broker = await runBroker();
});
afterAll(() => broker.stop());

function open(path: string): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => {
    request(`http://${broker.http}${path}`, { headers: { accept: "text/event-stream" } }, resolve).on("error", reject).end();
  });
}

test.concurrent("a comment comes every 15 s, with the position that was reached", async () => {
  for (const body of ["a", "b"]) await broker.call("POST", "/v1/devices/quiet/messages", { body });
  const began = performance.now();
  const response = await open("/v1/devices/quiet/stream?type=state"); // passes over both
  let text = "";
  response.setEncoding("utf8");
  for await (const chunk of response) {
    text += chunk as string;
    if (text.split("id: 2").length > 2) break;
  }
  expect(text).toBe("retry: 2000\n\n: nothing for 15 s\nid: 2\n\n: nothing for 15 s\nid: 2\n\n");
  expect((performance.now() - began) / 1000).toBeGreaterThan(29);
});

test.concurrent("a reader that takes nothing is let go after 30 s, and the broker holds no more than its bound for it", async () => {
  const response = await open("/v1/devices/slow/stream");
  response.pause();
  const body = "x".repeat(250_000);
  for (let i = 0; i < 200; i += 1) expect((await broker.call("POST", "/v1/devices/slow/messages", { body })).status).toBe(201);
  const held = async (): Promise<number> => ((await broker.call("GET", "/v1/devices/slow/explain")).json as { followers: number }).followers;
  expect(await held()).toBe(1);
  while ((await held()) > 0) await broker.call("GET", "/v1/devices/nobody/stream?wait=1s");
  let received = 0;
  response.on("data", (chunk: Buffer) => (received += chunk.length));
  response.on("error", () => undefined);
  await new Promise((resolve) => response.once("close", resolve).resume());
  // Of 50 MB only what the two sockets' buffers and one page hold was ever written for it.
  expect(received).toBeLessThan(25_000_000);
});

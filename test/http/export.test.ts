// A device's whole stream as NDJSON: every entry a line, gaps told, bounded by the end as it was, at its reader's pace.

import { request, type IncomingMessage } from "node:http";
import { afterAll, beforeAll, expect, test } from "vitest";
import { runBroker, type RunningBroker } from "./broker.ts";

let broker: RunningBroker;
beforeAll(async () => {
  broker = await runBroker();
});
afterAll(() => broker.stop());

const NDJSON = { accept: "application/x-ndjson" };
const publish = async (device: string, body: string, contentType = "text/plain") => broker.call("POST", `/v1/devices/${device}/messages`, { body, headers: { "content-type": contentType } });
const lines = (text: string) => text.split("\n").slice(0, -1).map((line) => JSON.parse(line) as { offset?: string; payload?: unknown; gap?: unknown });

test("has every entry, over many pages", async () => {
  for (let i = 1; i <= 600; i += 1) await publish("whole", `m${i}`);
  const { status, headers, text } = await broker.call("GET", "/v1/devices/whole/stream", { headers: NDJSON });
  expect([status, headers["content-type"]]).toEqual([200, "application/x-ndjson"]);
  expect(lines(text).map(({ offset, payload }) => [offset, payload])).toEqual(Array.from({ length: 600 }, (_, i) => [String(i + 1), `m${i + 1}`]));
  const rest = await broker.call("GET", "/v1/devices/whole/stream?after=598&type=downlink", { headers: NDJSON });
  expect(lines(rest.text)).toHaveLength(2);
  expect((await broker.call("GET", "/v1/devices/whole/stream?type=uplink", { headers: NDJSON })).text).toBe("");
});

test("JSON over several lines is one line", async () => {
  await publish("pretty", `{\n  "a": "x\\ny"\n}`, "application/json");
  expect(lines((await broker.call("GET", "/v1/devices/pretty/stream", { headers: NDJSON })).text)).toMatchObject([{ payload: { a: "x\ny" } }]);
});

test("tells a gap", async () => {
  for (let i = 1; i <= 5; i += 1) await publish("gap", `m${i}`);
  await broker.call("PUT", "/v1/devices/gap", { body: `{"retainEntries":2}` });
  expect(lines((await broker.call("GET", "/v1/devices/gap/stream", { headers: NDJSON })).text)).toMatchObject([{ gap: { from: "1", to: "3" } }, { offset: "4" }, { offset: "5" }]);
});

test("of a device that is not known is empty, and errors are problems", async () => {
  expect((await broker.call("GET", "/v1/devices/none/stream", { headers: NDJSON })).text).toBe("");
  expect((await broker.call("GET", "/v1/devices/none/stream?after=x", { headers: NDJSON })).json.code).toBe("bad_request");
});

test("waits for its reader, ends where the stream ended when it began, and is cut, not ended, when the device is removed", async () => {
  const payload = "x".repeat(250_000);
  for (let i = 0; i < 80; i += 1) await publish("big", payload); // 20 MB: more than sockets hold
  const open = (): Promise<IncomingMessage> => new Promise((resolve) => {
    request(`http://${broker.http}/v1/devices/big/stream`, { headers: NDJSON }, (response) => resolve(response.pause())).end();
  });
  const slow = await open();
  const cut = await open();
  await publish("big", "later");
  const text = await readAll(slow);
  expect(lines(text)).toHaveLength(80);
  await broker.call("DELETE", "/v1/devices/big");
  await expect(readAll(cut)).rejects.toMatchObject({ code: "ECONNRESET" });
  while ((await broker.call("GET", "/v1/status")).json.followers > 0) await broker.call("GET", "/livez");
});

async function readAll(response: IncomingMessage): Promise<string> {
  let text = "";
  response.setEncoding("utf8");
  for await (const chunk of response) text += chunk as string;
  return text;
}

// A removed device's data is really gone: no byte of it stays in the log's files, the others' entries stay as they were, over a restart too.

import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { runBroker, type RunningBroker } from "./broker.ts";

const SECRET = "a-secret-that-must-go";
const KEPT = "words-that-must-stay";

/** Files of the log that hold the text. */
function holding(data: string, text: string): string[] {
  const log = join(data, "log");
  return readdirSync(log).filter((name) => readFileSync(join(log, name)).includes(text));
}

async function until(broker: RunningBroker, holds: () => boolean | Promise<boolean>): Promise<void> {
  while (!(await holds())) await broker.call("GET", "/v1/devices/none/stream?after=end&wait=1s"); // a second passes; the test's time-out bounds it
}

test("blanked in sealed and open segments, beside entries that stay", async () => {
  const data = mkdtempSync(join(tmpdir(), "bellhop-erase-"));
  const settings = { data, bucketCount: 2, segmentBytes: 1024 * 1024, checkpointSeconds: 1, eraseSeconds: 1 };
  let broker = await runBroker(settings);
  const publish = async (device: string, body: string): Promise<void> => {
    expect((await broker.call("POST", `/v1/devices/${device}/messages`, { body, headers: { "content-type": "text/plain", "idempotency-key": `${SECRET}-${body.length}-${Math.random()}` } })).status).toBe(201);
  };
  for (let i = 0; i < 30; i += 1) {
    await publish("gone", `${SECRET}${"x".repeat(100_000)}`); // several segments
    await broker.call("POST", "/v1/devices/stays/messages", { body: `${KEPT} ${i}`, headers: { "content-type": "text/plain" } });
  }
  await broker.call("PUT", "/v1/devices/gone/state", { body: JSON.stringify({ note: SECRET }) });
  expect(holding(data, SECRET).length).toBeGreaterThan(2);

  expect((await broker.call("DELETE", "/v1/devices/gone")).status).toBe(204);
  const number = async (name: string): Promise<number> => (await broker.call("GET", "/v1/status")).json.numbers[name] as number;
  await until(broker, () => holding(data, SECRET).length === 0);
  await until(broker, async () => (await number("removals_pending")) === 0);
  expect(await number("erased_entries_total")).toBeGreaterThanOrEqual(31);

  const stays = async (): Promise<unknown[]> => ((await broker.call("GET", "/v1/devices/stays/stream")).json as { entries: { payload: unknown }[] }).entries.map(({ payload }) => payload);
  const all = Array.from({ length: 30 }, (_, i) => `${KEPT} ${i}`);
  expect(await stays()).toEqual(all);
  await publish("gone", "anew");
  expect((await broker.call("GET", "/v1/devices/gone")).json.end).toBe("1");

  await broker.stop();
  broker = await runBroker(settings); // the log is whole, and the new device is not taken for the old one
  expect(await stays()).toEqual(all);
  expect(((await broker.call("GET", "/v1/devices/gone/stream")).json as { entries: { payload: string }[] }).entries[0]?.payload).toBe("anew");
  await broker.stop();
  rmSync(data, { recursive: true });
}, 60_000);

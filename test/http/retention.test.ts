// What retention has forgotten: readers are told which offsets are missing, and go on behind them.

import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { runBroker, type RunningBroker } from "./broker.ts";

const MESSAGES = 40;
const PAYLOAD = "x".repeat(250_000); // 10 MB in all, of which 4 MiB may stay

let broker: RunningBroker;
beforeAll(async () => {
  broker = await runBroker({ bucketCount: 1, segmentBytes: 1024 * 1024, retainBytes: 4 * 1024 * 1024 });
});
afterAll(() => broker.stop());

interface PageJson {
  entries: { offset: string }[];
  earliest: string;
  next: string;
  gap?: { from: string; to: string };
}

test("a page and a followed stream tell the gap; explain tells what is forgotten", async () => {
  for (let i = 1; i <= MESSAGES; i += 1) expect((await broker.call("POST", "/v1/devices/d/messages", { body: PAYLOAD })).json.offset).toBe(String(i));
  const page = await afterRetention();
  const earliest = Number(page.earliest);
  expect(earliest).toBeGreaterThan(1);
  expect(earliest).toBeLessThanOrEqual(MESSAGES);
  expect(page.gap).toEqual({ from: "1", to: String(earliest - 1) });
  expect(page.entries[0]?.offset).toBe(page.earliest);

  const events = await broker.follow("/v1/devices/d/stream?after=0");
  const [gap, ...entries] = await events.take(1 + MESSAGES - earliest + 1);
  expect([gap?.event, gap?.id, JSON.parse(gap?.data ?? "")]).toEqual(["gap", String(earliest - 1), page.gap]);
  expect(entries.map((event) => Number(event.id))).toEqual(Array.from({ length: MESSAGES - earliest + 1 }, (_, i) => earliest + i));
  events.close();

  expect((await broker.call("GET", "/v1/devices/d/explain?offset=1")).json.offset).toEqual({ offset: "1", is: "forgotten" });
  expect((await broker.call("GET", "/v1/devices/d")).json).toMatchObject({ earliest: page.earliest, end: String(MESSAGES) });
  expect((await broker.call("POST", "/v1/devices/d/messages", { body: "next" })).json.offset).toBe(String(MESSAGES + 1));
});

test("starts forget nothing: a segment that a start sealed counts with what it holds", async () => {
  const data = mkdtempSync(join(tmpdir(), "bellhop-retention-"));
  const chosen = { data, bucketCount: 1, segmentBytes: 1024 * 1024, retainBytes: 4 * 1024 * 1024 };
  for (let start = 1; start <= 7; start += 1) {
    const again = await runBroker(chosen);
    expect((await again.call("POST", "/v1/devices/d/messages", { body: `start ${start}` })).json.offset).toBe(String(start));
    const { log_bytes: held } = (await again.call("GET", "/v1/status")).json.numbers as { log_bytes: number };
    expect(held).toBeLessThan(2 * 1024 * 1024);
    await again.stop();
  }
  rmSync(data, { recursive: true });
});

/** The broker looks after its retention from time to time; until then nothing is missing. The test's time-out bounds it. */
async function afterRetention(): Promise<PageJson> {
  for (;;) {
    const page = (await broker.call("GET", "/v1/devices/d/stream?limit=2")).json as PageJson;
    if (page.gap !== undefined) return page;
    await broker.call("GET", "/v1/devices/d/stream?after=end&wait=1s"); // a second passes
  }
}

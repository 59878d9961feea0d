// kill -9 of the broker in the middle of calls: every publish that resolved is in its stream, once, and nothing else is; a series is in its order.

import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { connect, type Stored } from "../../../clients/http/src/index.ts";
import { NodeProcess } from "../../faults/node.ts";

const KILLS = 2;
const PUBLISHERS = 32;
const DEVICES = ["d1", "d2", "d3"];
/** Publishes that must have resolved before each kill. */
const BETWEEN = 100;

test("every resolved publish is stored once, over kills in mid-call, and a series in its order", async () => {
  const data = mkdtempSync(join(tmpdir(), "bellhop-http-kill-"));
  let node = await NodeProcess.start(data);
  const bellhop = connect({ brokers: node.http, retry: { baseMs: 20, mostMs: 200 }, concurrency: PUBLISHERS });
  const stored = new Map<string, Stored>();
  let stop = false;
  let enough = 0;
  let whenEnough = (): void => undefined;
  const series = await bellhop.publisher("ordered", { name: "planner" });
  const inSeries: Promise<unknown>[] = [];
  const publishers = Array.from({ length: PUBLISHERS }, async (_, publisher) => {
    for (let i = 0; !stop; i += 1) {
      const payload = `${publisher}/${i}`;
      stored.set(payload, await bellhop.publish(DEVICES[i % DEVICES.length]!, payload));
      if (publisher === 0) inSeries.push(series.publish(`s${inSeries.length}`));
      if (stored.size === enough) whenEnough();
    }
  });
  try {
    for (let kill = 0; kill < KILLS; kill += 1) {
      await new Promise<void>((resolve) => {
        enough = stored.size + BETWEEN;
        whenEnough = resolve;
      });
      expect(bellhop.load.underWay).toBeGreaterThan(0);
      await node.stop("SIGKILL");
      node = await NodeProcess.start(data, { inPlaceOf: node });
    }
    stop = true;
    await Promise.all(publishers);
    await Promise.all(inSeries);
    expect(stored.size).toBeGreaterThanOrEqual(KILLS * BETWEEN);
    const found = new Map<string, string>();
    for (const device of DEVICES) {
      for await (const page of bellhop.stream(device, { limit: 1000 })) {
        for (const { payload, offset } of page.entries) {
          expect(found.has(payload as string), `${payload as string} is stored twice`).toBe(false);
          found.set(payload as string, `${device}@${offset}`);
        }
      }
    }
    expect(found).toEqual(new Map([...stored].map(([payload, { device, offset }]) => [payload, `${device}@${offset}`])));
    const ordered: unknown[] = [];
    for await (const page of bellhop.stream("ordered")) ordered.push(...page.entries.map(({ payload }) => payload));
    expect(ordered).toEqual(inSeries.map((_, i) => `s${i}`));
  } finally {
    stop = true;
    await node.stop("SIGKILL");
    rmSync(data, { recursive: true });
  }
}, 60_000);

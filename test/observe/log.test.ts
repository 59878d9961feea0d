// The node's log has stable fields and no secrets.

import { describe, expect, test } from "vitest";
import { createLog, SeldomLog } from "../../src/observe/log.ts";
import { LoopWatch } from "../../src/observe/loop.ts";

describe("log", () => {
  test("has stable fields and redacts secrets", () => {
    const lines: string[] = [];
    const log = createLog("info", "n1", { write: (line: string) => void lines.push(line) });
    log.info({ device: "d1", token: "hunter2", req: { headers: { authorization: "Bearer hunter2" } } }, "connected");
    log.debug("not written");
    expect(lines).toHaveLength(1);
    const line = JSON.parse(lines[0] ?? "") as Record<string, unknown>;
    expect(line).toMatchObject({ level: "info", node: "n1", msg: "connected", device: "d1", token: "[redacted]" });
    expect(new Date(line["time"] as string).toISOString()).toBe(line["time"]);
    expect(lines[0]).not.toContain("hunter2");
  });

  test("writes lines that come in masses once in 10 s, and counts the others", () => {
    const lines: string[] = [];
    const seldom = new SeldomLog(createLog("info", "n1", { write: (line: string) => void lines.push(line) }));
    for (const now of [0, 1, 9999, 10_000, 10_001, 20_000]) seldom.write("warn", { code: "loop_blocked", at: now }, "late", now);
    const told = lines.map((line) => JSON.parse(line) as Record<string, unknown>).map(({ at, more }) => [at, more]);
    expect(told).toEqual([[0, undefined], [10_000, 2], [20_000, 1]]);
  });

  test("or as seldom as its writer says", () => {
    const lines: string[] = [];
    const seldom = new SeldomLog(createLog("info", "n1", { write: (line: string) => void lines.push(line) }), 60_000);
    for (const now of [0, 10_000, 59_999, 60_000]) seldom.write("warn", { code: "loop_blocked", at: now }, "late", now);
    expect(lines.map((line) => (JSON.parse(line) as { at: number }).at)).toEqual([0, 60_000]);
  });
});

describe("the watch of the event loop", () => {
  test("a step of this process that takes long is counted, and told with a hint", async () => {
    const lines: string[] = [];
    const watch = new LoopWatch(createLog("info", "n1", { write: (line: string) => void lines.push(line) }));
    const until = performance.now() + 250;
    while (performance.now() < until);
    while (watch.readings().loop_blocked_total === 0) await new Promise((resolve) => setTimeout(resolve, 5));
    watch.stop();
    const line = JSON.parse(lines[0] ?? "{}") as Record<string, unknown>;
    expect(line).toMatchObject({ level: "warn", code: "loop_blocked" });
    expect(line["ms"]).toBeGreaterThanOrEqual(100);
    expect(line["msg"]).toMatch(/^the event loop was blocked for \d+ ms: this process /);
  });
});

// Metrics are read from plain numbers when asked for; the log has stable fields and no secrets.

import { createHistogram } from "node:perf_hooks";
import { describe, expect, test } from "vitest";
import { createLog } from "../../src/observe/log.ts";
import { createMetrics } from "../../src/observe/metrics.ts";

describe("metrics", () => {
  test("follow the numbers, with the type that the name tells", async () => {
    const numbers: Record<string, number> = { published_total: 5, log_bytes: 100 };
    const fsync = createHistogram();
    const metrics = createMetrics({ build: { version: "1.2.3", node: "n1" }, numbers: () => numbers, waiting: () => ({ backlog: 3 }), histograms: { fsync } });
    let text = await metrics.text();
    expect(text).toContain("# TYPE bellhop_published_total counter\nbellhop_published_total 5\n");
    expect(text).toContain("# TYPE bellhop_log_bytes gauge\nbellhop_log_bytes 100\n");
    expect(text).toContain(`bellhop_build_info{version="1.2.3",node="n1",runtime="${process.version}"} 1`);
    expect(text).toContain(`bellhop_waiting{where="backlog"} 3`);
    expect(text).toMatch(/^process_resident_memory_bytes \d+/m);

    numbers["published_total"] = 7;
    numbers["log_bytes"] = 50;
    numbers["late_total"] = 1;
    for (let i = 0; i < 99; i += 1) fsync.record(1_000_000);
    fsync.record(2_000_000_000);
    text = await metrics.text();
    expect(text).toContain("bellhop_published_total 7\n");
    expect(text).toContain("bellhop_log_bytes 50\n");
    expect(text).toContain("bellhop_late_total 1\n");
    expect(text).toContain("bellhop_fsync_total 100\n");
    expect(Number(/bellhop_fsync_seconds\{quantile="0.5"\} (\S+)/.exec(text)?.[1])).toBeCloseTo(0.001, 4);
    expect(Number(/bellhop_fsync_seconds\{quantile="1"\} (\S+)/.exec(text)?.[1])).toBeCloseTo(2, 1);
  });
});

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
});

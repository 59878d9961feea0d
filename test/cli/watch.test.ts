// The live table: its numbers from two scrapes, its lines within the terminal, and its end that gives the terminal back.

import { spawn, spawnSync } from "node:child_process";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";

import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";

import { dashboard } from "../../src/cli/dashboard.ts";
import type { Status } from "../../src/cli/health.ts";
import { fit } from "../../src/cli/output.ts";
import { Scrape } from "../../src/cli/scrape.ts";
import { bellhop, collect, ROOT } from "./command.ts";

vi.setConfig({ testTimeout: 30_000 });

const METRICS = `bellhop_publishes_total{front="device",outcome="stored"} 100
bellhop_publishes_total{front="http",outcome="key_reused"} 3
bellhop_publish_seconds_bucket{front="device",le="0.001"} 10
bellhop_publish_seconds_bucket{front="device",le="0.0025"} 10
bellhop_publish_seconds_bucket{front="device",le="+Inf"} 10
bellhop_connections{front="device"} 7
bellhop_log_bytes 67108864
bellhop_log_segments 1
`;
const LATER = METRICS.replace("stored\"} 100", "stored\"} 1100").replace('le="0.0025"} 10', 'le="0.0025"} 100').replace('le="+Inf"} 10', 'le="+Inf"} 100');
const STATUS = {
  node: "n1", incarnation: 3, version: "1.2.3", uptimeSeconds: 700, ready: true, why: [], buckets: { total: 64, led: 64, open: 64 },
  devices: { connected: 7 }, followers: 2, waiting: { requests: 5, lines: 0 }, numbers: {},
} as unknown as Status;

describe("two looks", () => {
  const before = new Scrape(METRICS, 0);
  const now = new Scrape(LATER, 2000);

  test("give sums, rates, and quantiles of what came between", () => {
    expect([now.sum("publishes_total"), now.sum("publishes_total", { front: "device" }), now.sum("nothing")]).toEqual([1103, 1100, 0]);
    expect(now.rate(before, "publishes_total", { front: "device" })).toBe(500);
    expect(now.quantile(before, "publish_seconds", 0.5, { front: "device" })).toBeCloseTo(1.75, 5); // 90 times, all between 1 and 2.5 ms
    expect(now.quantile(now, "publish_seconds", 0.5)).toBeUndefined();
  });

  test("are drawn within any width, with what waits and what was refused", () => {
    const text = dashboard(STATUS, now, before, 80).join("\n");
    for (const words of ["node n1", "ready", "requests 5", "key_reused", "64.0 MiB in 1 file,", "1.8 ms"]) expect(text).toContain(words);
    expect(text).toMatch(/from devices +500 +1,100/);
    for (const columns of [20, 80, 200]) for (const line of dashboard(STATUS, now, before, columns)) expect(line.length).toBeLessThanOrEqual(columns);
  });
});

test("a line is cut by what is seen of it, and its colour ends", () => {
  expect(fit("\x1b[31mabcdef\x1b[0mgh", 3)).toBe("\x1b[31mabc\x1b[0m");
  expect(fit("ab", 3)).toBe("ab");
});

describe("status --watch", () => {
  let broker: Server;
  let at: string;
  let isReady = true;
  beforeAll(async () => {
    broker = createServer((request, response) => {
      const isStatus = request.url === "/v1/status";
      response.writeHead(200, { "content-type": isStatus ? "application/json" : "text/plain" });
      response.end(isStatus ? JSON.stringify({ ...STATUS, ready: isReady, why: isReady ? [] : ["3 of 64 buckets are not open"] }) : METRICS);
    });
    await new Promise<void>((resolve) => broker.listen(0, "127.0.0.1", resolve));
    at = `127.0.0.1:${(broker.address() as AddressInfo).port}`;
  });
  afterAll(() => broker.close());

  test("prints lines where the output is no terminal, and ends when the node is healthy", async () => {
    isReady = false;
    const waiting = await bellhop(["status", "--watch", "--exit-when-healthy", "--timeout", "1", "--at", at]);
    expect(waiting.code).toBe(7);
    expect(waiting.stdout).toContain("not ready (3 of 64 buckets are not open)");
    isReady = true;
    const ended = await bellhop(["status", "--watch", "--exit-when-healthy", "--at", at]);
    expect([ended.code, ended.stdout.split("\n").length]).toEqual([0, 2]);
    expect(ended.stdout).not.toContain("\x1b");
  });

  // script (util-linux) runs a command on a terminal of its own.
  test.skipIf(spawnSync("script", ["--version"]).error !== undefined).each([["q", 0], ["\x03", 130]])("on a terminal: %j ends it and gives the terminal back", async (key, code) => {
    const command = `"${process.execPath}" "${join(ROOT, "bin/bellhop.js")}" status --watch --at ${at}`;
    const child = spawn("script", ["--quiet", "--return", "--flush", "--command", command, "/dev/null"], { env: { ...process.env, TERM: "xterm", NO_COLOR: "" } });
    const { stdout } = collect(child);
    const ended = new Promise<number | null>((resolve) => child.once("close", resolve));
    while (!stdout().includes("q quits")) await new Promise((resolve) => child.stdout.once("data", resolve));
    child.stdin.write(key);
    expect(await ended).toBe(code);
    expect(stdout().startsWith("\x1b[?1049h\x1b[?25l\x1b[H")).toBe(true);
    expect(stdout().trimEnd().endsWith("\x1b[?25h\x1b[?1049l")).toBe(true);
    expect(stdout()).toContain("\x1b[32mready\x1b[0m");
  });
});

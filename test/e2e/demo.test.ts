// The README's first command: devices measure, the backend commands them, nothing is missing, and nothing is left behind however it ends.

import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

import { afterEach, beforeEach, expect, test } from "vitest";

import { freePort } from "../../bench/processes.ts";
import { bellhop, collect, ROOT } from "../cli/command.ts";

let data: string;
let http: string;
let device: string;
/** Of a demo that should have ended: a test that fails leaves none. */
let processes: number[] = [];

beforeEach(async () => {
  data = mkdtempSync(join(tmpdir(), "bellhop-demo-"));
  [http, device] = [`127.0.0.1:${await freePort()}`, `127.0.0.1:${await freePort()}`];
});
afterEach(() => {
  for (const pid of processes.filter(isRunning)) process.kill(pid, "SIGKILL");
  processes = [];
  rmSync(data, { recursive: true, force: true });
});

function startDemo(...words: string[]): ChildProcess {
  const place = ["--data", data, "--http", http, "--device", device];
  return spawn(process.execPath, [join(ROOT, "dist/bench/demo/main.js"), ...place, ...words], { stdio: ["ignore", "pipe", "pipe"] });
}

test("npm run demo: messages, commands, what was done about them, and an end by itself", { timeout: 120_000 }, async () => {
  const demo = startDemo("--seconds", "15");
  const output = collect(demo);
  const [code] = (await once(demo, "close")) as [number | null];
  expect(code, output.stderr()).toBe(0);
  for (const said of ["sensor-1 cpu ", "→ burst 100", "← burst 100: 100 messages", "← interval 200: done in"]) expect(output.stdout()).toContain(said);
  for (const line of output.stdout().split("\n")) expect(line.length, line).toBeLessThanOrEqual(80);
  const [, messages, commands, actedOn, missing] = /In all: (\d+) messages, (\d+) commands, (\d+) of them acted on, (\d+) offsets missing/.exec(output.stderr()) ?? [];
  expect(Number(messages)).toBeGreaterThan(100);
  expect(Number(commands)).toBeGreaterThanOrEqual(2);
  expect(Number(actedOn)).toBeGreaterThanOrEqual(Number(commands) - 1); // The last one may still be under way.
  expect(Number(missing)).toBe(0);
  // The broker has ended too: nothing answers there any more.
  expect((await bellhop(["status", "--at", http])).code).toBe(3);
});

test.each(["SIGHUP", "SIGKILL"] as const)("a demo that ends by %s leaves no process behind, and can start again in the same place", { timeout: 40_000 }, async (signal) => {
  const demo = startDemo();
  await whenItSays(demo, "sensor-3 ● connected");
  processes = childrenOf(demo.pid!);
  expect(processes).toHaveLength(5);
  demo.kill(signal);
  while (processes.some(isRunning)) await sleep(20); // The test's time bounds it.

  const again = startDemo("--seconds", "1");
  const output = collect(again);
  const [code] = (await once(again, "close")) as [number | null];
  expect(code, output.stderr()).toBe(0);
});

test("a demo whose port is taken names the way that starts it elsewhere", { timeout: 60_000 }, async () => {
  const other = createServer().listen(Number(http.split(":")[1]), "127.0.0.1");
  await once(other, "listening");
  const demo = startDemo();
  const output = collect(demo);
  const [code] = (await once(demo, "close")) as [number | null];
  other.close();
  expect(code).toBe(1);
  expect(output.stderr()).toContain(`${http} is in use`);
  expect(output.stderr()).toContain("npm run demo -- --http 127.0.0.1:4900 --device 127.0.0.1:4910 --data ./demo-data");
});

async function whenItSays(child: ChildProcess, words: string): Promise<void> {
  const output = collect(child);
  while (!output.stdout().includes(words)) await Promise.race([once(child.stdout!, "data"), once(child, "close").then(() => { throw new Error(output.stderr()); })]);
}

function childrenOf(pid: number): number[] {
  return readFileSync(`/proc/${pid}/task/${pid}/children`, "utf8").trim().split(" ").map(Number);
}

/** One that has ended and that nobody has waited for yet is none. */
function isRunning(pid: number): boolean {
  try {
    return !/^State:\s+[ZX]/m.test(readFileSync(`/proc/${pid}/status`, "utf8"));
  } catch {
    return false;
  }
}

// The README's first command, for some seconds: devices measure, the backend commands them, and nothing is missing.

import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { expect, test } from "vitest";

import { freePort } from "../../bench/processes.ts";
import { bellhop, collect, ROOT } from "../cli/command.ts";

test("npm run demo: messages, commands, what was done about them, and an end by itself", { timeout: 120_000 }, async () => {
  const data = mkdtempSync(join(tmpdir(), "bellhop-demo-"));
  const [http, device] = [`127.0.0.1:${await freePort()}`, `127.0.0.1:${await freePort()}`];
  try {
    const demo = spawn(process.execPath, [join(ROOT, "dist/bench/demo/main.js"), "--seconds", "15", "--data", data, "--http", http, "--device", device], { stdio: ["ignore", "pipe", "pipe"] });
    const output = collect(demo);
    const [code] = (await once(demo, "close")) as [number | null];
    expect(code, output.stderr()).toBe(0);
    for (const said of ["cpu     ", "→ burst 100", "← burst 100: 100 messages", "← interval 200: done"]) expect(output.stdout()).toContain(said);
    const [, messages, commands, actedOn, missing] = /In all: (\d+) messages, (\d+) commands, (\d+) of them acted on, (\d+) offsets missing/.exec(output.stderr()) ?? [];
    expect(Number(messages)).toBeGreaterThan(100);
    expect(Number(commands)).toBeGreaterThanOrEqual(2);
    expect(Number(actedOn)).toBeGreaterThanOrEqual(Number(commands) - 1); // The last one may still be under way.
    expect(Number(missing)).toBe(0);
    // The broker has ended too: nothing answers there any more.
    expect((await bellhop(["status", "--at", http])).code).toBe(3);
  } finally {
    rmSync(data, { recursive: true, force: true });
  }
});

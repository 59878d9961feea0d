// kill -9 of a process that appends to the embedded control log: everything it had answered is there, once, in order.

import { spawn } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { expect, test } from "vitest";

import { inspectControl } from "../../src/control/inspect.ts";

const ROUNDS = 6;
const WORKER = join(import.meta.dirname, "append-forever.ts");

/** Lets the process answer so many batches, kills it, and returns what it had answered. */
async function killAfter(answers: number, data: string, round: number): Promise<string[]> {
  const child = spawn(process.execPath, ["--import", "tsx", WORKER, data, String(round)], { stdio: ["ignore", "pipe", "inherit"] });
  const ids: string[] = [];
  for await (const line of createInterface({ input: child.stdout })) {
    ids.push(line);
    if (ids.length === answers) child.kill("SIGKILL");
  }
  return ids;
}

test(`${ROUNDS} rounds of kill -9`, async () => {
  const data = await mkdtemp(join(tmpdir(), "bellhop-control-kill-"));
  const answered: string[] = [];
  for (let round = 1; round <= ROUNDS; round += 1) answered.push(...(await killAfter(60 + 17 * round, data, round)));
  const found: string[] = [];
  let last = 0;
  for await (const { position, id } of inspectControl(data)) {
    expect(position).toBe(last + 1);
    last = position;
    found.push(id);
  }
  expect(answered.length).toBeGreaterThan(ROUNDS * 60);
  expect(new Set(found).size).toBe(found.length);
  expect(answered.filter((id) => !found.includes(id))).toEqual([]);
  await rm(data, { recursive: true });
}, 120_000);

// The simulator in the ordinary test run: it replays, it shrinks, some seeds pass, and it looks: mutants fit their source and some of them are caught.

import { readFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { applicationFor } from "./applications.ts";
import { ROOT, mutate, type Mutant } from "./bundle.ts";
import { CASES } from "./cases.ts";
import { EventHeap } from "./heap.ts";
import { MUTANTS } from "./mutants/index.ts";
import { OPEN } from "./mutants/open.ts";
import { Pool } from "./pool.ts";
import { drawCase, type Case } from "./profile.ts";
import { runCase, type Outcome } from "./run.ts";
import { shrink } from "./shrink.ts";

function run(seed: number, application: string): Outcome {
  const drawn = drawCase(seed);
  return runCase(drawn, applicationFor(application, drawn));
}

describe("replay", () => {
  test.each(["counter", "node"])("the same seed twice gives the same history (%s)", { timeout: 60_000 }, (application) => {
    const [first, second] = [run(5, application), run(5, application)];
    expect(second).toEqual(first);
    expect(first.events).toBeGreaterThan(1000);
    expect(run(6, application).hash).not.toBe(first.hash);
  });

  test("a case is data: written and read again it runs alike", { timeout: 60_000 }, () => {
    const drawn = drawCase(7);
    const again = JSON.parse(JSON.stringify(drawn)) as Case;
    expect(runCase(again, applicationFor("counter", again)).hash).toBe(run(7, "counter").hash);
  });

  test("events run by time, then in the order they were added", () => {
    const heap = new EventHeap<{ at: number; sequence: number; name: string }>();
    for (const [at, name] of [[3, "d"], [1, "a"], [2, "b"], [2, "c"], [5, "e"]] as const) heap.push({ at, sequence: 0, name });
    const order: string[] = [];
    for (let event = heap.pop(); event !== undefined; event = heap.pop()) order.push(event.name);
    expect(order.join("")).toBe("abcde");
  });
});

describe("shrinking", () => {
  test("keeps only what the failure needs", () => {
    const drawn = [...Array(200).keys()].map(drawCase).find((one) => one.faults.filter(({ type }) => type === "pause").length > 1 && one.faults.length > 8)!;
    const failure = { invariant: "x", message: "", atMs: 2_000, stack: "" };
    const fails = (one: Case): boolean => one.faults.some(({ type }) => type === "pause") && one.links.ordered === drawn.links.ordered;
    const small = shrink(drawn, "x", (one) => ({ seed: 0, events: 0, hash: 0, answers: 0, failure: fails(one) ? failure : undefined }), () => undefined);
    expect(small.faults.map(({ type }) => type)).toEqual(["pause"]);
    expect(small.links.drop + small.links.duplicate).toBe(0);
    expect(small.buckets).toBe(1);
  });
});

describe("seeds", () => {
  test.each(["counter", "node"])("a few pass, with work done and checked (%s)", { timeout: 90_000 }, (application) => {
    let answers = 0;
    for (let seed = 1; seed <= 8; seed += 1) {
      const outcome = run(seed, application);
      expect(outcome.failure, `npm run sim -- --seed ${seed} --application ${application}`).toBeUndefined();
      answers += outcome.answers;
    }
    expect(answers).toBeGreaterThan(500);
  });
});

describe("mutants", () => {
  test.each(MUTANTS.map((mutant) => [mutant.name, mutant] as const))("%s: its text is in the source once", (_name, mutant) => {
    expect(() => mutate(readFileSync(join(ROOT, mutant.file), "utf8"), mutant)).not.toThrow();
  });

  test("the list of those not caught yet names mutants, and few of them", () => {
    const names = MUTANTS.map(({ name }) => name);
    expect([...OPEN.keys()].filter((name) => !names.includes(name))).toEqual([]);
    expect(OPEN.size).toBeLessThan(MUTANTS.length / 4);
  });

  test("a mutant that no longer fits its source is an error", () => {
    const mutant = { name: "m", rule: "R0", file: "f", find: "a", replace: "b", budget: 1 };
    expect(() => mutate("no such text", mutant)).toThrow("0 times");
    expect(() => mutate("a a", mutant)).toThrow("2 times");
    expect(mutate("an", mutant)).toBe("bn");
  });

  const pool = new Pool();
  afterAll(() => pool.close());

  test.each(Object.keys(CASES) as (keyof typeof CASES)[])("directed: %s: passes, and catches its mutant", { timeout: 240_000 }, async (directed) => {
    const job = { from: 1, count: 0, withinMs: 50_000, withinCpuMs: Number.MAX_SAFE_INTEGER, application: "mixed", directed };
    const invariant = async (mutant: Mutant | undefined): Promise<string | undefined> => {
      const result = await pool.run(await pool.bundle(mutant), job);
      return "hung" in result ? result.hung : result.failed?.failure?.invariant;
    };
    expect(await invariant(undefined)).toBeUndefined();
    const caught = MUTANTS.filter((mutant) => mutant.directed === directed);
    expect(caught.length).toBeGreaterThan(0);
    for (const mutant of caught) expect(await invariant(mutant), mutant.name).toBeDefined();
  });

  // One of each area; all of them: npm run sim:ci.
  test.each(["ack before fsync", "a departed leader's epoch goes on", "a gap is accepted", "a rehop sends the newest first"])("%s: is caught", { timeout: 60_000 }, async (name) => {
    const mutant = MUTANTS.find((one) => one.name === name)!;
    const result = await pool.run(await pool.bundle(mutant), { from: 1, count: 40, withinMs: 50_000, withinCpuMs: Number.MAX_SAFE_INTEGER, application: "mixed" });
    expect("hung" in result ? result.hung : result.failed?.failure?.invariant).toBeDefined();
  });
});

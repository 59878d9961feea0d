// The generator against a peer in this process whose answers the test decides.

import { describe, expect, test } from "vitest";

import type { Driver } from "../../bench/load/driver.ts";
import { generate } from "../../bench/load/generator.ts";
import type { LoadPlan } from "../../bench/load/plan.ts";

const PLAN: LoadPlan = {
  peer: "bellhop", at: "", httpAt: "", run: "test", connections: 3, inFlight: 4, payloadBytes: 8, rate: 0, warmUpSeconds: 0, seconds: 0.2, readBack: false,
};

/** Answers each batch in the next turn, or after `delayMs`; keeps the greatest number in flight. */
function peer(options: { delayMs?: number; storedLess?: number } = {}) {
  const seen = { published: 0, greatestInFlight: 0, closed: 0 };
  const driver: Driver = {
    connect(_lane, events) {
      let inFlight = 0;
      return Promise.resolve({
        publish(count: number) {
          seen.published += count;
          inFlight += count;
          seen.greatestInFlight = Math.max(seen.greatestInFlight, inFlight);
          const answer = (): void => {
            inFlight -= count;
            events.answered(count);
          };
          if (options.delayMs === undefined) setImmediate(answer);
          else setTimeout(answer, options.delayMs);
        },
        close: () => void (seen.closed += 1),
      });
    },
    stored: (lane, published) => Promise.resolve(published - (lane === 0 ? (options.storedLess ?? 0) : 0)),
  };
  return { driver, seen };
}

describe("the load generator", () => {
  test("a closed loop keeps the window full, never over it, and finds every message", async () => {
    const { driver, seen } = peer();
    const result = await generate(PLAN, driver, () => undefined);
    expect(seen.greatestInFlight).toBe(PLAN.inFlight);
    expect(result.answered).toBeGreaterThan(100);
    expect(result.verified).toEqual({ answered: seen.published, found: seen.published, readBack: false });
    expect(seen.closed).toBe(PLAN.connections);
  });

  test("a message that was answered and is not stored fails the run", async () => {
    await expect(generate(PLAN, peer({ storedLess: 1 }).driver, () => undefined)).rejects.toThrow(/answered and \d+ are stored/);
  });

  test("an open loop sends at its rate, and what waits for the window counts from its own time", async () => {
    // 3 connections × 4 in flight, each answered after 50 ms, carry 240 messages a second; 1,200 are due.
    const { driver, seen } = peer({ delayMs: 50 });
    const result = await generate({ ...PLAN, rate: 1200, seconds: 0.5 }, driver, () => undefined);
    expect(seen.greatestInFlight).toBe(PLAN.inFlight);
    expect(result.latency.max).toBeGreaterThan(150);
    expect(result.verified!.answered).toBeGreaterThan(500);
    expect(result.verified!.found).toBe(result.verified!.answered);
  });

  test("a peer that answers what was not sent, or fails, fails the run", async () => {
    const tooMany: Driver = { connect: (_lane, events) => Promise.resolve({ publish: (count) => void setImmediate(() => events.answered(count + 1)), close: () => undefined }) };
    await expect(generate(PLAN, tooMany, () => undefined)).rejects.toThrow(/more messages than were sent/);
    const failing: Driver = { connect: (_lane, events) => Promise.resolve({ publish: () => void setImmediate(() => events.failed("gone")), close: () => undefined }) };
    await expect(generate(PLAN, failing, () => undefined)).rejects.toThrow(/Connection \d: gone/);
  });
});

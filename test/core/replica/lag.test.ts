// How long one member alone keeps the others waiting (R6, B3).

import { expect, test } from "vitest";
import { Lag } from "../../../src/core/replica/lag.ts";

const SLOW_MS = 100;
const TICK_MS = 20;

/** A member that has each entry `delayMs` after all others; the others store one entry a millisecond. Looked at every tick. */
function watched(ms: number, delayMs: (now: number) => number, othersDelayMs = 0, lag = new Lag(SLOW_MS)): Lag {
  for (let now = TICK_MS; now <= ms; now += TICK_MS) lag.look(Math.max(0, now - delayMs(now)), now - othersDelayMs, now, now);
  return lag;
}

test("a member that is always late keeps the others waiting all the time; a quick one never", () => {
  expect(watched(10_000, () => 200).heldBackMs).toBeGreaterThan(8_000);
  expect(watched(10_000, () => 60).heldBackMs).toBe(0);
});

test("quick once, and what was before does not count", () => {
  expect(watched(10_000, (now) => (now > 5_000 && now < 5_300 ? 0 : 200)).heldBackMs).toBeLessThan(5_000);
});

test("where all are late, nobody is slow", () => {
  expect(watched(10_000, () => 200, 200).heldBackMs).toBe(0);
  expect(watched(10_000, () => 200, 300).heldBackMs).toBe(0);
});

test("an entry that nobody has yet says nothing", () => {
  expect(watched(10_000, () => 200, 30).heldBackMs).toBeGreaterThan(8_000);
  const lag = new Lag(SLOW_MS);
  for (let round = 0; round < 20; round += 1) {
    for (let tick = 0; tick < 10; tick += 1) lag.look(round, tick === 0 ? round : round + 1, round + 1, round * 200 + tick * TICK_MS);
  }
  expect(lag.heldBackMs).toBeGreaterThan(3_000);
});

test("times without work count neither for it nor against it", () => {
  const lag = new Lag(SLOW_MS);
  let now = 0;
  const look = (match: number, ms: number): void => {
    for (const end = now + ms; now < end; now += TICK_MS) lag.look(match, Math.min(match + 1, 10), Math.min(match + 1, 10), now);
  };
  for (let match = 0; match < 10; match += 1) look(match, 200);
  const before = lag.heldBackMs;
  expect(before).toBeGreaterThan(1_000);
  look(10, 60_000);
  expect(lag.heldBackMs).toBeGreaterThanOrEqual(before);
  expect(lag.heldBackMs).toBeLessThan(before + 400);
});

test("one that acknowledges nothing at all is seen before it does", () => {
  expect(watched(3_000, () => 10_000).heldBackMs).toBeGreaterThan(2_900 - TICK_MS);
});

test("a leader whose own loop stalls says nothing about the others", () => {
  const lag = new Lag(SLOW_MS);
  for (let now = 0; now < 60_000; now += SLOW_MS) lag.look(now / SLOW_MS, now / SLOW_MS + 1, now / SLOW_MS + 1, now);
  expect(lag.heldBackMs).toBe(0);
});

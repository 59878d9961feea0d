// When requests are refused early: while all of them stand, and not because of one that is slow among quick ones.

import { expect, test } from "vitest";
import { Overload } from "../../src/node/overload.ts";

const TARGET = 1000;

test("while nothing is answered within the target, new ones are refused but for a probe now and then; the first answers end it", () => {
  const overload = new Overload(TARGET);
  for (let now = 0; now <= TARGET; now += 10) expect(overload.takes(now)).toBe(true);
  expect(overload.takes(TARGET + 1)).toBe(true); // the probe
  let refused = 0;
  for (let now = TARGET + 2; now < TARGET + 1000; now += 10) if (!overload.takes(now)) refused += 1;
  expect(refused).toBe(91); // of 100; one in each 100 ms went through
  overload.answered(TARGET + 1000, TARGET + 1010);
  expect(overload.takes(TARGET + 1020)).toBe(true);
});

test("a disk that answers, but slowly: most are refused while the least waiting of an interval is too long, and none once it is short", () => {
  const overload = new Overload(TARGET);
  const waiting: number[] = [];
  /** A request each 10 ms, each taken one answered after `delay`; the share that was taken. */
  const share = (from: number, to: number, delay: number): number => {
    let taken = 0;
    for (let now = from; now < to; now += 10) {
      while (waiting.length > 0 && waiting[0]! + delay <= now) overload.answered(waiting.shift()!, now);
      if (!overload.takes(now)) continue;
      waiting.push(now);
      taken += 1;
    }
    return taken / ((to - from) / 10);
  };
  share(0, 3000, 1500);
  expect(share(3000, 6000, 1500)).toBeLessThan(0.2);
  share(6000, 7500, 5);
  expect(share(7500, 9000, 5)).toBe(1);
});

test("a few that wait for long among others that are quick refuse nothing", () => {
  const overload = new Overload(TARGET);
  for (let i = 0; i < 100; i += 1) overload.takes(0);
  for (let now = 1; now < 10_000; now += 10) {
    expect(overload.takes(now)).toBe(true);
    overload.answered(now, now + 5);
    if (now % 1000 === 1) overload.answered(0, now + 6);
  }
});

test("whoever asks whether requests stand takes no probe away", () => {
  const overload = new Overload(TARGET);
  overload.takes(0);
  expect([overload.stands(TARGET), overload.stands(TARGET + 1), overload.stands(TARGET + 1)]).toEqual([false, true, true]);
  expect([overload.takes(TARGET + 1), overload.takes(TARGET + 1)]).toEqual([true, false]);
});

test("after a quiet time nothing is refused", () => {
  const overload = new Overload(TARGET);
  overload.takes(0);
  overload.answered(0, 5000);
  expect(overload.takes(60_000)).toBe(true);
});

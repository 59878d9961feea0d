// The small parts of the device server: the timing wheel and the admission of handshakes.

import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { Admission } from "../../src/device/admission.ts";
import { Wheel, type WheelItem } from "../../src/device/wheel.ts";

class Item implements WheelItem {
  slot = -1;
  at: number;
  expired: number[] = [];
  readonly wheel: Wheel<Item>;
  constructor(wheel: Wheel<Item>, at: number) {
    this.wheel = wheel;
    this.at = at;
  }
  due(): number {
    return this.at;
  }
  expire(): void {
    this.expired.push(this.wheel.now);
  }
}

describe("wheel", () => {
  test("each item expires once, at its tick, however far off and however often it was put off", () => {
    const item = fc.record({ at: fc.integer({ min: 1, max: 3000 }), later: fc.array(fc.integer({ min: 1, max: 900 }), { maxLength: 3 }) });
    fc.assert(fc.property(fc.array(item, { minLength: 1, maxLength: 20 }), (items) => {
      const wheel = new Wheel<Item>();
      const all = items.map(({ at }) => new Item(wheel, at));
      all.forEach((one) => wheel.place(one));
      for (let tick = 1; tick < 7000; tick += 1) {
        // Put off on the way without telling the wheel, as a connection that was heard.
        if (tick % 37 === 0) items.forEach(({ later }, i) => { if (all[i]!.expired.length === 0) all[i]!.at += later.pop() ?? 0; });
        wheel.tick();
      }
      for (const one of all) expect(one.expired).toEqual([one.at]);
    }), { numRuns: 30 });
  });

  test("what is removed does not expire, not even by a neighbour of the same tick", () => {
    const wheel = new Wheel<Item>();
    const second = new Item(wheel, 5);
    const first = new (class extends Item {
      override expire(): void {
        wheel.remove(second);
        super.expire();
      }
    })(wheel, 5);
    wheel.place(first);
    wheel.place(second);
    for (let i = 0; i < 1200; i += 1) wheel.tick();
    expect([first.expired, second.expired]).toEqual([[5], []]);
  });

  test("a deadline that came nearer counts from when it is placed again", () => {
    const wheel = new Wheel<Item>();
    const item = new Item(wheel, 400);
    wheel.place(item);
    item.at = 3;
    wheel.place(item);
    for (let i = 0; i < 500; i += 1) wheel.tick();
    expect(item.expired).toEqual([3]);
  });
});

describe("admission", () => {
  test("takes a burst, then a rate; the others get slots of their own at that rate", () => {
    const admission = new Admission(100, 50); // 0.1 a millisecond
    const waits = Array.from({ length: 150 }, () => admission.take(1_000_000, 0.5));
    expect(waits.slice(0, 50).every((wait) => wait === 0)).toBe(true);
    expect(waits.slice(50)).toEqual(Array.from({ length: 100 }, (_one, i) => 10 * (i + 1)));
    expect(admission.take(1_000_010, 0.5)).toBe(0);
    expect(admission.take(1_000_010, 0.5)).toBeGreaterThan(0);
  });

  test("no slot is more than a minute away", () => {
    const admission = new Admission(1, 1);
    let longest = 0;
    for (let i = 0; i < 1000; i += 1) longest = Math.max(longest, admission.take(5, 0.9));
    expect(longest).toBeLessThanOrEqual(60_000);
  });
});

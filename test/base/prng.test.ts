// The seeded source of chance: frozen numbers, since recorded seeds depend on them, and sane bounds.

import { describe, expect, test } from "vitest";
import { Prng } from "../../src/base/prng.ts";

describe("Prng", () => {
  test("gives frozen numbers for a seed", () => {
    const random = new Prng(1);
    expect([random.uint32(), random.uint32(), random.uint32()]).toEqual([2308299391, 1950625580, 354034397]);
  });

  test("both halves of a seed count", () => {
    const first = [1, 2, 2 ** 32 + 1, 2 ** 40].map((seed) => new Prng(seed).uint32());
    expect(new Set(first).size).toBe(4);
  });

  test("between includes both ends and nothing else; below leaves its bound out", () => {
    const random = new Prng(7);
    const seen = new Set(Array.from({ length: 200 }, () => random.between(3, 6)));
    expect([...seen].sort()).toEqual([3, 4, 5, 6]);
    for (let i = 0; i < 1000; i += 1) expect(random.below(3)).toBeLessThan(3);
  });

  test("chance is about what it says", () => {
    const random = new Prng(11);
    let hits = 0;
    for (let i = 0; i < 10_000; i += 1) if (random.chance(0.25)) hits += 1;
    expect(hits).toBeGreaterThan(2300);
    expect(hits).toBeLessThan(2700);
  });

  test("drawing from a fork leaves the next numbers as they are", () => {
    const [one, other] = [new Prng(5), new Prng(5)];
    one.fork();
    const fork = other.fork();
    for (let i = 0; i < 10; i += 1) fork.uint32();
    expect(one.uint32()).toBe(other.uint32());
  });
});

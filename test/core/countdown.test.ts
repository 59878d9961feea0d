// A countdown ends when everyone expected has answered or departed, and not before.

import { expect, test } from "vitest";

import { Countdown } from "../../src/core/countdown.ts";

test("it waits for every expected node, however often another answers", () => {
  const countdown = new Countdown(["a", "b", "a"]);
  countdown.answered("a");
  countdown.answered("a");
  countdown.answered("stranger");
  expect(countdown.done).toBe(false);
  expect([...countdown.waiting]).toEqual(["b"]);
  countdown.answered("b");
  expect(countdown.done).toBe(true);
});

test("a departed node no longer counts", () => {
  const countdown = new Countdown(["a", "b"]);
  countdown.answered("a");
  countdown.departed("b");
  expect(countdown.done).toBe(true);
});

test("nobody expected: nothing to wait for", () => {
  expect(new Countdown([]).done).toBe(true);
});

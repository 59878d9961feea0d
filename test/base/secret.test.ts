// The written form of tokens and keys.

import { expect, test } from "vitest";
import { isSecret, SECRET_BYTES, writeSecret } from "../../src/base/secret.ts";

const random = (seed: number): Uint8Array => Uint8Array.from({ length: SECRET_BYTES }, (_, i) => (i * 37 + seed * 11) & 0xff);

test("a secret has one form whatever its bits, and all bits count", () => {
  for (const bytes of [new Uint8Array(SECRET_BYTES), new Uint8Array(SECRET_BYTES).fill(0xff), random(1)]) expect(writeSecret("bhd", bytes)).toMatch(/^bhd_[0-9A-Za-z]{49}$/);
  const seen = new Set<string>();
  for (let bit = 0; bit < 256; bit += 1) {
    const bytes = random(1);
    bytes[bit >> 3]! ^= 1 << (bit & 7);
    seen.add(writeSecret("bhk", bytes));
  }
  expect(seen.size).toBe(256);
});

test("a wrong character anywhere, a cut, another kind and other text are told", () => {
  const secret = writeSecret("bhk", random(3));
  expect(isSecret("bhk", secret)).toBe(true);
  expect(isSecret("bhd", secret)).toBe(false);
  for (let i = 0; i < secret.length; i += 1) {
    expect(isSecret("bhk", `${secret.slice(0, i)}${secret[i] === "x" ? "y" : "x"}${secret.slice(i + 1)}`)).toBe(false);
    expect(isSecret("bhk", secret.slice(0, i))).toBe(false);
  }
  expect(isSecret("bhk", `${secret} `)).toBe(false);
  expect(isSecret("bhk", "")).toBe(false);
});

// Records over the store: what changed is seen, what the store is known not to hold is not asked for again, and a checkpoint changes what it holds.

import { expect, test } from "vitest";
import { Overlay } from "../../../src/core/stream/overlay.ts";

const A = Uint8Array.of(1);
const B = Uint8Array.of(2);

function over(stored: Map<string, Uint8Array>) {
  const asked: string[] = [];
  const overlay = new Overlay({
    get: (name) => {
      asked.push(name);
      return stored.get(name);
    },
    range: (prefix) => [...stored].filter(([name]) => name.startsWith(prefix)),
  });
  /** As the state store does it. */
  const checkpoint = (): void => {
    for (const { key, value } of overlay.take()) if (value === undefined) stored.delete(key);
    else stored.set(key, value);
    overlay.confirmed();
  };
  return { overlay, asked, checkpoint };
}

test("a name that the store does not hold is looked for once", () => {
  const { overlay, asked } = over(new Map());
  expect([overlay.get("k"), overlay.get("k"), overlay.get("l"), overlay.get("k")]).toEqual([undefined, undefined, undefined, undefined]);
  expect(asked).toEqual(["k", "l"]);
});

test("what comes to the store by a checkpoint is found there, although it was looked for in vain before", () => {
  const { overlay, checkpoint } = over(new Map());
  expect(overlay.get("k")).toBeUndefined();
  overlay.set("k", A);
  expect(overlay.get("k")).toBe(A);
  checkpoint();
  expect(overlay.get("k")).toBe(A);
});

test("what is deleted is gone before, while and after the checkpoint takes it; what is set again meanwhile stays", () => {
  const { overlay, checkpoint } = over(new Map([["k", A], ["l", A]]));
  overlay.set("k", undefined);
  overlay.set("l", undefined);
  expect([overlay.get("k"), overlay.get("l")]).toEqual([undefined, undefined]);
  expect(overlay.take()).toEqual([{ key: "k", value: undefined }, { key: "l", value: undefined }]);
  overlay.set("l", B);
  expect([overlay.get("k"), overlay.get("l")]).toEqual([undefined, B]);
  overlay.set("l", undefined);
  expect(overlay.get("l")).toBeUndefined();
  overlay.confirmed();
  checkpoint();
  expect(overlay.get("l")).toBeUndefined();
});

test("a restored state stands in the store's place, and is found in it once it is installed", () => {
  const stored = new Map<string, Uint8Array>();
  const { overlay } = over(stored);
  expect(overlay.get("k")).toBeUndefined();
  overlay.replace(new Map([["k", A]]));
  expect([overlay.get("k"), overlay.get("l")]).toEqual([A, undefined]);
  stored.set("k", A);
  overlay.installed();
  expect(overlay.get("k")).toBe(A);
});

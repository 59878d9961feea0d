// API keys in the fold: put once, removed by what they are, and part of every snapshot (F2, R2).

import { describe, expect, test } from "vitest";
import { MOST_KEYS, type ApiKey } from "../../../src/core/table/keys.ts";
import { Table } from "../../../src/core/table/table.ts";
import { Fold } from "./fold.ts";

function key(name: string, change: Partial<ApiKey> = {}): ApiKey {
  return { name, digest: Buffer.from(name.padEnd(32, "-")).toString("hex"), role: "read", devices: "", created: 5, expires: 0, ...change };
}

describe("keys", () => {
  test("are put, and removed by name and digest", () => {
    const fold = new Fold();
    fold.run({ type: "putKey", key: key("a") }, { type: "putKey", key: key("b", { role: "admin", devices: "lamp-", expires: 9 }) });
    expect([...fold.table.keys.values()]).toEqual([key("a"), key("b", { role: "admin", devices: "lamp-", expires: 9 })]);
    fold.run({ type: "removeKey", name: "a", digest: key("b").digest });
    expect(fold.table.keys.size).toBe(2);
    fold.run({ type: "removeKey", name: "a", digest: key("a").digest }, { type: "removeKey", name: "a", digest: key("a").digest });
    expect([...fold.table.keys.keys()]).toEqual(["b"]);
  });

  test("a name is put once, a digest too, and what is malformed not at all: then the map is the same one", () => {
    const fold = new Fold();
    fold.run({ type: "putKey", key: key("a") });
    const before = fold.table.keys;
    for (const refused of [key("a", { digest: "0".repeat(64) }), key("b", { digest: key("a").digest }), key("B"), key("b", { digest: "00" }), key("b", { role: "root" as "admin" })]) {
      fold.run({ type: "putKey", key: refused });
      expect(fold.table.keys).toBe(before);
    }
  });

  test("are bounded", () => {
    const fold = new Fold();
    for (let i = 0; i <= MOST_KEYS; i += 1) fold.run({ type: "putKey", key: key(`k${i}`) });
    expect(fold.table.keys.size).toBe(MOST_KEYS);
  });

  test("come back with a snapshot, whose bytes tell nothing of their order", () => {
    const one = new Fold();
    one.run({ type: "putKey", key: key("a") }, { type: "putKey", key: key("b") });
    const other = new Fold();
    other.run({ type: "putKey", key: key("b") }, { type: "putKey", key: key("a") });
    expect(one.table.snapshot()).toEqual(other.table.snapshot());
    expect([...Table.restore(2, one.table.snapshot()).keys.values()]).toEqual([key("a"), key("b")]);
  });

  test("a snapshot of before has none", () => {
    const { keys: _, ...saved } = JSON.parse(Buffer.from(new Fold().table.snapshot()).toString()) as Record<string, unknown>;
    expect(Table.restore(1, Buffer.from(JSON.stringify(saved))).keys.size).toBe(0);
  });
});

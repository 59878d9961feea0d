// The fold of the control log, rule by rule, in the words of the rules: batches, Begin, Register, plans, snapshots (R1–R4, R10).

import { describe, expect, test } from "vitest";

import { Table } from "../../../src/core/table/table.ts";
import type { Command } from "../../../src/core/table/commands.ts";
import { Fold, begun, registration } from "./fold.ts";

describe("R1: batches", () => {
  const settings = (minCopies: number): Command[] => [{ type: "settings", settings: { copies: 3, minCopies } }];

  test("a batch that was had is ignored, wherever it stands in the log", () => {
    const table = new Table();
    table.apply(1, "a.1.1", settings(1));
    table.apply(2, "a.1.2", settings(2));
    table.apply(3, "a.1.1", settings(3));
    table.apply(4, "a.1.2", settings(3));
    expect(table.settings.minCopies).toBe(2);
    expect(table.version).toBe(2);
    expect(table.position).toBe(4);
  });

  test("seqs count within a node's incarnation, and a node's older incarnation has had its say", () => {
    const table = new Table();
    table.apply(1, "a.1.9", settings(1));
    table.apply(2, "b.1.1", settings(2));
    expect(table.settings.minCopies).toBe(2);
    table.apply(3, "a.2.1", settings(3));
    expect(table.settings.minCopies).toBe(3);
    table.apply(4, "a.1.10", settings(1));
    expect(table.settings.minCopies).toBe(3);
  });

  test("a node's id may hold dots", () => {
    const table = new Table();
    table.apply(1, "host.example.1.1", settings(2));
    table.apply(2, "host.example.1.1", settings(3));
    expect(table.settings.minCopies).toBe(2);
  });

  test("the fold remembers the batches it had over a snapshot", () => {
    const table = new Table();
    table.apply(1, "a.1.1", settings(2));
    const restored = Table.restore(1, table.snapshot());
    restored.apply(2, "a.1.1", settings(3));
    expect(restored.settings.minCopies).toBe(2);
  });

  test("a position that does not rise, an id of another form: the node stops", () => {
    const table = new Table();
    table.apply(5, "a.1.1", []);
    expect(() => table.apply(5, "a.1.2", [])).toThrow("position");
    expect(() => table.apply(6, "a-1", [])).toThrow("batch id");
  });
});

describe("R2: an unknown command stops the node", () => {
  test("also beside known ones", () => {
    const table = new Table();
    expect(() => table.apply(1, "a.1.1", [{ type: "explode" } as unknown as Command])).toThrow("unknown control command");
  });
});

describe("R2: a guard that fails is a no-op", () => {
  const about = (bucket: number, node: string, epoch: number): Command[] => [
    { type: "depart", node, incarnation: 1, by: "a", byIncarnation: 1, alive: ["a", "b"] },
    { type: "drain", node, incarnation: 1, on: true },
    { type: "addLearner", bucket, epoch, node, incarnation: 1, attempt: 99 },
    { type: "dropLearner", bucket, node, attempt: 99 },
    { type: "promote", bucket, epoch, node, attempt: 99, incarnation: 1 },
    { type: "handover", bucket, epoch, to: node, series: 1, step: 1 },
    { type: "retire", bucket, epoch, nodes: [node], series: 1, step: 2 },
    { type: "plan", plan: { series: 1, step: 0, kind: "migrate", bucket, target: [node] } },
    { type: "step", bucket, series: 1, step: 0 },
    { type: "cancel", bucket, series: 1 },
    { type: "forceUnclean", bucket, node, incarnation: 1 },
  ];

  test("whatever names a bucket or a node that is not known changes nothing", () => {
    const fold = begun(["a", "b"]);
    const state = (): unknown => [fold.table.buckets, [...fold.table.nodes.values()], fold.table.plans.size, fold.table.planSeries];
    const before = structuredClone(state());
    fold.run(...about(7, "nobody", 1).filter(({ type }) => type !== "plan"));
    fold.run({ type: "plan", plan: { series: 1, step: 0, kind: "migrate", bucket: 7, target: ["a"] } });
    expect(state()).toEqual(before);
  });

  test("nothing but its store's return, a departure and force moves a dark bucket", () => {
    const fold = begun(["a", "b", "c"], { copies: 1 });
    fold.join("b");
    fold.run({ type: "addLearner", bucket: 0, epoch: 1, node: "c", incarnation: 1, attempt: 99 });
    const series = fold.plan(["b", "a"]);
    fold.run({ type: "step", bucket: 0, series, step: 0 });
    fold.register("b", { clean: false });
    fold.register("a", { clean: false });
    const dark = fold.bucket();
    expect(dark).toMatchObject({ state: "dark", leader: "a" });
    const { epoch } = dark;
    fold.run(
      { type: "promote", bucket: 0, epoch, node: "c", attempt: 99, incarnation: 1 },
      { type: "addLearner", bucket: 0, epoch, node: "b", incarnation: 2, attempt: 100 },
      { type: "handover", bucket: 0, epoch, to: "a", series, step: 1 },
      { type: "retire", bucket: 0, epoch, nodes: ["b"], series, step: 2 },
    );
    expect(fold.bucket()).toBe(dark);
    fold.run({ type: "cancel", bucket: 0, series });
    fold.plan(["a"]);
    expect(fold.table.plans.size).toBe(0);
  });
});

describe("R3: Begin", () => {
  test("once", () => {
    const fold = begun(["a", "b", "c"], { bucketCount: 6 });
    fold.run({ type: "begin", bucketCount: 9, copies: 1, minCopies: 1 });
    expect(fold.table.buckets.length).toBe(6);
    expect(fold.table.settings.copies).toBe(3);
  });

  test("leads go round in arrival order; followers are the leader's right and left, wrapping (B2)", () => {
    const fold = begun(["a", "b", "c", "d", "e"], { bucketCount: 6 });
    expect([0, 1, 2, 3, 4, 5].map((id) => fold.members(id))).toEqual([
      ["a", "b", "e"],
      ["b", "c", "a"],
      ["c", "d", "b"],
      ["d", "e", "c"],
      ["e", "a", "d"],
      ["a", "b", "e"],
    ]);
    expect(fold.bucket(3)).toMatchObject({ leader: "d", epoch: 1, version: 1, learners: [], state: "on", generation: 0 });
  });

  test("followers are in other zones where there are any (B2)", () => {
    const fold = new Fold();
    for (const [node, zone] of [["a", "x"], ["b", "x"], ["c", "y"], ["d", "x"], ["e", "z"], ["f", "x"]] as const) fold.register(node, { zone });
    fold.run({ type: "begin", bucketCount: 6, copies: 3, minCopies: 1 });
    expect(fold.members(0)).toEqual(["a", "c", "e"]);
    expect(fold.members(2)).toEqual(["c", "d", "e"]);
    expect(fold.members(5)).toEqual(["f", "e", "c"]);
  });

  test("fewer nodes than copies: each is a member; fewer than minCopies, or an absurd count: nothing", () => {
    expect(begun(["a", "b"]).members()).toEqual(["a", "b"]);
    expect(begun(["a"], { minCopies: 2 }).table.buckets.length).toBe(0);
    expect(begun([]).table.buckets.length).toBe(0);
    expect(begun(["a"], { bucketCount: 1.5 }).table.buckets.length).toBe(0);
    expect(begun(["a"], { bucketCount: 0, copies: 5 }).table.settings.copies).toBe(3);
    expect(begun(["a"], { bucketCount: 1e9 }).table.buckets.length).toBe(0);
    expect(begun(["a"], { copies: 2 as 3 }).table.buckets.length).toBe(0);
  });

  test("of live nodes only", () => {
    const fold = new Fold();
    for (const node of ["a", "b", "c"]) fold.register(node);
    fold.depart("a", "b", ["b", "c"]);
    fold.run({ type: "drain", node: "b", incarnation: 1, on: true }, { type: "begin", bucketCount: 1, copies: 3, minCopies: 1 });
    expect(fold.members()).toEqual(["c"]);
  });
});

describe("R3: Settings", () => {
  test("copies 1, 3 or 5 with minCopies among them; anything else changes nothing (B4)", () => {
    const fold = begun(["a", "b", "c"]);
    fold.run({ type: "settings", settings: { copies: 5, minCopies: 3 } });
    expect(fold.table.settings).toEqual({ copies: 5, minCopies: 3 });
    fold.run({ type: "settings", settings: { copies: 3, minCopies: 4 } });
    fold.run({ type: "settings", settings: { copies: 3, minCopies: 0 } });
    fold.run({ type: "settings", settings: { copies: 4 as 3, minCopies: 2 } });
    expect(fold.table.settings).toEqual({ copies: 5, minCopies: 3 });
  });
});

describe("R4: Register", () => {
  test("only if the node's incarnation is still the one seen; the new one is one more", () => {
    const fold = new Fold();
    fold.register("a");
    expect(fold.table.nodes.get("a")).toMatchObject({ incarnation: 1, slot: 0, state: "live", registration: "operator.0.1" });
    fold.run(registration("a", 0), registration("a", 2));
    expect(fold.incarnation("a")).toBe(1);
    fold.register("b");
    fold.run({ ...registration("a", 1), zone: "elsewhere" });
    expect(fold.table.nodes.get("a")).toMatchObject({ incarnation: 2, slot: 0, zone: "elsewhere", registration: "operator.0.5" });
    expect(fold.table.nodes.get("b")!.slot).toBe(1);
  });

  test("its learner attempts are void", () => {
    const fold = begun(["a"]);
    fold.register("b");
    fold.run({ type: "addLearner", bucket: 0, epoch: 1, node: "b", incarnation: 1, attempt: 1 });
    expect(fold.bucket().learners.length).toBe(1);
    fold.register("b");
    expect(fold.bucket()).toMatchObject({ learners: [], version: 3 });
    fold.run({ type: "promote", bucket: 0, epoch: 1, node: "b", attempt: 1, incarnation: 1 });
    expect(fold.members()).toEqual(["a"]);
  });

  test("clean: its memberships stay under the new incarnation; where it followed, the epoch stays", () => {
    const fold = begun(["a", "b", "c"]);
    fold.register("b");
    expect(fold.bucket()).toMatchObject({ epoch: 1, leader: "a", version: 2 });
    expect(fold.bucket().members[1]).toEqual({ node: "b", incarnation: 2, attempt: 0 });
  });

  test("clean, where it led: it leads a new epoch", () => {
    const fold = begun(["a", "b", "c"]);
    fold.register("a");
    expect(fold.bucket()).toMatchObject({ epoch: 2, leader: "a" });
    expect(fold.members()).toEqual(["a", "b", "c"]);
  });

  test("clean, where the leader is departed: it leads a new epoch", () => {
    const fold = begun(["a", "b"], { minCopies: 2 });
    fold.register("c");
    fold.depart("b", "a", ["a", "c"]);
    fold.depart("a", "c", ["c"]);
    expect(fold.bucket()).toMatchObject({ epoch: 1, leader: "a" });
    fold.register("b");
    expect(fold.bucket()).toMatchObject({ epoch: 2, leader: "b" });
    expect(fold.members()).toEqual(["a", "b"]);
  });

  test("unclean: it leaves the members, and where it followed the epoch stays", () => {
    const fold = begun(["a", "b", "c"]);
    fold.register("b", { clean: false });
    expect(fold.members()).toEqual(["a", "c"]);
    expect(fold.bucket()).toMatchObject({ epoch: 1, leader: "a" });
  });

  test("unclean, where it led: the next live member leads a new epoch", () => {
    const fold = begun(["a", "b", "c"], { minCopies: 3 });
    fold.depart("b", "c", ["a", "c"]);
    expect(fold.members()).toEqual(["a", "b", "c"]);
    fold.register("a", { clean: false });
    expect(fold.members()).toEqual(["b", "c"]);
    expect(fold.bucket()).toMatchObject({ epoch: 2, leader: "c", state: "on" });
  });

  test("unclean, where no other member is live: a departed one has all that was committed, and leads on its return", () => {
    const fold = begun(["a", "b"], { minCopies: 2 });
    fold.depart("b", "a", ["a"]);
    fold.register("a", { clean: false });
    expect(fold.members()).toEqual(["b"]);
    expect(fold.bucket()).toMatchObject({ leader: "b", state: "on" });
    expect(fold.table.leaderOf(0)).toBeUndefined();
    fold.register("b");
    expect(fold.table.leaderOf(0)?.id).toBe("b");
  });

  test("unclean, the last member stays, and the bucket is dark; at the second restart it still is", () => {
    const fold = begun(["a"]);
    fold.register("a", { clean: false });
    expect(fold.bucket()).toMatchObject({ state: "dark", leader: "a", members: [{ node: "a", incarnation: 2, attempt: 0 }] });
    expect(fold.table.leaderOf(0)).toBeUndefined();
    fold.register("a", { incomplete: [0] });
    expect(fold.bucket()).toMatchObject({ state: "dark", members: [{ node: "a", incarnation: 3, attempt: 0 }] });
  });

  test("a store that the table does not know is unclean, whatever the node says (R21)", () => {
    const fold = begun(["a", "b", "c"]);
    fold.register("c", { store: "another" });
    expect(fold.members()).toEqual(["a", "b"]);
  });

  test("the last member with a fresh store: dark until the whole old store returns (R22)", () => {
    const fold = begun(["a"]);
    fold.register("a", { store: "fresh" });
    expect(fold.bucket().state).toBe("dark");
    fold.register("a", { store: "fresh" });
    expect(fold.bucket().state).toBe("dark");
    fold.register("a");
    expect(fold.bucket()).toMatchObject({ state: "on", leader: "a", epoch: 4 });
    expect(fold.bucket()).not.toHaveProperty("lostStore");
  });

  test("the return of a store older than the one that held the last copy does not end the dark", () => {
    const fold = begun(["a", "b"]);
    fold.register("a", { store: "second" });
    expect(fold.members()).toEqual(["b"]);
    fold.join("a");
    fold.depart("b", "a", ["a"]);
    expect(fold.members()).toEqual(["a"]);
    fold.register("a", { store: "third" });
    expect(fold.bucket()).toMatchObject({ state: "dark", lostStore: "second" });
    fold.register("a");
    expect(fold.bucket().state).toBe("dark");
    fold.register("a", { store: "second" });
    expect(fold.bucket().state).toBe("on");
  });

  test("an incomplete copy is unclean for its own bucket only (R22)", () => {
    const fold = begun(["a", "b", "c"], { bucketCount: 2 });
    fold.register("c", { incomplete: [1] });
    expect(fold.members(0)).toContain("c");
    expect(fold.members(1)).not.toContain("c");
  });

  test("all nodes lose power: they register clean and keep their memberships (R20)", () => {
    const fold = begun(["a", "b", "c"], { bucketCount: 3 });
    for (const node of ["c", "a", "b"]) fold.register(node);
    for (const id of [0, 1, 2]) {
      expect(fold.members(id).length).toBe(3);
      expect(fold.bucket(id).epoch).toBe(2);
      expect(fold.bucket(id).members.every((member) => member.incarnation === 2)).toBe(true);
    }
  });
});

describe("R10: plans", () => {
  test("a plan names the next series, and one runs for a bucket at a time", () => {
    const fold = begun(["a", "b", "c"], { bucketCount: 2 });
    const plan = { series: 1, step: 0, kind: "migrate", bucket: 0, target: ["b", "a", "c"] } as const;
    fold.run({ type: "plan", plan: { ...plan, series: 2 } }, { type: "plan", plan: { ...plan, target: [] } }, { type: "plan", plan: { ...plan, step: 1 } });
    expect(fold.table.plans.size).toBe(0);
    fold.run({ type: "plan", plan }, { type: "plan", plan: { ...plan, series: 2 } });
    expect(fold.table.plans.get(0)).toEqual(plan);
    fold.run({ type: "plan", plan: { ...plan, series: 2, bucket: 1 } });
    expect(fold.table.plans.get(1)?.series).toBe(2);
  });

  test("whoever comes next proposes the step on top; a duplicate is a no-op; the last step ends the plan", () => {
    const fold = begun(["a", "b", "c"]);
    const series = fold.plan(["a", "b", "c"]);
    const step = { type: "step", bucket: 0, series, step: 0 } as const;
    fold.run(step, step, { ...step, series: series + 1, step: 1 });
    expect(fold.table.plans.get(0)?.step).toBe(1);
    fold.run({ ...step, step: 1 }, { ...step, step: 2 });
    expect(fold.table.plans.size).toBe(0);
  });

  test("Cancel ends the plan it names and no other", () => {
    const fold = begun(["a", "b", "c"]);
    const series = fold.plan(["a", "b", "c"]);
    fold.run({ type: "cancel", bucket: 0, series: series + 1 });
    expect(fold.table.plans.size).toBe(1);
    fold.run({ type: "cancel", bucket: 0, series });
    expect(fold.table.plans.size).toBe(0);
  });
});

describe("Drain", () => {
  test("of the incarnation it was decided on, and back; a departed node stays departed", () => {
    const fold = begun(["a", "b", "c"]);
    const drain = { type: "drain", node: "b", incarnation: 1, on: true } as const;
    fold.run({ ...drain, incarnation: 2 });
    expect(fold.table.nodes.get("b")!.state).toBe("live");
    fold.run(drain);
    expect(fold.table.nodes.get("b")!.state).toBe("draining");
    expect(fold.table.isLive("b")).toBe(true);
    fold.run({ ...drain, on: false });
    expect(fold.table.nodes.get("b")!.state).toBe("live");
    fold.depart("b", "a", ["a", "c"]);
    fold.run({ ...drain, on: false });
    expect(fold.table.nodes.get("b")!.state).toBe("departed");
  });
});

describe("snapshots", () => {
  test("a restored table goes on as the first one would, and none is kept at position 0", () => {
    const fold = begun(["a", "b", "c", "d"], { bucketCount: 4 });
    fold.plan(["b", "c", "d"], 1);
    fold.register("b", { store: "fresh" });
    const restored = Table.restore(fold.table.position, fold.table.snapshot());
    expect(restored.snapshot()).toEqual(fold.table.snapshot());
    expect(restored.digest()).toBe(fold.table.digest());
    const next: Command[] = [registration("c", 1), { type: "cancel", bucket: 1, series: 1 }];
    restored.apply(restored.position + 1, "x.1.1", next);
    fold.table.apply(fold.table.position + 1, "x.1.1", next);
    expect(restored.digest()).toBe(fold.table.digest());
    expect(Table.restore(0, new Uint8Array()).buckets).toEqual([]);
  });

  test("an unknown format stops the node", () => {
    expect(() => Table.restore(1, new TextEncoder().encode('{"format":2}'))).toThrow("format 2");
  });
});

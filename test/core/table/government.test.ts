// Departures, learners, hand-over, retirement and force, rule by rule, in the words of the rules (R5–R9).

import { describe, expect, test } from "vitest";

import { begun } from "./fold.ts";
import type { Fold } from "./fold.ts";

describe("R5: Depart", () => {
  test("by a node that is live in the table at its incarnation and is not the node itself", () => {
    const fold = begun(["a", "b", "c", "d"]);
    fold.depart("d", "c", ["a", "b", "c"]);
    fold.run({ type: "depart", node: "a", incarnation: 1, by: "nobody", byIncarnation: 0, alive: ["b", "c"] });
    fold.depart("a", "d", ["b", "c", "d"]);
    fold.depart("a", "c", ["b", "c"], { byIncarnation: 7 });
    fold.depart("a", "a", ["b", "c"]);
    fold.depart("a", "b", ["b", "c"], { incarnation: 7 });
    expect(fold.table.nodes.get("a")!.state).toBe("live");
    expect(fold.members()).toEqual(["a", "b"]);
    fold.depart("a", "b", ["b", "c"]);
    expect(fold.table.nodes.get("a")!.state).toBe("departed");
  });

  test("a departed node's word on another counts for nothing", () => {
    const fold = begun(["a", "b", "c"]);
    fold.depart("b", "a", ["a", "c"]);
    fold.depart("a", "b", ["b", "c"]);
    expect(fold.bucket()).toMatchObject({ leader: "a", epoch: 1 });
    expect(fold.members()).toEqual(["a", "c"]);
  });

  test("where the node led, the first other member that is alive and live leads a new epoch", () => {
    const fold = begun(["a", "b", "c"], { minCopies: 3 });
    fold.depart("b", "c", ["a", "c"]);
    fold.depart("a", "c", ["b", "c"]);
    expect(fold.bucket()).toMatchObject({ leader: "c", epoch: 2 });
  });

  test("a live member whose lease was not read is no heir", () => {
    const fold = begun(["a", "b", "c"]);
    expect(fold.members()).toEqual(["a", "b", "c"]);
    fold.depart("a", "c", ["c"]);
    expect(fold.bucket().leader).toBe("c");
  });

  test("bucket by bucket it takes effect only where another member in `alive` is live", () => {
    const fold = begun(["a", "b"], { bucketCount: 2, copies: 1 });
    fold.join("b", 0);
    fold.depart("a", "b", ["b"]);
    expect(fold.members(0)).toEqual(["b"]);
    const alone = begun(["a", "b"], { copies: 1 });
    alone.depart("a", "b", ["b"]);
    expect(alone.table.nodes.get("a")!.state).toBe("departed");
    expect(alone.bucket()).toMatchObject({ version: 1, leader: "a", epoch: 1 });
    const notAlive = begun(["a", "b", "c"]);
    notAlive.depart("a", "c", []);
    expect(notAlive.bucket()).toMatchObject({ version: 1, leader: "a", epoch: 1 });
  });

  test("it leaves the members where at least max(1, minCopies) others remain; else it stays, departed, until a Promote makes room", () => {
    const fold = begun(["a", "b", "c"], { minCopies: 2 });
    fold.register("d");
    fold.depart("b", "a", ["a", "c", "d"]);
    expect(fold.members()).toEqual(["a", "c"]);
    fold.depart("c", "a", ["a", "d"]);
    expect(fold.members()).toEqual(["a", "c"]);
    fold.join("d");
    expect(fold.members()).toEqual(["a", "d"]);
  });

  test("the last good member is never departed from its bucket", () => {
    const fold = begun(["a", "b", "c"]);
    fold.depart("a", "c", ["b", "c"]);
    fold.depart("b", "c", ["c"]);
    fold.register("d");
    fold.depart("c", "d", ["d"]);
    expect(fold.members()).toEqual(["c"]);
  });

  test("proposed again for those left out when a member of theirs is alive", () => {
    const fold = begun(["a", "b", "c"], { copies: 3 });
    fold.register("d");
    fold.depart("a", "d", ["d"]);
    expect(fold.bucket()).toMatchObject({ leader: "a", epoch: 1 });
    fold.depart("a", "d", ["b", "d"]);
    expect(fold.bucket()).toMatchObject({ leader: "b", epoch: 2 });
    expect(fold.members()).toEqual(["b", "c"]);
  });

  test("it cancels running plans and raises the plan series; a duplicate does neither", () => {
    const fold = begun(["a", "b", "c"]);
    fold.register("d");
    const series = fold.plan(["b", "c", "d"]);
    expect(fold.table.plans.size).toBe(1);
    fold.depart("d", "a", ["a", "b", "c"]);
    expect(fold.table.plans.size).toBe(0);
    expect(fold.table.planSeries).toBe(series + 1);
    const next = fold.plan(["b", "a", "c"]);
    fold.depart("d", "a", ["a", "b", "c"]);
    expect(fold.table.plans.get(0)?.series).toBe(next);
  });

  test("its learner attempts end with it", () => {
    const fold = begun(["a"]);
    fold.register("b");
    fold.run({ type: "addLearner", bucket: 0, epoch: 1, node: "b", incarnation: 1, attempt: 1 });
    fold.depart("b", "a", ["a"]);
    expect(fold.bucket().learners).toEqual([]);
  });

  test("buckets without the departed node are not touched (invariant 18)", () => {
    const fold = begun(["a", "b", "c", "d", "e"], { bucketCount: 5 });
    const change = fold.depart("a", "c", ["b", "c", "d", "e"]);
    expect([...change.buckets]).toEqual([0, 1, 4]);
    expect([...change.nodes]).toEqual(["a"]);
    expect(fold.bucket(2).version).toBe(1);
  });
});

describe("R7: learners and Promote", () => {
  const learning = (): Fold => {
    const fold = begun(["a", "b"]);
    fold.register("c");
    fold.run({ type: "addLearner", bucket: 0, epoch: 1, node: "c", incarnation: 1, attempt: 5 });
    return fold;
  };
  const promote = { type: "promote", bucket: 0, epoch: 1, node: "c", attempt: 5, incarnation: 1 } as const;

  test("same epoch, attempt and incarnation: it joins the members", () => {
    const fold = learning();
    fold.run(promote);
    expect(fold.bucket()).toMatchObject({ epoch: 1, leader: "a", learners: [], version: 3 });
    expect(fold.bucket().members[2]).toEqual({ node: "c", incarnation: 1, attempt: 5 });
  });

  test("another epoch, attempt, incarnation, node or bucket: nothing", () => {
    const fold = learning();
    fold.run({ ...promote, epoch: 2 }, { ...promote, attempt: 4 }, { ...promote, incarnation: 2 }, { ...promote, node: "d" }, { ...promote, bucket: 9 });
    expect(fold.bucket().version).toBe(2);
  });

  test("an old leader's Promote comes too late after a usurp", () => {
    const fold = learning();
    fold.depart("a", "b", ["b", "c"]);
    fold.run(promote);
    expect(fold.members()).toEqual(["b"]);
    fold.run({ ...promote, epoch: 2 });
    expect(fold.members()).toEqual(["b", "c"]);
  });

  test("each attempt has a fresh id, across buckets and after a drop", () => {
    const fold = learning();
    fold.run({ type: "dropLearner", bucket: 0, node: "c", attempt: 4 });
    expect(fold.bucket().learners.length).toBe(1);
    fold.run({ type: "dropLearner", bucket: 0, node: "c", attempt: 5 });
    expect(fold.bucket().learners).toEqual([]);
    const add = { type: "addLearner", bucket: 0, epoch: 1, node: "c", incarnation: 1, attempt: 5 } as const;
    fold.run(add);
    expect(fold.bucket().learners).toEqual([]);
    fold.run({ ...add, attempt: 6 });
    expect(fold.bucket().learners).toEqual([{ node: "c", incarnation: 1, attempt: 6 }]);
  });

  test("no learner twice, no member, no departed or draining or restarted node, no other epoch", () => {
    const fold = learning();
    fold.register("d");
    fold.register("e");
    fold.depart("d", "a", ["a", "b"]);
    fold.run({ type: "drain", node: "e", incarnation: 1, on: true });
    const add = { type: "addLearner", bucket: 0, epoch: 1, node: "c", incarnation: 1, attempt: 9 } as const;
    const { version } = fold.bucket();
    fold.run(add, { ...add, node: "b" }, { ...add, node: "d" }, { ...add, node: "e" }, { ...add, node: "nobody" });
    fold.register("f");
    fold.run({ ...add, node: "f", incarnation: 2 }, { ...add, node: "f", epoch: 2 });
    expect(fold.bucket().version).toBe(version);
  });

  test("departed members leave while minCopies others remain, but never the leader", () => {
    const fold = begun(["a", "b", "c"], { minCopies: 3 });
    for (const node of ["d", "e", "f"]) fold.register(node);
    fold.depart("b", "a", ["a", "c"]);
    fold.depart("c", "a", ["a"]);
    fold.join("d");
    expect(fold.members()).toEqual(["a", "c", "d"]);
    fold.join("e");
    expect(fold.members()).toEqual(["a", "d", "e"]);
    const led = begun(["a"], { copies: 1 });
    led.register("b");
    led.run({ type: "addLearner", bucket: 0, epoch: 1, node: "b", incarnation: 1, attempt: 1 });
    led.depart("a", "b", ["b"]);
    led.run({ type: "promote", bucket: 0, epoch: 1, node: "b", attempt: 1, incarnation: 1 });
    expect(led.members()).toEqual(["a", "b"]);
    expect(led.bucket()).toMatchObject({ leader: "a" });
    led.depart("a", "b", ["b"]);
    expect(led.bucket()).toMatchObject({ leader: "b", epoch: 2 });
    expect(led.members()).toEqual(["b"]);
  });
});

describe("R8: Handover and Retire", () => {
  const moving = (): { fold: Fold; series: number } => {
    const fold = begun(["a", "b", "c"], { minCopies: 2 });
    fold.register("d");
    const series = fold.plan(["d", "b", "c"]);
    fold.join("d");
    fold.run({ type: "step", bucket: 0, series, step: 0 });
    return { fold, series };
  };

  test("Handover: a new epoch, the invited leads, the members stay; the plan steps on", () => {
    const { fold, series } = moving();
    fold.run({ type: "handover", bucket: 0, epoch: 1, to: "d", series, step: 1 });
    expect(fold.bucket()).toMatchObject({ epoch: 2, leader: "d" });
    expect(fold.members()).toEqual(["a", "b", "c", "d"]);
    expect(fold.table.plans.get(0)?.step).toBe(2);
  });

  test("Handover: another epoch, series or step, or to one who is no live member: nothing", () => {
    const { fold, series } = moving();
    fold.register("e");
    const handover = { type: "handover", bucket: 0, epoch: 1, to: "d", series, step: 1 } as const;
    fold.run({ ...handover, epoch: 2 }, { ...handover, series: series + 1 }, { ...handover, step: 0 }, { ...handover, to: "e" });
    expect(fold.bucket()).toMatchObject({ epoch: 1, leader: "a" });
    const other = begun(["a", "b", "c"], { minCopies: 3 });
    other.depart("b", "a", ["a", "c"]);
    const plan = other.plan(["b", "a", "c"]);
    other.run({ type: "step", bucket: 0, series: plan, step: 0 }, { ...handover, to: "b", series: plan });
    expect(other.bucket()).toMatchObject({ epoch: 1, leader: "a" });
  });

  test("Handover to the leader itself starts no epoch", () => {
    const fold = begun(["a", "b"]);
    const series = fold.plan(["a", "b"]);
    fold.run({ type: "step", bucket: 0, series, step: 0 }, { type: "handover", bucket: 0, epoch: 1, to: "a", series, step: 1 });
    expect(fold.bucket()).toMatchObject({ epoch: 1, version: 1 });
    expect(fold.table.plans.get(0)?.step).toBe(1);
  });

  test("Retire of nobody ends the plan and leaves the bucket as it is", () => {
    const fold = begun(["a", "b"]);
    const series = fold.plan(["a", "b"]);
    fold.run({ type: "step", bucket: 0, series, step: 0 }, { type: "step", bucket: 0, series, step: 1 });
    fold.run({ type: "retire", bucket: 0, epoch: 1, nodes: [], series, step: 2 });
    expect(fold.bucket().version).toBe(1);
    expect(fold.table.plans.size).toBe(0);
  });

  test("Retire: by the epoch of the barrier, never the leader, never below minCopies; it ends the plan", () => {
    const { fold, series } = moving();
    fold.run({ type: "handover", bucket: 0, epoch: 1, to: "d", series, step: 1 });
    const retire = { type: "retire", bucket: 0, epoch: 2, nodes: ["a"], series, step: 2 } as const;
    fold.run({ ...retire, epoch: 1 }, { ...retire, nodes: ["d"] }, { ...retire, nodes: ["a", "b", "c"] }, { ...retire, series: series + 1 }, { ...retire, step: 1 });
    expect(fold.members()).toEqual(["a", "b", "c", "d"]);
    fold.run(retire);
    expect(fold.members()).toEqual(["b", "c", "d"]);
    expect(fold.table.plans.size).toBe(0);
  });

  test("before the Handover a Retire is out of step", () => {
    const { fold, series } = moving();
    fold.run({ type: "retire", bucket: 0, epoch: 1, nodes: ["c"], series, step: 2 });
    expect(fold.members()).toEqual(["a", "b", "c", "d"]);
  });

  test("a departure between Handover and the barrier makes the old leader's Retire too late", () => {
    const { fold, series } = moving();
    fold.run({ type: "handover", bucket: 0, epoch: 1, to: "d", series, step: 1 });
    fold.depart("d", "a", ["a", "b", "c"]);
    fold.run({ type: "retire", bucket: 0, epoch: 2, nodes: ["a"], series, step: 2 });
    expect(fold.members()).toEqual(["a", "b", "c"]);
    expect(fold.bucket()).toMatchObject({ leader: "a", epoch: 3 });
  });
});

describe("R9: ForceUnclean", () => {
  const force = { type: "forceUnclean", bucket: 0, node: "a", incarnation: 2 } as const;

  test("from dark: it is the one member, a new epoch and a new generation", () => {
    const fold = begun(["a"]);
    fold.register("a", { store: "fresh" });
    const { epoch } = fold.bucket();
    fold.run({ ...force, incarnation: 1 });
    expect(fold.bucket().state).toBe("dark");
    fold.run(force);
    expect(fold.bucket()).toMatchObject({ state: "on", epoch: epoch + 1, generation: 1, leader: "a", learners: [] });
    expect(fold.bucket().members).toEqual([{ node: "a", incarnation: 2, attempt: 0 }]);
    expect(fold.bucket()).not.toHaveProperty("lostStore");
    fold.run(force);
    expect(fold.bucket().generation).toBe(1);
  });

  test("onto a node that is live in the table", () => {
    const fold = begun(["a"]);
    fold.register("b");
    fold.register("c");
    fold.depart("b", "c", ["c"]);
    fold.register("a", { store: "fresh" });
    fold.run({ ...force, node: "nobody" }, { ...force, node: "b", incarnation: 1 });
    expect(fold.bucket().state).toBe("dark");
    fold.run({ ...force, node: "c", incarnation: 1 });
    expect(fold.bucket()).toMatchObject({ state: "on", leader: "c", generation: 1 });
  });

  test("from dark only", () => {
    const fold = begun(["a", "b"]);
    fold.run({ ...force, incarnation: 1 });
    expect(fold.bucket()).toMatchObject({ generation: 0, version: 1 });
  });
});

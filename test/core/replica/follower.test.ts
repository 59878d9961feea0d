// The receiving side (R13): fence, prefix, truncation, and acknowledgements of what is durable and matched.

import { describe, expect, test } from "vitest";
import { entry, holding, record, Rig } from "./rig.ts";

/** A follower of b in epoch 3 with this log. */
function follower(...epochs: number[]): Rig {
  const rig = new Rig(holding(...epochs));
  rig.table(record(3, "b", ["a", "b", "c"]));
  return rig;
}

describe("the fence", () => {
  test("a lower epoch is refused with the promise, and nothing is written", () => {
    const rig = follower(1, 1);
    rig.append("c", 2, 2, 1, [entry(3, 2)]);
    expect(rig.said()).toEqual(["c refused promised 3 hint 0"]);
    expect(rig.written).toEqual([]);
  });

  test("at start the promise is the greatest epoch in the log", () => {
    expect(new Rig(holding(1, 2, 5)).replica.promised).toBe(5);
  });

  test("a higher epoch is promised before it is answered", () => {
    const rig = follower(1, 1);
    rig.append("c", 4, 2, 1, []);
    expect(rig.replica.promised).toBe(4);
    expect(rig.sent()[0]).toMatchObject({ type: "appended", epoch: 4 });
    rig.append("b", 3, 2, 1, [entry(3, 3)]);
    expect(rig.said()).toEqual(["b refused promised 4 hint 0"]);
  });

  test("a leader that hears of a higher epoch leads no more", () => {
    const rig = new Rig();
    rig.table(record(2, "a", ["a", "b"]));
    rig.sync();
    rig.appended("b", 2, 1);
    expect(rig.replica.isOpen).toBe(true);
    rig.append("b", 3, 1, 2, [entry(2, 3)]);
    expect(rig.calls).toContain("closed");
    expect(rig.replica.role).toBe("follower");
    expect(() => rig.add(1)).toThrow("only a leader");
    expect(rig.written.at(-1)).toMatchObject({ index: 2, epoch: 3 });
  });

  test("the promise of a record of the table holds too", () => {
    const rig = follower(1);
    rig.table(record(7, "c", ["a", "c"]));
    rig.append("b", 3, 1, 1, []);
    expect(rig.said()).toEqual(["b refused promised 7 hint 0"]);
  });
});

describe("who is meant", () => {
  test.each([
    ["another bucket", { bucket: 1 }],
    ["another incarnation of this node", { toIncarnation: 2 }],
    ["another attempt", { attempt: 9 }],
  ])("a message for %s is dropped", (_what, header) => {
    const rig = follower(1);
    rig.from("b", 3, { type: "append", prev: 1, prevEpoch: 1, entries: [entry(2, 3)], commit: 0, round: 0 }, header);
    rig.sync();
    expect(rig.said()).toEqual([]);
    expect(rig.written).toEqual([]);
  });

  test.each([
    ["is not named", record(3, "b", ["b", "c"])],
    ["is named under another incarnation", record(3, "b", [{ node: "a", incarnation: 2, attempt: 0 }, "b"])],
    ["has a dark bucket", record(3, "b", ["a", "b"], [], "dark")],
  ])("a replica that %s answers nothing", (_what, named) => {
    const rig = new Rig(holding(1));
    rig.table(named);
    rig.append("b", 3, 1, 1, [entry(2, 3)]);
    rig.pass(1000);
    expect(rig.replica.role).toBe("idle");
    expect(rig.said()).toEqual([]);
    expect(rig.written).toEqual([]);
  });
});

describe("the prefix", () => {
  test("past the end: refused with the end", () => {
    const rig = follower(1, 1);
    rig.append("b", 3, 5, 3, []);
    expect(rig.said()).toEqual(["b refused promised 3 hint 2"]);
  });

  test("of another epoch: refused with the last index before that epoch", () => {
    const rig = follower(1, 2, 2, 2);
    rig.append("b", 3, 4, 1, []);
    expect(rig.said()).toEqual(["b refused promised 3 hint 1"]);
  });

  test("what is committed never conflicts, so the hint does not go below it", () => {
    const rig = new Rig({ ...holding(1, 2, 2, 2), applied: 2 });
    rig.table(record(3, "b", ["a", "b", "c"]));
    rig.append("b", 3, 4, 1, []);
    expect(rig.said()).toEqual(["b refused promised 3 hint 2"]);
  });

  test("a conflicting suffix makes way, one that agrees stays", () => {
    const rig = follower(1, 1, 2, 2);
    rig.append("b", 3, 1, 1, [entry(2, 1), entry(3, 3)]);
    expect(rig.written.map(({ index }) => index)).toEqual([3]);
    expect(rig.replica.last).toBe(3);
    expect(rig.replica.epochAt(3)).toBe(3);
  });

  test("never below commit", () => {
    const rig = new Rig({ ...holding(1, 1, 2, 2), applied: 3 });
    rig.table(record(3, "b", ["a", "b", "c"]));
    expect(() => rig.append("b", 3, 2, 1, [entry(3, 3)])).toThrow("below its commit 3");
  });
});

describe("acknowledgement", () => {
  test("only once durable", () => {
    const rig = follower(1);
    rig.append("b", 3, 1, 1, [entry(2, 3), entry(3, 3)]);
    expect(rig.said()).toEqual([]);
    rig.sync();
    expect(rig.said()).toEqual(["b appended 3 round 0"]);
  });

  test("each durable group moves it", () => {
    const rig = follower(1);
    rig.append("b", 3, 1, 1, [entry(2, 3)]);
    rig.ticket = 2;
    rig.append("b", 3, 2, 3, [entry(3, 3)]);
    rig.replica.durable(1);
    rig.replica.durable(2);
    expect(rig.said()).toEqual(["b appended 2 round 0", "b appended 3 round 0"]);
  });

  test("of the match, never of the log's end", () => {
    const rig = follower(1, 1, 2, 2);
    rig.append("b", 3, 2, 1, []);
    expect(rig.said()).toEqual(["b appended 2 round 0"]);
  });

  test("what matched in one epoch says nothing in the next", () => {
    const rig = follower(1, 1);
    rig.append("b", 3, 2, 1, [entry(3, 3)]);
    rig.sync();
    rig.said();
    rig.append("c", 4, 1, 1, []);
    expect(rig.said()).toEqual(["c appended 1 round 0"]);
  });

  test("a late fsync does not cover what took the place", () => {
    const rig = follower(1);
    rig.append("b", 3, 1, 1, [entry(2, 3), entry(3, 3)]); // ticket 1
    rig.ticket = 2;
    rig.append("c", 4, 1, 1, [entry(2, 4), entry(3, 4)]);
    rig.replica.durable(1);
    expect(rig.replica.durableTo).toBe(1);
    expect(rig.said()).toEqual([]);
    rig.replica.durable(2);
    expect(rig.said()).toEqual(["c appended 3 round 0"]);
  });

  test("commit follows the leader's, within the match; only what is durable is applied", () => {
    const rig = follower();
    rig.append("b", 3, 0, 0, [entry(1, 3), entry(2, 3)], 9);
    expect([rig.replica.commit, rig.replica.applied]).toEqual([2, 0]);
    rig.sync();
    expect([rig.replica.commit, rig.replica.applied, rig.machine.sum]).toEqual([2, 2, 3]);
  });

  test("after a restart the state machine is fed from the log on disk", () => {
    const rig = new Rig({ ...holding(1, 1, 1), applied: 1 });
    rig.table(record(3, "b", ["a", "b", "c"]));
    rig.append("b", 3, 3, 1, [], 3);
    rig.append("b", 3, 3, 1, [], 3);
    expect(rig.loads).toEqual([{ purpose: "apply", from: 2, to: 3 }]);
    rig.replica.loaded("apply", [entry(2, 1)]);
    expect(rig.replica.applied).toBe(2);
    expect(rig.loads).toHaveLength(2);
    rig.replica.loaded("apply", [entry(3, 1)]);
    expect(rig.machine.sum).toBe(5);
  });
});

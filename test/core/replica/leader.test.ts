// The leading side: usurp, commit over all that must acknowledge, the window, rounds, and what a leader proposes (R8, R14–R17, R32, R34).

import { describe, expect, test } from "vitest";
import { PLAN_STEP, type Plan } from "../../../src/core/table/commands.ts";
import { EMPTY, entry, holding, member, record, Rig, WALL } from "./rig.ts";

/** Leads epoch 2 over a, b and c; Gov is index 1 and open. */
function open(limits: ConstructorParameters<typeof Rig>[1] = {}): Rig {
  const rig = new Rig(EMPTY, limits);
  rig.table(record(2, "a", ["a", "b", "c"]));
  rig.sync();
  rig.flush();
  rig.appended("b", 2, 1);
  rig.appended("c", 2, 1);
  rig.flush();
  expect(rig.replica.isOpen).toBe(true);
  rig.sent();
  return rig;
}

describe("usurp", () => {
  test("the whole tail stays, Gov comes on top, and its commit opens", () => {
    const rig = new Rig({ ...holding(1, 1, 1), applied: 1 });
    rig.table(record(2, "a", ["a", "b"]));
    rig.flush();
    expect(rig.written).toMatchObject([{ index: 4, epoch: 2, kind: 0 }]);
    expect(rig.said()).toEqual(["b append 3/1 +1 commit 1 round 0"]);
    rig.appended("b", 2, 3);
    rig.sync();
    expect(rig.replica.commit).toBe(1); // a match below Gov commits nothing
    expect(() => rig.add(1)).toThrow("only an open leader");
    rig.appended("b", 2, 4);
    expect(rig.replica.commit).toBe(4);
    expect(rig.calls).toEqual([]); // Gov is committed, and not yet applied
    rig.replica.loaded("apply", [entry(2, 1), entry(3, 1)]);
    expect(rig.calls).toEqual(["opened 2", "appliedTo 4"]);
  });

  test("a member behind is sent what it lacks, from its hint on", () => {
    const rig = new Rig({ ...holding(1, 1, 1), applied: 1 });
    rig.table(record(2, "a", ["a", "b"]));
    rig.flush();
    rig.sent();
    rig.from("b", 2, { type: "refused", promised: 2, hint: 2, round: 0 });
    rig.flush();
    expect(rig.loads).toEqual([{ purpose: { peer: "b" }, from: 3, to: 4 }]);
    rig.replica.loaded({ peer: "b" }, [entry(3, 1)]);
    expect(rig.said()).toEqual(["b append 2/1 +1 commit 1 round 0"]);
    rig.appended("b", 2, 3);
    rig.flush();
    expect(rig.said()).toEqual(["b append 3/1 +1 commit 1 round 0"]);
  });

  test("a lost probe is asked again from the same place, and the answer brings the entries", () => {
    const rig = new Rig(holding(1, 1));
    rig.table(record(2, "a", ["a", "b"]));
    rig.flush();
    rig.pass(99);
    expect(rig.said()).toHaveLength(1);
    rig.pass(1);
    expect(rig.said()).toEqual(["b append 2/1 +0 commit 0 round 0"]);
    rig.appended("b", 2, 2);
    rig.flush();
    expect(rig.said()).toEqual(["b append 2/1 +1 commit 0 round 0"]);
  });

  test("alone, it opens with its own disk and sends nothing", () => {
    const rig = new Rig();
    rig.table(record(1, "a", ["a"]));
    rig.sync();
    const index = rig.add(5);
    rig.flush();
    rig.sync();
    rig.pass(1000);
    expect(rig.calls).toEqual(["opened 1", "appliedTo 1", `appliedTo ${index}`]);
    expect(rig.machine.sum).toBe(5);
    expect(rig.sent()).toEqual([]);
  });

  test("another epoch of its own is another usurp", () => {
    const rig = open();
    rig.table(record(3, "a", ["a", "b", "c"]));
    expect(rig.calls.at(-1)).toBe("closed");
    expect(rig.written.at(-1)).toMatchObject({ index: 2, epoch: 3, kind: 0 });
    expect(rig.replica.isOpen).toBe(false);
  });
});

describe("commit", () => {
  test("needs every member's disk, its own included", () => {
    const rig = open();
    rig.add(5);
    rig.appended("b", 2, 2);
    rig.appended("c", 2, 2);
    expect(rig.replica.commit).toBe(1);
    rig.sync();
    expect(rig.replica.commit).toBe(2);
    rig.add(6);
    rig.sync();
    rig.appended("b", 2, 3);
    expect(rig.replica.commit).toBe(2);
    rig.appended("c", 2, 3);
    expect(rig.replica.commit).toBe(3);
  });

  test.each([
    ["another epoch", 1, {}],
    ["another incarnation", 2, { fromIncarnation: 2 }],
    ["another attempt", 2, { attempt: 4 }],
    ["nobody in the record", 2, { from: "z" }],
  ])("an ack of %s counts nothing", (_what, epoch, header) => {
    const rig = open();
    rig.add(5);
    rig.sync();
    rig.appended("b", 2, 2);
    rig.appended("c", epoch, 2, {}, header);
    expect(rig.replica.commit).toBe(1);
  });

  test("a member that registered anew must acknowledge anew", () => {
    const rig = open();
    rig.add(5);
    rig.appended("b", 2, 2);
    rig.appended("c", 2, 2);
    rig.table(record(2, "a", ["a", "b", member("c", 0, 2)]));
    rig.sync();
    expect(rig.replica.commit).toBe(1);
    rig.appended("c", 2, 2, {}, { fromIncarnation: 2 });
    expect(rig.replica.commit).toBe(2);
  });

  test("needs minCopies members, and who joins is none yet", () => {
    const rig = new Rig();
    rig.table(record(2, "a", ["a", "b"], [member("d", 7)]), { minCopies: 3 });
    rig.sync();
    rig.appended("b", 2, 1);
    rig.appended("d", 2, 1, {}, { attempt: 7 });
    expect(rig.replica.joining).toEqual(["d"]);
    rig.pass(10);
    expect(rig.replica.commit).toBe(0);
    rig.table(record(2, "a", ["a", "b", member("d", 7)]), { minCopies: 3 });
    expect(rig.replica.commit).toBe(1);
  });

  test("moves when a member leaves the table", () => {
    const rig = open();
    rig.add(5);
    rig.sync();
    rig.appended("b", 2, 2);
    rig.table(record(2, "a", ["a", "b"]));
    expect(rig.replica.commit).toBe(2);
  });

  test("rides the next Append, or an idle tick, once", () => {
    const rig = open();
    rig.add(5);
    rig.sync();
    rig.flush();
    rig.sent();
    rig.appended("b", 2, 2);
    rig.appended("c", 2, 2);
    rig.flush();
    expect(rig.said()).toEqual([]);
    rig.pass(10);
    expect(rig.said()).toEqual(["b append 2/2 +0 commit 2 round 0", "c append 2/2 +0 commit 2 round 0"]);
    rig.pass(10);
    expect(rig.said()).toEqual([]);
  });

  test("time never falls, not even below another leader's", () => {
    const rig = new Rig({ ...holding(1), lastTime: WALL + 5000 });
    rig.table(record(2, "a", ["a"]));
    rig.sync();
    rig.replica.loaded("apply", [entry(1, 1)]);
    rig.add(1);
    expect(rig.written.map(({ time }) => time - WALL)).toEqual([5000, 5000]);
    rig.now = 6000;
    rig.add(1);
    expect(rig.written.at(-1)!.time - WALL).toBe(6000);
  });
});

describe("sending", () => {
  test("one Append a turn, split by its bound, within the window", () => {
    const rig = open({ appendBytes: 200, inflightBytes: 390 });
    for (let i = 0; i < 10; i += 1) rig.add(i);
    rig.flush();
    expect(rig.said().filter((line) => line.startsWith("b"))).toEqual(["b append 1/2 +3 commit 1 round 0", "b append 4/2 +3 commit 1 round 0"]);
    rig.flush();
    expect(rig.said()).toEqual([]);
    rig.appended("b", 2, 4);
    rig.flush();
    expect(rig.said()).toEqual(["b append 7/2 +3 commit 1 round 0"]);
  });

  test("after a gap it starts again from the hint, once for many refusals", () => {
    const rig = open({ appendBytes: 70 });
    for (let i = 0; i < 3; i += 1) {
      rig.add(i);
      rig.flush();
    }
    rig.sent();
    for (let i = 0; i < 2; i += 1) {
      rig.from("b", 2, { type: "refused", promised: 2, hint: 1, round: 0 });
      rig.flush();
    }
    expect(rig.said()).toEqual(["b append 1/2 +1 commit 1 round 0"]);
    rig.appended("b", 2, 2);
    rig.flush();
    expect(rig.said()).toEqual(["b append 2/2 +1 commit 1 round 0", "b append 3/2 +1 commit 1 round 0"]);
  });

  test("what is not acknowledged is asked about, and sent again from the match on", () => {
    const rig = open();
    rig.add(1);
    rig.flush();
    rig.sent();
    rig.appended("c", 2, 2);
    rig.pass(100);
    expect(rig.said()).toEqual(["b append 1/2 +0 commit 1 round 0"]);
    rig.appended("b", 2, 1);
    rig.flush();
    expect(rig.said()).toEqual(["b append 1/2 +1 commit 1 round 0"]);
  });

  test("entries leave the memory only when applied and durable, oldest first", () => {
    const rig = open({ residentBytes: 0 });
    rig.add(1);
    rig.add(2);
    rig.sync();
    expect(rig.replica.entry(2)).toBeDefined();
    rig.appended("b", 2, 3);
    rig.appended("c", 2, 2);
    expect(rig.replica.applied).toBe(2);
    expect([rig.replica.entry(2), rig.replica.entry(3)?.index]).toEqual([undefined, 3]);
  });
});

describe("a round", () => {
  test("is over when every member has answered it, and not by an older answer", () => {
    const rig = open();
    expect(rig.replica.confirm()).toBe(1);
    rig.flush();
    expect(rig.said()).toEqual(["b append 1/2 +0 commit 1 round 1", "c append 1/2 +0 commit 1 round 1"]);
    rig.appended("b", 2, 1, { round: 1 });
    rig.appended("c", 2, 1, { round: 0 });
    expect(rig.calls).not.toContain("confirmed 1");
    rig.appended("c", 2, 1, { round: 1 });
    expect(rig.calls).toContain("confirmed 1");
  });

  test("is over at the end of the turn for who is alone", () => {
    const rig = new Rig();
    rig.table(record(1, "a", ["a"]));
    rig.sync();
    const question = rig.replica.confirm();
    rig.flush();
    expect(rig.calls.at(-1)).toBe(`confirmed ${question}`);
  });

  test("is echoed by a follower", () => {
    const rig = new Rig();
    rig.table(record(2, "b", ["a", "b"]));
    rig.append("b", 2, 0, 0, [], 0, 4);
    expect(rig.said()).toEqual(["b appended 0 round 4"]);
  });
});

describe("retirement", () => {
  const plan: Plan = { series: 3, step: PLAN_STEP.leave, kind: "migrate", bucket: 0, target: ["a", "b"] };

  test("is proposed after the barrier, and again until the table shows it", () => {
    const rig = new Rig();
    rig.table(record(2, "a", ["a", "b", "c"]), { plan });
    rig.sync();
    rig.appended("b", 2, 1);
    expect(rig.proposed).toEqual([]);
    rig.now = 1000;
    rig.appended("c", 2, 1);
    const retire = { type: "retire", bucket: 0, epoch: 2, nodes: ["c"], series: 3, step: PLAN_STEP.leave };
    expect(rig.proposed).toEqual([retire]);
    rig.pass(50);
    expect(rig.proposed).toHaveLength(1);
    rig.pass(50);
    expect(rig.proposed).toEqual([retire, retire]);
  });

  test.each([
    ["in another step", { ...plan, step: PLAN_STEP.lead }, 1],
    ["below minCopies", { ...plan, target: ["a"] }, 2],
  ])("is not proposed %s", (_what, other, minCopies) => {
    const rig = open();
    rig.table(record(2, "a", ["a", "b", "c"]), { plan: other, minCopies });
    rig.pass(1000);
    expect(rig.proposed).toEqual([]);
  });
});

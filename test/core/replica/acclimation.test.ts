// Acclimation from both sides (R17, R22): match or snapshot, history, the mark, joining, Promote, and what a learner pins.

import { describe, expect, test } from "vitest";
import { Counter } from "./counter.ts";
import { EMPTY, entry, holding, member, record, Rig } from "./rig.ts";

/** Leads epoch 2 alone, with `entries` entries after Gov, and has the learner d of attempt 7. */
function leader(entries = 0, floor = 1, limits: ConstructorParameters<typeof Rig>[1] = {}): Rig {
  const rig = new Rig(EMPTY, limits);
  rig.table(record(2, "a", ["a"]));
  rig.sync();
  for (let i = 0; i < entries; i += 1) rig.add(i);
  rig.sync();
  if (floor > 1) rig.replica.proposeFloor(floor, 0);
  rig.sync();
  rig.table(record(2, "a", ["a"], [member("d", 7)]));
  rig.flush();
  rig.sent();
  return rig;
}

const FROM_D = { attempt: 7 };

function report(rig: Rig, last: number, more: { floor?: number; whole?: boolean; epoch?: number } = {}): void {
  const epochs = last === 0 ? [] : [{ epoch: more.epoch ?? 2, first: 1 }];
  rig.from("d", 2, { type: "report", epochs, floor: more.floor ?? 1, base: 0, last, whole: more.whole ?? true }, FROM_D);
  rig.flush();
}

function installed(rig: Rig, index: number, parts: number, historyTo: number): void {
  rig.from("d", 2, { type: "installed", index, parts, historyTo }, FROM_D);
  rig.flush();
}

describe("a leader and its learner", () => {
  test("a log that joins on gets the rest of it", () => {
    const rig = leader(3);
    report(rig, 2);
    expect(rig.said()).toEqual(["d append 2/2 +2 commit 4 round 0"]);
  });

  test("an empty one gets all, while nothing is forgotten", () => {
    const rig = leader(3);
    report(rig, 0);
    expect(rig.said()).toEqual(["d append 0/0 +4 commit 4 round 0"]);
  });

  test.each([
    ["is marked incomplete", 4, { whole: false }, 1],
    ["joins on below the floor", 1, {}, 3],
    ["shares no epoch", 4, { epoch: 1 }, 3],
    ["has a floor above", 5, { floor: 4 }, 3],
  ])("one that %s gets a snapshot of what is applied, then history from the floor, then the tail", (_what, last, more, floor) => {
    const rig = leader(3, floor, { inflightBytes: 10 });
    const end = rig.replica.last;
    report(rig, last, more);
    expect(rig.said()).toEqual([`d snapshot ${end} 0/3`, `d snapshot ${end} 1/3`]);
    installed(rig, end, 1, 0);
    expect(rig.said()).toEqual([`d snapshot ${end} 2/3`]);
    rig.add(9);
    rig.flush();
    expect(rig.said()).toEqual([]);
    installed(rig, end, 3, floor - 1);
    const history = Array.from({ length: end - floor + 1 }, (_unused, i) => floor + i);
    expect(rig.said()).toEqual([`d history ${history.join(" ")}`]);
    installed(rig, end, 3, end);
    expect(rig.said()).toEqual([`d append ${end}/2 +1 commit ${end} round 0`]);
  });

  test("what is lost of a snapshot or its history is sent again", () => {
    const rig = leader(3, 3);
    report(rig, 0);
    rig.sent();
    installed(rig, 5, 2, 0);
    rig.pass(100);
    expect(rig.said()).toEqual(["d snapshot 5 2/3"]);
    installed(rig, 5, 3, 2);
    rig.sent();
    rig.pass(100);
    expect(rig.said()).toEqual(["d history 3 4 5"]);
  });

  test("a whole copy's acknowledgement ends it, also when the answer to the last history was lost", () => {
    const rig = leader(3, 3);
    report(rig, 0);
    installed(rig, 5, 3, 2);
    rig.appended("d", 2, 5, {}, FROM_D);
    rig.table(record(2, "a", ["a", member("d", 7)]));
    rig.add(1);
    rig.sent();
    rig.flush();
    expect(rig.said()).toEqual(["d append 5/2 +1 commit 5 round 0"]);
  });

  test("a delayed report takes no whole copy for another", () => {
    const rig = leader(3);
    report(rig, 4);
    rig.appended("d", 2, 4, {}, FROM_D);
    rig.sent();
    report(rig, 0, { whole: false });
    report(rig, 4, { whole: false });
    expect(rig.said().filter((line) => line.includes("snapshot"))).toEqual([]);
  });
});

describe("joining", () => {
  test("comes before Promote, holds the commit, and ends only by the table", () => {
    const rig = leader(3);
    rig.now = 1000;
    report(rig, 4);
    rig.appended("d", 2, 4, {}, FROM_D);
    expect(rig.replica.joining).toEqual(["d"]);
    expect(rig.proposed).toEqual([{ type: "promote", bucket: 0, epoch: 2, node: "d", attempt: 7, incarnation: 1 }]);
    rig.add(1);
    rig.sync();
    expect(rig.replica.commit).toBe(4);
    rig.pass(100);
    expect(rig.proposed).toHaveLength(2);
    rig.table(record(2, "a", ["a", member("d", 7)]));
    expect(rig.replica.joining).toEqual([]);
    expect(rig.replica.commit).toBe(4);
    rig.appended("d", 2, 5, {}, FROM_D);
    expect(rig.replica.commit).toBe(5);
  });

  test("ends when the table drops the learner", () => {
    const rig = leader(3);
    report(rig, 4);
    rig.appended("d", 2, 4, {}, FROM_D);
    rig.add(1);
    rig.sync();
    rig.table(record(2, "a", ["a"]));
    expect(rig.replica.commit).toBe(5);
  });

  test.each([
    ["without a whole copy", 4, { whole: false }, {}],
    ["behind the commit", 3, { whole: true }, {}],
    ["far behind the end", 4, { whole: true }, { tail: 9 }],
  ])("does not begin %s", (_what, match, ack, { tail = 0 }: { tail?: number }) => {
    const rig = leader(3, 1, { nearEntries: 5 });
    report(rig, match);
    for (let i = 0; i < tail; i += 1) rig.add(i);
    rig.appended("d", 2, match, ack, FROM_D);
    expect(rig.replica.joining).toEqual([]);
    expect(rig.proposed).toEqual([]);
  });

  test("does not begin behind Gov, though nothing is committed yet", () => {
    const rig = new Rig(holding(1, 1));
    rig.table(record(2, "a", ["a", "b"], [member("d", 7)]));
    rig.appended("d", 2, 2, {}, FROM_D);
    expect(rig.replica.joining).toEqual([]);
    rig.appended("d", 2, 3, {}, FROM_D);
    expect(rig.replica.joining).toEqual(["d"]);
  });
});

describe("what a learner pins", () => {
  test("the floor does not pass it, and moves on when it is gone", () => {
    const rig = leader(5, 3);
    report(rig, 0);
    expect(rig.replica.proposeFloor(6, 0)).toBe(0);
    rig.table(record(2, "a", ["a"]));
    expect(rig.replica.proposeFloor(6, 0)).toBe(8);
    rig.sync();
    expect(rig.replica.floor).toBe(6);
  });

  test("is bounded: an attempt that comes no further is dropped", () => {
    const rig = leader(5, 3);
    report(rig, 0);
    rig.pass(2999);
    expect(rig.proposed).toEqual([]);
    rig.pass(1);
    expect(rig.proposed).toEqual([{ type: "dropLearner", bucket: 0, node: "d", attempt: 7 }]);
  });

  test("the floor never passes what is applied", () => {
    const rig = leader(2);
    rig.table(record(2, "a", ["a"]));
    expect(rig.replica.proposeFloor(100, 0)).toBe(4);
    rig.sync();
    expect(rig.replica.floor).toBe(3);
    expect(rig.calls).toContain("floor 3");
  });
});

/** A learner of b in epoch 2, attempt 7. */
function learner(copy = EMPTY): Rig {
  const rig = new Rig(copy);
  rig.table(record(2, "b", ["b"], [member("a", 7)]));
  return rig;
}

const FROM_B = { attempt: 7 };
const state = new Counter();
state.sum = 42;
state.applied = 5;

function part(rig: Rig, index: number, number: number): void {
  const bytes = state.snapshot().slice(number * 6, (number + 1) * 6);
  const epochs = [{ epoch: 1, first: 3 }];
  rig.from("b", 2, { type: "snapshot", index, indexEpoch: 1, time: 0, floor: 3, epochs, part: number, parts: 2, bytes }, FROM_B);
}

function append(rig: Rig, prev: number, prevEpoch: number, commit: number, ...entries: ReturnType<typeof entry>[]): void {
  rig.from("b", 2, { type: "append", prev, prevEpoch, entries, commit, round: 0 }, FROM_B);
}

describe("a learner", () => {
  test("reports at once, and again after silence", () => {
    const rig = learner(holding(1, 1));
    rig.pass(1);
    expect(rig.said()).toEqual(["b report 1…2"]);
    rig.pass(399);
    expect(rig.said()).toEqual([]);
    rig.pass(1);
    expect(rig.said()).toEqual(["b report 1…2"]);
  });

  test("answers an Append that does not join on with its report", () => {
    const rig = learner(holding(1, 1));
    append(rig, 5, 2, 0);
    expect(rig.said()).toEqual(["b report 1…2"]);
  });

  test("installs state after the reset is durable, and is whole only when state, history and mark are", () => {
    const rig = learner(holding(1));
    part(rig, 5, 0);
    expect(rig.calls).toEqual([]); // the old copy stands until the new one is all there
    part(rig, 5, 1);
    expect(rig.calls).toEqual(["reset 5/1", "floor 3"]);
    expect([rig.replica.applied, rig.replica.whole]).toEqual([0, false]);
    rig.sync();
    expect(rig.calls.slice(2)).toEqual(["install 5"]);
    expect([rig.replica.applied, rig.replica.commit, rig.machine.sum]).toEqual([5, 5, 42]);
    expect(rig.said()).toEqual(["b installed 5 parts 1 history 0", "b installed 5 parts 1 history 2", "b installed 5 parts 2 history 2", "b appended 5 round 0 not whole"]);

    append(rig, 5, 1, 5, entry(6, 2));
    rig.from("b", 2, { type: "history", index: 5, entries: [entry(3, 1), entry(4, 1), entry(5, 1)] }, FROM_B);
    rig.sync();
    expect(rig.calls.slice(3)).toEqual(["fill 3 4 5"]); // the state may still be lost
    rig.replica.installed(5);
    expect(rig.calls.slice(4)).toEqual(["mark false"]);
    expect(rig.replica.whole).toBe(false);
    rig.sent();
    rig.sync();
    expect(rig.replica.whole).toBe(true);
    expect(rig.said()).toEqual(["b appended 6 round 0"]);
  });

  test("takes parts and history in order, each once", () => {
    const rig = learner();
    part(rig, 5, 1);
    part(rig, 5, 0);
    part(rig, 5, 0);
    part(rig, 5, 1);
    rig.sync();
    const history = (from: number, to: number): void =>
      rig.from("b", 2, { type: "history", index: 5, entries: [3, 4, 5].filter((i) => i >= from && i <= to).map((i) => entry(i, 1)) }, FROM_B);
    history(4, 5);
    history(3, 4);
    history(3, 4);
    history(5, 5);
    expect(rig.calls.filter((call) => call.startsWith("fill"))).toEqual(["fill 3 4", "fill 5"]);
  });

  test("a delayed snapshot takes nothing away that was acknowledged", () => {
    const rig = learner(holding(1, 1));
    append(rig, 2, 1, 0, entry(3, 2), entry(4, 2), entry(5, 2));
    rig.sync();
    part(rig, 5, 0);
    part(rig, 5, 1);
    expect(rig.calls).toEqual([]);
    expect(rig.replica.last).toBe(5);
  });

  test("a member takes no snapshot", () => {
    const rig = new Rig(holding(1, 1));
    rig.table(record(2, "b", ["b", member("a", 7)]));
    part(rig, 5, 0);
    part(rig, 5, 1);
    expect(rig.calls).toEqual([]);
    expect(rig.said()).toEqual([]);
  });

  test("a copy that was marked before gets a snapshot even where its log joins on", () => {
    const rig = learner({ ...holding(1, 1), incomplete: true });
    append(rig, 2, 1, 0, entry(3, 2));
    expect(rig.said()).toEqual(["b report 1…2 not whole"]);
    expect(rig.written).toEqual([]);
  });

  test("another leader begins another snapshot, in another attempt too", () => {
    const rig = learner({ ...EMPTY, incomplete: true });
    part(rig, 5, 0);
    part(rig, 5, 1);
    rig.sync();
    rig.table(record(3, "c", ["c"], [member("a", 8)]));
    rig.sent();
    rig.pass(1);
    expect(rig.said()).toEqual(["c report 3…5 not whole"]);
  });

  test("from before an accepted loss joins on nowhere below its floor", () => {
    const rig = new Rig({ ...EMPTY, floor: 3, last: 5, epochs: [{ epoch: 1, first: 3 }], applied: 5 });
    rig.table({ ...record(2, "b", ["b"], [member("a", 7)]), generation: 1 });
    append(rig, 1, 2, 1);
    rig.sync();
    expect(rig.said()).toEqual(["b report 3…5"]);
  });

  test("after an accepted loss, what it took for committed makes way for a snapshot", () => {
    const rig = new Rig({ ...holding(1, 1, 1), applied: 3 });
    rig.table({ ...record(2, "b", ["b"], [member("a", 7)]), generation: 1 });
    append(rig, 1, 1, 2, entry(2, 2));
    expect(rig.calls).toEqual(["mark true"]);
    expect(rig.said()).toEqual(["b report 1…3 not whole"]);
  });
});

describe("an accepted loss (R9)", () => {
  test("lets a marked copy lead with what it has", () => {
    const rig = new Rig({ ...holding(1, 1), applied: 2, incomplete: true });
    rig.table({ ...record(4, "a", ["a"]), generation: 1 });
    expect(rig.calls).toEqual(["mark false"]);
    expect(rig.written).toMatchObject([{ index: 3, epoch: 4 }]);
  });

  test.each([
    ["joined on later", { base: 9, baseEpoch: 3, last: 9, epochs: [] }],
    ["has forgotten what follows", { floor: 7, last: 9, epochs: [{ epoch: 3, first: 7 }] }],
    ["ends before", { last: 3, epochs: [{ epoch: 3, first: 1 }] }],
  ])("goes on from the state where the log %s", (_what, log) => {
    const rig = new Rig({ ...EMPTY, ...log, applied: 4, incomplete: true });
    rig.table({ ...record(5, "a", ["a"]), generation: 1 });
    expect(rig.calls).toEqual(["reset 4/3", "floor 5", "mark false"]);
    rig.sync();
    expect([rig.replica.isOpen, rig.replica.applied]).toEqual([true, 5]);
  });
});

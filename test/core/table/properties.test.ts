// What holds of the fold whatever the control log brings: commands that fit, stale ones, and repeated batches.

import fc from "fast-check";
import { describe, expect, test } from "vitest";

import { Table } from "../../../src/core/table/table.ts";
import type { Bucket, Command } from "../../../src/core/table/commands.ts";
import { registration } from "./fold.ts";

const NODES = ["a", "b", "c", "d", "e"];
const TYPES: readonly Command["type"][] = [
  "settings", "register", "register", "register", "depart", "depart", "depart", "drain", "addLearner", "addLearner", "dropLearner",
  "promote", "promote", "plan", "plan", "plan", "step", "step", "step", "handover", "handover", "retire", "retire", "cancel", "forceUnclean", "putKey", "putKey", "removeKey",
];

const PLANNED = new Set<Command["type"]>(["step", "handover", "retire", "cancel"]);

/** A handful of random choices; `command` below makes of them one that was decided on the table as it is, or (stale) nearly so. */
const choice = fc.record({
  type: fc.constantFrom(...TYPES),
  bucket: fc.nat(2),
  node: fc.constantFrom(...NODES),
  other: fc.constantFrom(...NODES),
  subset: fc.subarray(NODES),
  number: fc.nat(4),
  flag: fc.boolean(),
  unclean: fc.integer({ min: 0, max: 3 }).map((n) => n === 0),
  stale: fc.integer({ min: 0, max: 5 }).map((n) => (n === 0 ? 1 : 0)),
  repeat: fc.integer({ min: 0, max: 9 }).map((n) => n === 0),
});
type Choice = typeof choice extends fc.Arbitrary<infer T> ? T : never;

function command(table: Table, c: Choice): Command {
  const { node, other } = c;
  const planned = [...table.plans.keys()][0];
  const bucket = PLANNED.has(c.type) && planned !== undefined ? planned : c.bucket;
  const incarnation = (id: string): number => table.nodes.get(id)?.incarnation ?? 0;
  const record = table.bucket(bucket);
  const epoch = record.epoch - c.stale;
  const learner = record.learners[c.number % Math.max(1, record.learners.length)];
  const plan = table.plans.get(bucket);
  const series = (plan?.series ?? 0) - c.stale;
  const step = plan?.step ?? 0;
  const name = `key-${node}`;
  const digest = `${c.number}`.repeat(64);
  switch (c.type) {
    case "putKey":
      return { type: "putKey", key: { name, digest, role: c.flag ? "read" : "admin", devices: "", created: 1, expires: 0 } };
    case "removeKey":
      return { type: "removeKey", name, digest: c.stale ? digest : (table.keys.get(name)?.digest ?? digest) };
    case "begin":
      return { type: "begin", bucketCount: 7, copies: 1, minCopies: 1 };
    case "settings":
      return { type: "settings", settings: { copies: ([1, 3, 5] as const)[c.number % 3]!, minCopies: c.number } };
    case "register":
      return { ...registration(node, incarnation(node) - c.stale), clean: !c.unclean, store: c.number === 4 ? "fresh" : "same" };
    case "depart":
      return { type: "depart", node, incarnation: incarnation(node) - c.stale, by: other, byIncarnation: incarnation(other), alive: c.subset };
    case "drain":
      return { type: "drain", node, incarnation: incarnation(node) - c.stale, on: c.flag };
    case "addLearner":
      return { type: "addLearner", bucket, epoch, node, incarnation: incarnation(node), attempt: table.attempts + 1 - c.stale };
    case "dropLearner":
      return { type: "dropLearner", bucket, node: learner?.node ?? node, attempt: (learner?.attempt ?? 0) - c.stale };
    case "promote":
      return { type: "promote", bucket, epoch, node: learner?.node ?? node, attempt: learner?.attempt ?? 0, incarnation: learner?.incarnation ?? 0 };
    case "plan":
      return { type: "plan", plan: { series: table.planSeries + 1 - c.stale, step: 0, kind: "migrate", bucket, target: c.subset } };
    case "step":
      return { type: "step", bucket, series, step };
    case "handover":
      return { type: "handover", bucket, epoch, to: record.members[c.number % record.members.length]!.node, series, step };
    case "retire":
      return { type: "retire", bucket, epoch, nodes: c.subset, series, step };
    case "cancel":
      return { type: "cancel", bucket, series };
    case "forceUnclean":
      return { type: "forceUnclean", bucket, node, incarnation: incarnation(node) - c.stale };
  }
}

interface Batch {
  readonly id: string;
  readonly command: Command;
}

/** Folds the history and calls `check` after every batch with each bucket before and after it. */
function play(choices: readonly Choice[], check: (table: Table, batch: Batch, before: readonly Bucket[]) => void): Batch[] {
  const table = new Table();
  const batches: Batch[] = [];
  const apply = (batch: Batch): void => {
    const before = [...table.buckets];
    table.apply(batches.push(batch), batch.id, [batch.command]);
    check(table, batch, before);
  };
  for (const node of NODES.slice(0, 4)) apply({ id: `${node}.1.0`, command: { ...registration(node, 0), store: "same" } });
  apply({ id: "operator.0.1", command: { type: "begin", bucketCount: 3, copies: 3, minCopies: 1 } });
  for (const [at, c] of choices.entries()) {
    const batch = c.repeat ? batches[at % batches.length]! : { id: `operator.0.${at + 2}`, command: command(table, c) };
    apply(batch);
  }
  return batches;
}

const histories = fc.array(choice, { minLength: 1, maxLength: 120, size: "max" });
const RUNS = { numRuns: 300 };

describe("after every batch of every history", () => {
  test("members are never empty, never twice, the leader is one of them, and no learner is", () => {
    fc.assert(fc.property(histories, (choices) => {
      play(choices, (table) => {
        for (const { members, learners, leader } of table.buckets) {
          const nodes = members.map((member) => member.node);
          expect(nodes).toContain(leader);
          expect(new Set([...nodes, ...learners.map((learner) => learner.node)]).size).toBe(nodes.length + learners.length);
        }
      });
    }), RUNS);
  });

  test("epoch, generation and version never fall; the version rises by one where and only where the record changed", () => {
    fc.assert(fc.property(histories, (choices) => {
      play(choices, (table, batch, before) => {
        for (const old of before) {
          const now = table.bucket(old.id);
          expect(now.epoch).toBeGreaterThanOrEqual(old.epoch);
          expect(now.generation - old.generation).toBe(batch.command.type === "forceUnclean" && now !== old ? 1 : 0);
          expect(now.version - old.version).toBe(now === old ? 0 : 1);
          if (now !== old) expect({ ...now, version: 0 }).not.toEqual({ ...old, version: 0 });
        }
      });
    }), RUNS);
  });

  test("one (node, incarnation) at most leads an epoch (invariant 1)", () => {
    fc.assert(fc.property(histories, (choices) => {
      const leads = new Map<string, string>();
      play(choices, (table) => {
        for (const bucket of table.buckets) {
          if (bucket.state === "dark") continue;
          const { node, incarnation } = bucket.members.find((member) => member.node === bucket.leader)!;
          const key = `${bucket.id}/${bucket.epoch}`;
          expect(leads.get(key) ?? `${node}.${incarnation}`).toBe(`${node}.${incarnation}`);
          leads.set(key, `${node}.${incarnation}`);
        }
      });
    }), RUNS);
  });

  test("a live member is one at its node's incarnation, and so is a learner, which is live", () => {
    fc.assert(fc.property(histories, (choices) => {
      play(choices, (table) => {
        for (const { members, learners } of table.buckets) {
          for (const member of members) expect(member.incarnation).toBe(table.nodes.get(member.node)!.incarnation);
          for (const learner of learners) {
            expect(learner.incarnation).toBe(table.nodes.get(learner.node)!.incarnation);
            expect(table.isLive(learner.node)).toBe(true);
          }
        }
      });
    }), RUNS);
  });

  test("a node that departs leaves in each bucket a live member that its witness had read alive, or stays there", () => {
    fc.assert(fc.property(histories, (choices) => {
      play(choices, (table, { command: done }, before) => {
        if (done.type !== "depart") return;
        for (const old of before) {
          const now = table.bucket(old.id);
          if (now.members === old.members && now.leader === old.leader) continue;
          const survivors = now.members.filter(({ node }) => node !== done.node && done.alive.includes(node) && table.isLive(node));
          expect(survivors.length).toBeGreaterThan(0);
        }
      });
    }), RUNS);
  });

  test("dark begins only with an unclean return and ends only with a clean one or by force (invariant 10)", () => {
    fc.assert(fc.property(histories, (choices) => {
      play(choices, (table, { command: done }, before) => {
        for (const old of before) {
          const now = table.bucket(old.id);
          if (old.state === now.state) continue;
          if (now.state === "dark") expect(done.type).toBe("register");
          else expect(["register", "forceUnclean"]).toContain(done.type);
          expect(now.epoch).toBeGreaterThan(old.epoch);
        }
      });
    }), RUNS);
  });
});

test("folding the same log gives the same table, from the start or from any snapshot on the way (invariant 16)", () => {
  fc.assert(fc.property(histories, fc.nat(), (choices, at) => {
    let last = 0;
    const batches = play(choices, (table) => (last = table.digest()));
    const cut = at % (batches.length + 1);
    let table = new Table();
    for (const [index, { id, command: next }] of batches.entries()) {
      if (index === cut) table = Table.restore(index, table.snapshot());
      table.apply(index + 1, id, [next]);
    }
    expect(table.digest()).toBe(last);
  }), RUNS);
});

test("the histories reach what they are to test", () => {
  const reached = new Map<string, number>();
  const count = (what: string): void => void reached.set(what, (reached.get(what) ?? 0) + 1);
  fc.assert(fc.property(histories, (choices) => {
    play(choices, (table, { command: done }, before) => {
      for (const old of before) {
        const now = table.bucket(old.id);
        if (now === old) continue;
        count(done.type);
        if (now.state === "dark" && old.state !== "dark") count("dark");
        if (now.state === "on" && old.state === "dark" && done.type === "register") count("whole store returned");
        if (done.type === "depart" && now.leader !== old.leader) count("usurp");
        if (done.type === "depart" && now.members.length === old.members.length) count("stayed, departed");
      }
    });
  }), { numRuns: 400, seed: 1 });
  for (const what of [
    "register", "depart", "addLearner", "dropLearner", "promote", "handover", "retire", "forceUnclean",
    "dark", "whole store returned", "usurp", "stayed, departed",
  ]) {
    expect(reached.get(what) ?? 0, what).toBeGreaterThan(5);
  }
});

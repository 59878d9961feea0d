// Random histories of one bucket over three to five nodes: whatever is dropped, doubled, reordered, crashed and appointed, the invariants hold, and when the faults stop it heals.

import { describe, expect, test } from "vitest";
import { assert } from "../../../src/base/assert.ts";
import type { Entry } from "../../../src/core/entry.ts";
import { BUCKET, Cluster } from "./cluster.ts";

/** SEED=n runs that one alone. */
const SEEDS = 200;
const STEPS = 400;

function random(seed: number): (below: number) => number {
  let state = (seed + 1) * 0x9e3779b1;
  return (below) => {
    state = Math.imul(state ^ (state >>> 15), 0x2c1b3c6d);
    state = Math.imul(state ^ (state >>> 12), 0x297a2d39);
    state = (state ^ (state >>> 15)) + 0x6d2b79f5;
    return ((state >>> 0) % 1_000_003) % below;
  };
}

/** What was ever committed, by anyone. */
class Checker {
  readonly #committed = new Map<number, string>();
  readonly #cluster: Cluster;

  constructor(cluster: Cluster) {
    this.#cluster = cluster;
  }

  check(): void {
    const cluster = this.#cluster;
    const histories = new Map<number, number>();
    for (const id of cluster.running) {
      const { replica, machine } = cluster.process(id);
      assert(replica.applied <= replica.commit, "applied ≤ commit"); // invariant 7
      if (!replica.whole) continue;
      for (let index = replica.applied; index > replica.applied - 20; index -= 1) {
        const entry = replica.entry(index);
        if (entry !== undefined) this.#see(entry);
      }
      const other = histories.get(machine.applied);
      assert(other === undefined || machine.history === other, "equal applied index, equal state"); // invariant 17
      histories.set(machine.applied, machine.history);
    }
  }

  /** Invariant 3. */
  #see(entry: Entry): void {
    const text = `${entry.epoch} ${entry.kind} ${entry.time} ${entry.payload.join(",")}`;
    assert((this.#committed.get(entry.index) ?? text) === text, `entry ${entry.index} was committed as something else`);
    this.#committed.set(entry.index, text);
  }

  answered(id: string): void {
    const held = this.#cluster.disk(id).read(this.#cluster.replica(id).floor, Infinity, Infinity);
    const byIndex = new Map(held.map((entry) => [entry.index, entry]));
    for (const [index, amount] of this.#cluster.answered) {
      if (index >= this.#cluster.replica(id).floor) expect(byIndex.get(index)?.payload[1], `entry ${index} on ${id}`).toBe(amount); // invariant 5
    }
  }
}

function run(seed: number): { answered: number; epochs: number; attempts: number; snapshots: number } {
  const below = random(seed);
  const cluster = new Cluster();
  const checker = new Checker(cluster);
  const ids = ["a", "b", "c", "d", "e"].slice(0, 3 + below(3));
  const drops = below(3) * 5;
  const crashes = below(2);
  const pick = <T>(items: readonly T[]): T | undefined => items[below(Math.max(1, items.length))];
  cluster.begin(ids.slice(0, 3), 1 + below(2));
  for (const id of ids.slice(3)) cluster.start(id);

  for (let step = 0; step < STEPS; step += 1) {
    const id = pick(cluster.running);
    const dice = below(100);
    if (dice < 40 && cluster.network.length > 0) {
      const sent = cluster.take(below(Math.min(cluster.network.length, 6)));
      if (below(100) < 5) cluster.network.push(sent);
      if (below(100) >= drops) cluster.deliver(sent);
    } else if (dice < 60 && id !== undefined) {
      const leader = cluster.running.find((other) => cluster.replica(other).isOpen);
      if (leader !== undefined) cluster.add(leader, below(256));
      if (leader !== undefined && below(3) === 0) cluster.replica(leader).proposeFloor(cluster.replica(leader).applied - below(4), 0);
      if (leader !== undefined) cluster.flush(leader);
    } else if (dice < 75 && id !== undefined) {
      if (below(2) === 0) cluster.sync(id, cluster.disk(id).ticket - below(3));
      else cluster.serve(id);
    } else if (dice < 85) {
      cluster.now += below(60);
      if (id !== undefined) cluster.tick(id);
    } else if (dice < 88 && id !== undefined) {
      if (below(2) === 0) cluster.blind(id);
      else cluster.see(id);
    } else if (dice < 91) {
      cluster.decide();
    } else if (dice < 92 && id !== undefined) {
      cluster.checkpoint(id);
    } else if (dice < 93 && crashes > 0 && id !== undefined) {
      cluster.crash(id);
    } else if (dice < 96) {
      const down = pick(ids.filter((other) => !cluster.isRunning(other)));
      const isMember = cluster.table.bucket(BUCKET).members.some(({ node }) => node === down);
      if (down !== undefined && !isMember && below(2) === 0) cluster.wipe(down);
      if (down !== undefined) cluster.start(down);
    } else if (dice < 97 && id !== undefined) {
      const victim = pick(ids.filter((other) => other !== id))!;
      cluster.depart(victim, id);
      if (cluster.isRunning(victim)) cluster.crash(victim); // it would find itself departed and start anew
    } else if (id !== undefined) {
      cluster.addLearner(id);
    }
    if (cluster.network.length > 200) cluster.network.splice(0, 100);
    checker.check();
  }

  // The faults stop.
  for (const id of ids) {
    if (!cluster.isRunning(id)) cluster.start(id);
    cluster.see(id);
  }
  for (let round = 0; round < 60; round += 1) {
    if (round % 20 === 10) for (const id of ids) cluster.addLearner(id); // who is a member stays one
    cluster.pass(100);
    cluster.decide();
    checker.check();
  }
  const { leader, members, learners, epoch } = cluster.table.bucket(BUCKET);
  expect(members.map(({ node }) => node).sort(), "everyone is a member").toEqual(ids);
  expect(cluster.replica(leader).isOpen, "the leader is open").toBe(true);
  expect(learners, "every learner is promoted or dropped").toEqual([]);
  const index = cluster.add(leader, 7);
  cluster.pass(500);
  expect(cluster.answered.has(index)).toBe(true);
  for (const { node } of members) {
    expect(cluster.replica(node).applied).toBe(index);
    expect(cluster.replica(node).whole).toBe(true);
    checker.answered(node);
  }
  checker.check();
  return { answered: cluster.answered.size, epochs: epoch, attempts: cluster.table.attempts, snapshots: cluster.installs };
}

describe("random histories", () => {
  test("keep the invariants and heal", { timeout: 120_000 }, () => {
    const sum = { answered: 0, epochs: 0, attempts: 0, snapshots: 0 };
    const from = Number(process.env["SEED"] ?? 0);
    const seeds = process.env["SEED"] === undefined ? SEEDS : 1;
    for (let seed = from; seed < from + seeds; seed += 1) {
      try {
        const result = run(seed);
        for (const key of Object.keys(sum) as (keyof typeof sum)[]) sum[key] += result[key];
      } catch (error) {
        throw new Error(`seed ${seed}: ${(error as Error).message}`, { cause: error });
      }
    }
    // The histories were not empty.
    if (seeds === 1) return;
    expect(sum.answered).toBeGreaterThan(seeds * 20);
    expect(sum.epochs).toBeGreaterThan(seeds * 2);
    expect(sum.attempts).toBeGreaterThan(seeds);
    expect(sum.snapshots).toBeGreaterThan(seeds / 4);
  });
});

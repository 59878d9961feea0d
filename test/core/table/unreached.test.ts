// Nodes that the others do not reach, or that reach nobody: whom they accuse, and who accuses them (R6).

import { expect, test } from "vitest";

import { Cluster, alone } from "./cluster.ts";
import { begun } from "./fold.ts";

const THREE = ["a", "b", "c"];

/** Both ways between the node and each of these. */
const cutOff = (cluster: Cluster, node: string, others: readonly string[]): void => {
  for (const other of others) cluster.cuts.add(`${node}>${other}`).add(`${other}>${node}`);
};
const departed = (cluster: Cluster): string[] => [...cluster.fold.table.nodes.values()].filter(({ state }) => state === "departed").map(({ id }) => id);

test("a newcomer departs nobody, is given nothing, and is departed itself", () => {
  const cluster = new Cluster(begun(THREE, { bucketCount: 3 }), THREE);
  cluster.pass(1_000);
  cluster.fold.register("d");
  cluster.start("d");
  cutOff(cluster, "d", THREE);
  cluster.pass(10_000);
  expect(departed(cluster)).toEqual(["d"]);
  expect(cluster.proposed.filter(({ by, command }) => by === "d" || command.type !== "depart")).toEqual([]);
});

test("a member that comes back so departs nobody either, although it was there first", () => {
  for (const bad of THREE) {
    const fold = begun(THREE, { bucketCount: 3 });
    for (const node of [bad, ...THREE.filter((other) => other !== bad)]) fold.register(node);
    const cluster = new Cluster(fold, THREE);
    cutOff(cluster, bad, THREE.filter((node) => node !== bad));
    cluster.pass(10_000);
    expect(departed(cluster)).toEqual([bad]);
    expect(cluster.proposed.some(({ by }) => by === bad)).toBe(false);
  }
});

test("two newcomers that hear each other are no more than one", () => {
  const cluster = new Cluster(begun(["a", "b"], { bucketCount: 2, copies: 1 }), ["a", "b"]);
  cluster.pass(1_000);
  for (const node of ["c", "d"]) {
    cluster.fold.register(node);
    cluster.start(node);
    cutOff(cluster, node, ["a", "b"]);
  }
  cluster.pass(10_000);
  expect(departed(cluster)).toEqual(["c", "d"]);
});

test("one that is heard, and hears nobody, departs nobody", () => {
  const cluster = new Cluster(begun(THREE), THREE);
  cluster.cuts.add("b>a").add("c>a");
  cluster.pass(20_000);
  expect(cluster.proposals("depart")).toEqual([]);
});

test("one that hears the others, and that nobody hears, departs nobody", () => {
  const cluster = new Cluster(begun(THREE), THREE);
  cluster.cuts.add("a>b").add("a>c");
  cluster.pass(10_000);
  expect(departed(cluster)).toEqual(["a"]);
  expect(cluster.proposed.some(({ by }) => by === "a")).toBe(false);
});

test.each(THREE)("of two that never heard each other, the one that came later is departed: %s came back", (late) => {
  const cluster = new Cluster(begun(THREE), THREE);
  cluster.pass(1_000);
  const other = THREE.find((node) => node !== late)!;
  cluster.stop(late);
  cluster.fold.register(late);
  cluster.start(late);
  cutOff(cluster, late, [other]);
  cluster.pass(4_000);
  expect(departed(cluster)).toEqual([]);
  cluster.pass(3_000);
  expect(departed(cluster)).toEqual([late]);
});

test("of two nodes that are all, the one that came later is departed", () => {
  const cluster = new Cluster(begun(["a", "b"]), ["a", "b"]);
  cluster.pass(1_000);
  cluster.stop("a");
  cluster.fold.register("a");
  cluster.start("a");
  cutOff(cluster, "a", ["b"]);
  cluster.pass(2_000);
  expect(departed(cluster)).toEqual(["a"]);
});

test("a member that this node never heard is not slow", () => {
  const cluster = new Cluster(begun(THREE, { bucketCount: 3 }), THREE);
  cluster.cuts.add("b>a");
  cluster.heldBack.set("a", new Map([["b", 1_000_000]]));
  cluster.pass(1_500);
  expect(cluster.proposals("depart")).toEqual([]);
});

test("most of those that it hears suspect it: what it suspects counts for nothing", () => {
  const { it, ...rest } = alone("a", ["b", "c", "d"], { copies: 5 });
  let { now } = rest;
  for (const end = now + 2_000; now < end; now += 100) it.leases(rest.leases, now);
  it.heard("b", [], now);
  it.heard("c", ["a"], now);
  expect(it.suspects(now)).toEqual(["d"]);
  it.heard("b", ["a"], now);
  expect(it.suspects(now)).toEqual([]);
});

// What the coordinators of a cluster propose, and where that leads (R5, R6, R15, R18–R20, C1, C7).

import { describe, expect, test } from "vitest";

import { Coordinator } from "../../../src/core/table/coordinator.ts";
import type { Command } from "../../../src/core/table/commands.ts";
import { Proposals } from "../../../src/core/table/proposals.ts";
import { Cluster, SETTINGS, alone } from "./cluster.ts";
import { begun } from "./fold.ts";

const THREE = ["a", "b", "c"];

describe("R6: departures", () => {
  test("a quiet cluster proposes nothing", () => {
    const cluster = new Cluster(begun(THREE, { bucketCount: 3 }), THREE);
    cluster.pass(120_000);
    expect(cluster.proposed).toEqual([]);
  });

  test("a lease that is gone makes a Depart, naming those just read alive", () => {
    const cluster = new Cluster(begun(THREE, { bucketCount: 3 }), THREE);
    cluster.pass(2_000);
    cluster.stop("a");
    cluster.pass(100);
    expect(cluster.fold.table.nodes.get("a")!.state).toBe("departed");
    expect(cluster.proposals("depart")[0]).toMatchObject({ node: "a", incarnation: 1, byIncarnation: 1, alive: ["b", "c"] });
    expect(cluster.fold.bucket(0)).toMatchObject({ leader: "b", epoch: 2 });
  });

  test("a node that has just begun, or has just heard of a node, gives the leases time", () => {
    const fold = begun(THREE);
    const cluster = new Cluster(fold, ["b", "c"]);
    cluster.pass(400);
    expect(cluster.proposed).toEqual([]);
    cluster.pass(600);
    expect(fold.table.nodes.get("a")!.state).toBe("departed");
    fold.register("d");
    cluster.pass(400);
    expect(fold.table.nodes.get("d")!.state).toBe("live");
    cluster.pass(400);
    expect(fold.table.nodes.get("d")!.state).toBe("departed");
  });

  test("several peers' suspicion makes a Depart although the lease is held", () => {
    const cluster = new Cluster(begun(THREE), THREE);
    cluster.pass(1_000);
    cluster.cuts.add("a>b").add("a>c");
    cluster.pass(400);
    expect(cluster.fold.table.nodes.get("a")!.state).toBe("live");
    cluster.pass(400);
    expect(cluster.fold.table.nodes.get("a")!.state).toBe("departed");
    expect(cluster.proposals("depart").every(({ node, alive }) => node === "a" && !alive.includes("a"))).toBe(true);
  });

  test("one node's suspicion of three is not enough, until it has lasted long", () => {
    const cluster = new Cluster(begun(THREE), THREE);
    cluster.pass(1_000);
    cluster.cuts.add("a>b");
    cluster.pass(4_500);
    expect(cluster.proposals("depart")).toEqual([]);
    cluster.pass(1_000);
    expect(cluster.fold.table.nodes.get("a")!.state).toBe("departed");
  });

  test("a node that hears nobody departs nobody: it is the others who hear one another", () => {
    const cluster = new Cluster(begun(THREE), THREE);
    cluster.pass(1_000);
    for (const node of ["b", "c"]) cluster.cuts.add(`a>${node}`).add(`${node}>a`);
    cluster.pass(1_000);
    expect(cluster.fold.table.nodes.get("a")!.state).toBe("departed");
    expect(cluster.proposals("depart").every(({ node, by }) => node === "a" && by !== "a")).toBe(true);
  });

  test("a member that kept a leader waiting for too long departs, also one that is heard and holds its lease", () => {
    const cluster = new Cluster(begun(THREE, { bucketCount: 3 }), THREE);
    cluster.heldBack.set("a", new Map([["b", SETTINGS.slowForMs - 1]]));
    cluster.pass(1_000);
    expect(cluster.proposals("depart")).toEqual([]);
    cluster.heldBack.set("a", new Map([["b", SETTINGS.slowForMs]]));
    cluster.pass(100);
    expect(cluster.fold.table.nodes.get("b")!.state).toBe("departed");
    expect(cluster.governments().every((members) => members.length === 2 && !members.includes("b"))).toBe(true);
  });

  test("a slow member that is needed for minCopies stays, however slow", () => {
    const cluster = new Cluster(begun(["a", "b"], { minCopies: 2 }), ["a", "b"]);
    cluster.heldBack.set("a", new Map([["b", 1_000_000]]));
    cluster.pass(5_000);
    expect(cluster.proposed).toEqual([]);
  });

  test("nor does one whose departure would leave fewer live copies than minCopies", () => {
    const cluster = new Cluster(begun(THREE, { minCopies: 2 }), ["a", "b"]);
    cluster.pass(2_000);
    expect(cluster.fold.table.nodes.get("c")!.state).toBe("departed");
    cluster.heldBack.set("a", new Map([["b", 1_000_000]]));
    cluster.pass(5_000);
    expect(cluster.fold.table.nodes.get("b")!.state).toBe("live");
  });

  test("a member that is slow again soon after its return is given twice the time", () => {
    const cluster = new Cluster(begun(THREE, { bucketCount: 3 }), THREE);
    cluster.pass(SETTINGS.greetingMs);
    const slow = (ms: number): string => {
      cluster.heldBack.set("a", new Map([["b", ms]]));
      cluster.pass(200);
      cluster.heldBack.clear();
      return cluster.fold.table.nodes.get("b")!.state;
    };
    expect(slow(SETTINGS.slowForMs)).toBe("departed");
    cluster.stop("b");
    cluster.fold.register("b");
    cluster.start("b");
    expect(slow(2 * SETTINGS.slowForMs)).toBe("live"); // it has just begun
    cluster.pass(2_000);
    expect(slow(SETTINGS.slowForMs)).toBe("live");
    expect(slow(2 * SETTINGS.slowForMs)).toBe("departed");
  });

  test("an accusation from a node that is itself suspected is old news", () => {
    const { fold, it, ...rest } = alone("a", ["b", "c"]);
    let { now } = rest;
    it.heard("c", ["b"], now);
    for (const end = now + 2_000; now < end; now += 100) {
      it.leases(rest.leases, now);
      it.tick(now);
    }
    expect(it.suspects(now)).toEqual([]); // who hears nobody accuses nobody
    expect(rest.proposed).toEqual([]);
    it.heard("c", ["b"], now);
    it.tick(now);
    expect(it.suspects(now)).toEqual(["b"]);
    expect(rest.proposed).toMatchObject([{ type: "depart", node: "b" }]);
    expect(fold.table.nodes.get("b")!.state).toBe("live");
  });

  test("of two nodes, one's suspicion is enough, and the first word wins", () => {
    const cluster = new Cluster(begun(["a", "b"]), ["a", "b"]);
    cluster.pass(1_000);
    cluster.cuts.add("a>b").add("b>a");
    cluster.pass(1_000);
    const states = ["a", "b"].map((node) => cluster.fold.table.nodes.get(node)!.state);
    expect(states).toEqual(["live", "departed"]);
    expect(cluster.governments()).toEqual([["a"]]);
  });

  test("a node suspects nobody over a time in which its own loop stalled", () => {
    const coordinator = alone("b", ["a"]);
    coordinator.now += 10_000;
    coordinator.it.leases(coordinator.leases, coordinator.now - 100);
    coordinator.it.stalled(9_000, coordinator.now);
    expect(coordinator.it.suspects(coordinator.now)).toEqual([]);
    coordinator.now += 499;
    coordinator.it.leases(coordinator.leases, coordinator.now);
    expect(coordinator.it.suspects(coordinator.now)).toEqual([]);
    coordinator.now += 1;
    expect(coordinator.it.suspects(coordinator.now)).toEqual(["a"]);
  });

  test("short pauses of the own loop are in nobody's silence: what was said meanwhile waits in the sockets", () => {
    const coordinator = alone("b", ["a"]);
    coordinator.it.table(coordinator.fold.table, coordinator.now += SETTINGS.greetingMs);
    coordinator.it.leases(coordinator.leases, coordinator.now);
    coordinator.it.heard("a", [], coordinator.now);
    for (let pause = 0; pause < 8; pause += 1) coordinator.it.stalled(100, coordinator.now += 100);
    coordinator.it.leases(coordinator.leases, coordinator.now);
    expect(coordinator.it.suspects(coordinator.now)).toEqual([]);
    coordinator.it.stalled(20, coordinator.now += 499);
    expect(coordinator.it.suspects(coordinator.now)).toEqual([]);
    expect(coordinator.it.suspects(coordinator.now + 1)).toEqual(["a"]);
  });

  test("anything that comes is a sign of life", () => {
    const coordinator = alone("b", ["a"]);
    let now = coordinator.now + 10_000;
    coordinator.it.leases(coordinator.leases, now);
    coordinator.it.heard("a", [], now);
    coordinator.it.signOfLife("a", now += 400);
    coordinator.it.leases(coordinator.leases, now += 400);
    expect(coordinator.it.suspects(now)).toEqual([]);
    expect(coordinator.it.suspects(now + 500)).toEqual(["a"]);
  });

  test("a peer that was slow lately is given twice that silence, up to twice the usual, and less as time passes", () => {
    const coordinator = alone("b", ["a"]);
    let now = coordinator.now + 10_000;
    const silenceUntilSuspected = (): number => {
      const from = now;
      while (!coordinator.it.suspects(now).includes("a")) coordinator.it.leases(coordinator.leases, (now += 10));
      return now - from;
    };
    const heardAfter = (ms: number): void => {
      for (const end = now + ms; now < end; now += 10) coordinator.it.leases(coordinator.leases, now);
      coordinator.it.heard("a", [], now);
    };
    heardAfter(0);
    heardAfter(400);
    const slow = silenceUntilSuspected();
    expect(slow).toBeGreaterThan(700);
    expect(slow).toBeLessThan(800);
    coordinator.it.heard("a", [], now);
    for (let quiet = 0; quiet < 600; quiet += 1) heardAfter(100);
    expect(silenceUntilSuspected()).toBe(500);
    heardAfter(60_000);
    const longest = silenceUntilSuspected();
    expect(longest).toBeGreaterThan(900);
    expect(longest).toBeLessThanOrEqual(1_000);
  });

  test("an incarnation that comes back from a departure is at first suspected for a closed link only", () => {
    const coordinator = alone("b", ["a"]);
    let { now } = coordinator;
    coordinator.fold.depart("a", "b", ["b"]);
    coordinator.it.table(coordinator.fold.table, now);
    coordinator.fold.register("a");
    coordinator.it.table(coordinator.fold.table, now);
    coordinator.it.heard("a", [], now);
    coordinator.it.leases(coordinator.leases, now += 2 * SETTINGS.hintedMs);
    expect(coordinator.it.suspects(now)).toEqual([]);
    coordinator.it.linkLost("a");
    expect(coordinator.it.suspects(now)).toEqual(["a"]);
  });

  test("a node suspects nobody over a time in which its own lease was not renewed", () => {
    const coordinator = alone("b", ["a"]);
    coordinator.now += 400;
    coordinator.it.leases([{ node: "a", incarnation: 1 }], coordinator.now);
    coordinator.now += 200;
    expect(coordinator.it.suspects(coordinator.now)).toEqual([]);
    coordinator.it.leases(coordinator.leases, coordinator.now);
    expect(coordinator.it.suspects(coordinator.now)).toEqual([]);
    coordinator.now += 500;
    coordinator.it.leases(coordinator.leases, coordinator.now);
    expect(coordinator.it.suspects(coordinator.now)).toEqual(["a"]);
  });

  test("leases that were read a while ago depart nobody", () => {
    const coordinator = alone("b", ["a"]);
    coordinator.now += 1_001;
    coordinator.it.tick(coordinator.now);
    expect(coordinator.proposed).toEqual([]);
  });

  test("a suspect that departs again and again is damped: each time it takes twice the silence, until it has kept still", () => {
    const { fold, ...coordinator } = alone("b", ["a"]);
    let now = coordinator.now;
    const silenceUntilSuspected = (): number => {
      coordinator.it.heard("a", [], now);
      const from = now;
      while (!coordinator.it.suspects(now).includes("a")) coordinator.it.leases(coordinator.leases, (now += 50));
      return now - from;
    };
    const departAndReturn = (): void => {
      fold.depart("a", "b", ["b"]);
      coordinator.it.table(fold.table, now);
      fold.register("a");
      coordinator.it.table(fold.table, now);
    };
    expect(silenceUntilSuspected()).toBe(500);
    departAndReturn();
    expect(silenceUntilSuspected()).toBe(1_000);
    departAndReturn();
    expect(silenceUntilSuspected()).toBe(2_000);
    for (const end = now + SETTINGS.dampingMs; now < end; now += 100) {
      coordinator.it.leases(coordinator.leases, now);
      coordinator.it.heard("a", [], now);
    }
    expect(silenceUntilSuspected()).toBe(500);
  });

  test("a Depart that found no witness is proposed again when a member is alive", () => {
    const fold = begun(["a", "b", "c", "d"], { bucketCount: 4, minCopies: 2 });
    const cluster = new Cluster(fold, ["d"]);
    cluster.pass(2_000);
    expect(fold.table.nodes.get("a")!.state).toBe("departed");
    const orphan = fold.table.buckets.find(({ members }) => !members.some(({ node }) => node === "d"))!;
    expect(orphan.leader).toBe("b");
    expect(fold.members(orphan.id)).toEqual(["b", "c", "a"]);
    fold.register("c");
    cluster.start("c");
    cluster.pass(2_000);
    expect(fold.bucket(orphan.id).leader).not.toBe("b");
    expect(fold.members(orphan.id).toSorted()).toEqual(["c", "d"]);
  });

  test("a departed node, or an older incarnation of one, proposes nothing", () => {
    const fold = begun(THREE);
    const cluster = new Cluster(fold, ["a", "b"]);
    fold.depart("a", "b", ["b", "c"]);
    fold.register("b");
    cluster.pass(5_000);
    expect(cluster.proposed).toEqual([]);
  });
});

describe("R19: recovery", () => {
  test("lost copies come back on the neighbours, one bucket at a time, and buckets that lost none stay as they are", () => {
    const nodes = ["a", "b", "c", "d", "e"];
    const fold = begun(nodes, { bucketCount: 10 });
    const cluster = new Cluster(fold, nodes);
    cluster.pass(2_000);
    const versions = fold.table.buckets.map(({ version }) => version);
    const had = fold.table.buckets.filter(({ members }) => members.some(({ node }) => node === "e")).map(({ id }) => id);
    cluster.stop("e");
    cluster.pass(500);
    for (const government of cluster.governments()) {
      expect(government.length).toBe(3);
      expect(government).not.toContain("e");
    }
    expect(fold.table.plans.size).toBe(0);
    expect(cluster.proposals("plan").every(({ plan }) => plan.kind === "recover" && had.includes(plan.bucket))).toBe(true);
    for (const { id, version } of fold.table.buckets) {
      if (!had.includes(id)) expect(version).toBe(versions[id]);
    }
  });

  test("a departed member that had to stay makes room for the new one", () => {
    const fold = begun(["a", "b", "c"], { minCopies: 3 });
    fold.register("d");
    const cluster = new Cluster(fold, ["a", "b", "d"]);
    cluster.pass(2_000);
    expect(cluster.governments()).toEqual([["a", "b", "d"]]);
  });

  test("from one node to three: the copies come as the nodes come", () => {
    const fold = begun(["a"], { bucketCount: 4 });
    const cluster = new Cluster(fold, ["a"]);
    cluster.pass(2_000);
    expect(cluster.proposed).toEqual([]);
    for (const node of ["b", "c"]) {
      fold.register(node);
      cluster.start(node);
      cluster.pass(2_000);
    }
    for (const government of cluster.governments()) expect(government.toSorted()).toEqual(THREE);
  });

  test("power loss of all, and only some return: they depart the rest and serve (R20)", () => {
    const fold = begun(THREE, { bucketCount: 3, minCopies: 2 });
    for (const node of ["b", "c"]) fold.register(node);
    const cluster = new Cluster(fold, ["b", "c"]);
    cluster.pass(2_000);
    for (const [id, government] of cluster.governments().entries()) {
      expect(government.toSorted()).toEqual(["b", "c"]);
      expect(fold.table.leaderOf(id)).toBeDefined();
    }
  });

  test("a bucket that nobody leads is left as it is: dark, or its leader departed without a witness", () => {
    const fold = begun(["a", "b", "c"], { bucketCount: 2, copies: 1 });
    fold.run({ type: "settings", settings: { copies: 3, minCopies: 1 } });
    fold.register("a", { store: "fresh" });
    fold.depart("b", "a", ["a", "c"]);
    const cluster = new Cluster(fold, ["a", "c"]);
    cluster.pass(5_000);
    expect([fold.bucket(0).state, fold.bucket(1).leader]).toEqual(["dark", "b"]);
    expect(cluster.proposed).toEqual([]);
  });

  test("a learner of a plan that a departure cancelled is dropped, or taken into the next plan", () => {
    const fold = begun(["a", "b", "c", "d"], { copies: 1 });
    fold.run({ type: "addLearner", bucket: 0, epoch: 1, node: "c", incarnation: 1, attempt: 1 });
    const cluster = new Cluster(fold, ["a", "b", "d"]);
    cluster.pass(200);
    expect(fold.bucket().learners).toEqual([]);
    expect(cluster.proposals("dropLearner")).toEqual([{ type: "dropLearner", bucket: 0, node: "c", attempt: 1 }]);
  });
});

describe("R18: planned moves", () => {
  test("drain: every copy and lead leaves the node, by hand-over and not by departure", () => {
    const nodes = ["a", "b", "c", "d"];
    const fold = begun(nodes, { bucketCount: 8 });
    const cluster = new Cluster(fold, nodes);
    cluster.pass(2_000);
    fold.run({ type: "drain", node: "a", incarnation: 1, on: true });
    cluster.pass(2_000);
    for (const government of cluster.governments()) {
      expect(government.length).toBe(3);
      expect(government).not.toContain("a");
    }
    expect(cluster.proposals("depart")).toEqual([]);
    expect(cluster.proposals("handover").length).toBeGreaterThan(0);
    const kinds = cluster.proposals("plan").map(({ plan }) => plan.kind);
    expect(kinds.slice(0, 6)).toEqual(new Array(6).fill("drain"));
    expect(kinds.slice(6).every((kind) => kind === "migrate")).toBe(true);
  });

  test("copies: three to one and one to five, settable while running (B4)", () => {
    const nodes = ["a", "b", "c", "d", "e"];
    const fold = begun(nodes, { bucketCount: 5 });
    const cluster = new Cluster(fold, nodes);
    cluster.pass(2_000);
    const leaders = cluster.governments().map(([leader]) => leader);
    fold.run({ type: "settings", settings: { copies: 1, minCopies: 1 } });
    cluster.pass(2_000);
    expect(cluster.governments()).toEqual(leaders.map((leader) => [leader]));
    fold.run({ type: "settings", settings: { copies: 5, minCopies: 3 } });
    cluster.pass(2_000);
    for (const government of cluster.governments()) expect(government.toSorted()).toEqual(nodes);
  });

  test("a plan whose target is on its way out is cancelled and made anew (C4)", () => {
    const nodes = ["a", "b", "c", "d", "e"];
    const fold = begun(nodes, { copies: 1 });
    const cluster = new Cluster(fold, nodes);
    const series = fold.plan(["e"]);
    fold.run({ type: "drain", node: "e", incarnation: 1, on: true });
    cluster.pass(1_000);
    expect(cluster.proposals("cancel")).toEqual([{ type: "cancel", bucket: 0, series }]);
    expect(fold.table.plans.size).toBe(0);
    expect(cluster.governments()).toEqual([["a"]]);
  });

  test("a plan whose new leader lost its copy is cancelled", () => {
    const fold = begun(THREE);
    const cluster = new Cluster(fold, THREE);
    const series = fold.plan(["b", "a", "c"]);
    fold.run({ type: "step", bucket: 0, series, step: 0 });
    fold.register("b", { clean: false });
    cluster.start("b");
    cluster.pass(2_000);
    expect(cluster.proposals("cancel")).toEqual([{ type: "cancel", bucket: 0, series }]);
    expect(cluster.governments()[0]!.toSorted()).toEqual(THREE);
  });

  test("whoever comes next takes a plan up where the last one stopped (R10, C10)", () => {
    const fold = begun(["a", "b", "c", "d"], { copies: 1 });
    const series = fold.plan(["d"]);
    fold.join("d");
    const cluster = new Cluster(fold, ["a", "b", "c", "d"]);
    cluster.pass(100);
    expect(cluster.proposed.slice(0, 2).map(({ by, command }) => [by, command])).toEqual([
      ["a", { type: "step", bucket: 0, series, step: 0 }],
      ["a", { type: "handover", bucket: 0, epoch: 1, to: "d", series, step: 1 }],
    ]);
    expect(cluster.governments()).toEqual([["d"]]);
  });

  test("rebalance after an arrival: copies and leads even out, slowly, and then rest (C1, C7)", () => {
    const fold = begun(THREE, { bucketCount: 12 });
    const cluster = new Cluster(fold, THREE);
    cluster.pass(2_000);
    fold.register("d");
    cluster.start("d");
    cluster.pass(3_000);
    expect(cluster.proposals("plan").length).toBeLessThanOrEqual(4);
    cluster.pass(60_000);
    const copies = ["a", "b", "c", "d"].map((node) => cluster.governments().filter((government) => government.includes(node)).length);
    const leads = ["a", "b", "c", "d"].map((node) => cluster.governments().filter(([leader]) => leader === node).length);
    expect(copies).toEqual([9, 9, 9, 9]);
    expect(Math.max(...leads) - Math.min(...leads)).toBeLessThanOrEqual(1);
    const made = cluster.proposed.length;
    cluster.pass(60_000);
    expect(cluster.proposed.length).toBe(made);
  });

  test("rebalance keeps the copies in as many zones", () => {
    const fold = begun([]);
    for (const [node, zone] of [["a", "x"], ["b", "y"], ["c", "z"]] as const) fold.register(node, { zone });
    fold.run({ type: "begin", bucketCount: 6, copies: 3, minCopies: 1 });
    fold.register("d", { zone: "x" });
    const cluster = new Cluster(fold, ["a", "b", "c", "d"]);
    cluster.pass(60_000);
    const zoneOf = (node: string): string => fold.table.nodes.get(node)!.zone;
    for (const government of cluster.governments()) expect(new Set(government.map(zoneOf)).size).toBe(3);
    expect(cluster.governments().filter((government) => government.includes("d")).length).toBe(3);
  });
});

describe("proposals", () => {
  test("one bucket at a time: while a plan runs no other begins (R18)", () => {
    const { fold, proposed, it, now } = alone("a", ["b", "c"], { bucketCount: 3, copies: 1 });
    fold.run({ type: "settings", settings: { copies: 3, minCopies: 1 } });
    for (const peer of ["b", "c"]) it.heard(peer, [], now);
    it.table(fold.table, now);
    expect(proposed.map(({ type }) => type)).toEqual(["plan"]);
    fold.run(proposed[0]!);
    it.table(fold.table, now);
    it.tick(now);
    expect(proposed.map(({ type }) => type)).toEqual(["plan", "addLearner"]);
    fold.run(proposed[1]!);
    it.table(fold.table, now);
    fold.run(proposed[2]!);
    it.table(fold.table, now);
    it.tick(now);
    expect(proposed.slice(2)).toMatchObject([{ type: "addLearner", node: "c" }]);
  });

  test("so many buckets at once as the settings say, and the next when one is done (R18)", () => {
    const fold = begun(["a", "b"], { bucketCount: 9, copies: 1 });
    fold.run({ type: "settings", settings: { copies: 3, minCopies: 1 } });
    let most = 0;
    const queue: Command[] = [];
    const it = new Coordinator("a", 1, { ...SETTINGS, plansAtOnce: 4 }, { propose: (command) => void queue.push(command) });
    const leases = ["a", "b"].map((node) => ({ node, incarnation: 1 }));
    let now = 1_000_000;
    it.leases(leases, now);
    it.table(fold.table, now);
    const isDone = (): boolean => fold.table.buckets.every(({ members }) => members.length === 2) && fold.table.plans.size === 0;
    for (let turns = 0; !isDone() && turns < 1_000; turns += 1) {
      for (const command of queue.splice(0)) fold.run(command);
      most = Math.max(most, fold.table.plans.size);
      it.leases(leases, (now += 20));
      it.heard("b", [], now);
      it.table(fold.table, now);
      if (turns % 10 !== 9) continue; // copies take their time
      for (const { id, epoch, learners } of fold.table.buckets) for (const { node, attempt, incarnation } of learners) fold.run({ type: "promote", bucket: id, epoch, node, attempt, incarnation });
      for (const { bucket, series, step } of fold.table.plans.values()) if (step === 2) fold.run({ type: "retire", bucket, epoch: fold.bucket(bucket).epoch, nodes: [], series, step });
    }
    expect(isDone()).toBe(true);
    expect(most).toBe(4);
  });

  test("what was not wanted for a round is made at once when it is wanted again", () => {
    const made: number[] = [];
    let now = 0;
    const proposals = new Proposals({ propose: () => void made.push(now) }, 100);
    const command: Command = { type: "cancel", bucket: 0, series: 1 };
    for (const isWanted of [true, true, false, true]) {
      if (isWanted) proposals.propose("key", command, now);
      proposals.endRound();
      now += 10;
    }
    expect(made).toEqual([0, 30]);
  });

  test("one that has no effect is made again ever more slowly, and a new one at once", () => {
    const { it, proposed, leases, ...rest } = alone("a", ["b"], { copies: 3 });
    let now = rest.now;
    const without = leases.filter(({ node }) => node === "a");
    for (const end = now + 20_000; now < end; now += 100) {
      it.leases(without, now);
      it.tick(now);
    }
    expect(proposed.length).toBeGreaterThan(4);
    expect(proposed.length).toBeLessThan(9);
    expect(new Set(proposed.map((command) => JSON.stringify(command))).size).toBe(1);
  });

  test("the same events make the same proposals", () => {
    const run = (): string => {
      const nodes = ["a", "b", "c", "d", "e"];
      const cluster = new Cluster(begun(nodes, { bucketCount: 7 }), nodes);
      cluster.pass(1_000);
      cluster.stop("c");
      cluster.pass(1_000);
      cluster.fold.run({ type: "drain", node: "a", incarnation: 1, on: true });
      cluster.pass(5_000);
      return JSON.stringify(cluster.proposed);
    };
    expect(run()).toBe(run());
  });
});

// Runs one case from start to rest, and says what became of it.

import { BrokenInvariant } from "../../src/base/assert.ts";
import { Cluster, type StartHost } from "./cluster.ts";
import type { Case } from "./profile.ts";
import { Violation, check } from "./world.ts";

/** A program for the cluster's nodes together with the work it is given. */
export interface Application {
  readonly start: StartHost;
  /** Begins the cluster's work; called once, before anything has run. */
  work(cluster: Cluster): void;
  /** No more new work. */
  stop(): void;
  /** What is still unanswered, or undefined. */
  unfinished(): string | undefined;
  /** Checks what can only be checked at rest. */
  finish(): void;
}

export interface Outcome {
  readonly seed: number;
  readonly events: number;
  readonly hash: number;
  readonly answers: number;
  readonly failure: { readonly invariant: string; readonly message: string; readonly atMs: number; readonly stack: string } | undefined;
}

/** Simulated milliseconds within which everything must come to rest once faults have stopped. */
const REST_MS = 60_000;
const MAX_EVENTS = 400_000;

export function runCase(drawn: Case, application: Application, trace?: (line: string) => void): Outcome {
  const cluster = new Cluster(drawn, application.start, trace);
  const { world, checker } = cluster;
  let failure: Outcome["failure"];
  try {
    application.work(cluster);
    cluster.startAll();
    world.runUntil(drawn.durationMs * 1000, MAX_EVENTS);
    world.note("", "QUIET", "faults stop");
    application.stop();
    cluster.heal();
    comeToRest(cluster, application);
    checker.finish();
    application.finish();
    checkReturned(cluster);
  } catch (error) {
    if (!(error instanceof Error)) throw error;
    const invariant = error instanceof Violation ? error.invariant : error instanceof BrokenInvariant ? "assertion" : "exception";
    failure = { invariant, message: error.message, atMs: Math.round(world.now / 1000), stack: error.stack ?? "" };
    world.note("", "FAILURE", error.message);
  }
  return { seed: drawn.seed, events: world.events, hash: world.hash >>> 0, answers: checker.answers, failure };
}

/** Invariant 19: governments lead, plans end, backlogs drain, every request is answered. */
function comeToRest(cluster: Cluster, application: Application): void {
  const { world } = cluster;
  const deadline = world.now + REST_MS * 1000;
  const why = (): string | undefined => application.unfinished() ?? restlessTable(cluster) ?? restlessHosts(cluster);
  let reason = why();
  while (reason !== undefined) {
    check(world.now < deadline, "19 (no rest)", () => `${REST_MS / 1000} s after faults stopped: ${reason!}`);
    acceptLoss(cluster);
    world.runUntil(world.now + 30_000, MAX_EVENTS);
    reason = why();
  }
}

/** What a directed case says of its nodes. */
function checkReturned({ case: { returned }, sites, control }: Cluster): void {
  for (const [i, expected] of (returned ?? []).entries()) {
    const { name } = sites[i]!;
    check((control.truth.nodes.get(name)!.incarnation > 1) === expected, "directed case", () => `${name} ${expected ? "never came back" : "had to come back"}`);
  }
}

function restlessTable(cluster: Cluster): string | undefined {
  const table = cluster.control.truth;
  if (table.buckets.length !== cluster.case.buckets) return "the table is not made";
  if (table.plans.size > 0) return `plan ${JSON.stringify([...table.plans.values()][0])}`;
  // Copies are placed on live nodes that are not on their way out, where there are enough of them to take writes.
  const placeable = [...table.nodes.values()].filter((node) => node.state === "live").length;
  const nodes = [...table.nodes.values()].map(({ id, incarnation, state }) => `${id}.${incarnation} ${state}`).join(", ");
  for (const bucket of table.buckets) {
    const reason = `bucket ${bucket.id}: ${JSON.stringify(bucket)}; ${nodes}`;
    if (bucket.state !== "on" || !table.isLive(bucket.leader) || bucket.learners.length > 0) return reason;
    if (bucket.members.some((member) => !table.isLive(member.node))) return reason;
    if (placeable >= table.settings.minCopies && bucket.members.length !== Math.min(table.settings.copies, placeable)) return reason;
  }
  return undefined;
}

function restlessHosts(cluster: Cluster): string | undefined {
  for (const site of cluster.sites) {
    if (!site.arrived) continue;
    const reason = site.host === undefined ? "does not run" : site.host.restless();
    if (reason !== undefined) return `${site.name}: ${reason}`;
  }
  return undefined;
}

/** The operator's word for a bucket whose whole copies are all gone (R9): every store that will return has returned. */
function acceptLoss(cluster: Cluster): void {
  const table = cluster.control.truth;
  if (cluster.sites.some((site) => site.arrived && !table.isLive(site.name))) return;
  for (const bucket of table.buckets) {
    if (bucket.state !== "dark") continue;
    const node = table.nodes.get(bucket.leader)!;
    cluster.operate([{ type: "forceUnclean", bucket: bucket.id, node: node.id, incarnation: node.incarnation }]);
  }
}

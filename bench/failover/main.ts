// The gap in acknowledgements when a node or a member of etcd is killed or frozen, as a device and an HTTP publisher see it; and fail-overs under full load that nobody provoked.
// `npm run bench:failover -- --rounds 10 --only leader-killed,leader-frozen`

import { loadavg } from "node:os";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { setTimeout as sleep } from "node:timers/promises";
import { Check } from "../../src/check/run.ts";
import { Cluster, type ClusterNode } from "../cluster.ts";
import { observeDevice, observeHttp } from "./observers.ts";

/** So long the worst gap is looked for, before the fault and after it: as long each, so that what a loaded machine does by itself shows in the one before. Milliseconds. */
const BEFORE_MS = 4000;
const AFTER_MS = 4000;
const LONGEST_MS = 60_000;
const WHOLE_MS = 120_000;
const LOADED_SECONDS = 30;
/** A node that was departed is suspected later the next time (damping): it rests until that has passed, so that every round measures a first fault. */
const REST_MS = 61_000;

interface Target {
  /** A device of the bucket that is looked at. */
  readonly device: string;
  readonly leader: ClusterNode;
  readonly follower: ClusterNode;
  /** The third one, neither killed nor frozen: the observers' node. */
  readonly other: ClusterNode;
}

interface Scenario {
  readonly what: string;
  /** Milliseconds that are asked for on a quiet machine; the median is held against it. */
  readonly asked: number | "no gap";
  readonly victim: "leader" | "follower" | "etcd";
  /** Answers what undoes it. */
  readonly harm: (cluster: Cluster, target: Target) => Promise<() => Promise<void>>;
}

const SCENARIOS: Record<string, Scenario> = {
  "leader-killed": { what: "leader, kill -9", victim: "leader", asked: 400, harm: (_, { leader }) => killed(leader) },
  "leader-frozen": { what: "leader frozen", victim: "leader", asked: 1200, harm: (_, { leader }) => frozen(leader) },
  "follower-killed": { what: "follower, kill -9", victim: "follower", asked: 1000, harm: (_, { follower }) => killed(follower) },
  "follower-frozen": { what: "follower frozen", victim: "follower", asked: 1200, harm: (_, { follower }) => frozen(follower) },
  "etcd-killed": {
    what: "etcd's leader, kill -9",
    victim: "etcd",
    asked: "no gap",
    harm: async (cluster) => {
      const server = (await cluster.etcdLeader())!;
      await server.kill();
      return () => server.restart();
    },
  },
  "etcd-frozen": {
    what: "etcd's leader frozen",
    victim: "etcd",
    asked: "no gap",
    harm: async (cluster) => {
      const { pid } = (await cluster.etcdLeader())!;
      process.kill(pid, "SIGSTOP");
      return async () => void process.kill(pid, "SIGCONT");
    },
  },
};

async function killed(node: ClusterNode): Promise<() => Promise<void>> {
  await node.stop();
  return async () => node.start();
}

async function frozen(node: ClusterNode): Promise<() => Promise<void>> {
  node.freeze();
  return async () => node.thaw();
}

/** Of one round, in milliseconds: the longest gaps in the seconds before, and from the fault on. */
interface Round {
  readonly device: number;
  readonly http: number;
  readonly before: number;
}

async function round(cluster: Cluster, name: string, scenario: Scenario): Promise<Round> {
  const target = await targetOf(cluster, name, scenario);
  const [device, http] = [observeDevice(target.device, target.other.device), observeHttp(`${target.device}`, target.other.http)];
  try {
    await flowing(() => Math.min(device.gap.answers, http.gap.answers), 20);
    for (const { gap } of [device, http]) gap.reset();
    await sleep(BEFORE_MS);
    const before = Math.max(device.gap.longest, http.gap.longest);
    for (const { gap } of [device, http]) gap.reset();
    const counts = [device.gap.answers, http.gap.answers] as const;
    const undo = await scenario.harm(cluster, target);
    await sleep(AFTER_MS);
    await flowing(() => Math.min(device.gap.answers - counts[0], http.gap.answers - counts[1]), 5);
    const found = { device: device.gap.longest, http: http.gap.longest, before };
    await undo();
    await cluster.whole(WHOLE_MS);
    return found;
  } finally {
    await Promise.all([device.stop(), http.stop()]);
  }
}

/** When each node was last killed or frozen. */
const harmed = new Map<string, number>();

/** A device of its own for each round, and who leads and follows its bucket; its victim has rested. */
async function targetOf(cluster: Cluster, name: string, { victim }: Scenario): Promise<Target> {
  for (let tries = 0; ; tries += 1) {
    const device = `${name}-${Date.now().toString(36)}`;
    await fetch(`http://${cluster.nodes[0]!.http}/v1/devices/${device}/messages`, { method: "POST", body: "first", headers: { "content-type": "text/plain" }, signal: AbortSignal.timeout(LONGEST_MS) });
    const { leader: leading, members } = (await explained(cluster.nodes[0]!, device)) as { leader: string; members: string[] };
    const leader = cluster.nodes.find(({ id }) => id === leading)!;
    const [follower, other] = cluster.nodes.filter(({ id }) => id !== leading && members.includes(id)).sort((a, b) => harmedAt(a) - harmedAt(b)) as [ClusterNode, ClusterNode];
    const target = { device, leader, follower, other };
    if (victim === "etcd") return target;
    if (performance.now() - harmedAt(target[victim]) > REST_MS) {
      harmed.set(target[victim].id, performance.now());
      return target;
    }
    await sleep(tries < 20 ? 20 : 1000);
  }
}

function harmedAt({ id }: ClusterNode): number {
  return harmed.get(id) ?? -Infinity;
}

async function explained(node: ClusterNode, device: string): Promise<unknown> {
  const deadline = performance.now() + LONGEST_MS;
  for (;;) {
    const explanation = await node.get(`/v1/devices/${device}/explain`);
    if (explanation !== undefined) return explanation;
    if (performance.now() > deadline) throw new Error(`${node.id} does not know ${device}`);
    await sleep(20);
  }
}

async function flowing(answers: () => number, least: number): Promise<void> {
  const deadline = performance.now() + LONGEST_MS;
  while (answers() < least) {
    if (performance.now() > deadline) throw new Error(`No answers came within ${LONGEST_MS / 1000} s.`);
    await sleep(2);
  }
}

/** Fail-overs that nobody provoked, while devices publish as fast as they are answered. */
async function underFullLoad(cluster: Cluster): Promise<string> {
  const before = await departures(cluster);
  const check = await Check.start({
    at: cluster.nodes.map(({ http }) => http), run: `load-${Date.now().toString(36)}`, devices: 30, inFlight: 64, publishers: 4, rate: 1e6,
    ask: (at, { path, ...request }, signal) => fetch(`http://${at}${path}`, { ...request, signal }), tokenOf: () => undefined, tls: undefined,
  });
  await sleep(LOADED_SECONDS * 1000);
  const { perSecond, violationCount, longestPauseMs } = await check.finish();
  const departed = (await departures(cluster)) - before;
  return `${departed} nodes were departed by mistake in ${LOADED_SECONDS} s under full load: ${Math.round(perSecond)} answers a second, longest pause ${Math.round(longestPauseMs)} ms, ${violationCount} violations`;
}

/** Departures in the control log so far. */
async function departures(cluster: Cluster): Promise<number> {
  let count = 0;
  for (let after = "0"; ; ) {
    const page = (await cluster.nodes[0]!.get(`/v1/control-log?after=${after}&limit=1000`)) as { entries: { commands: { type: string }[] }[]; next: string } | undefined;
    if (page === undefined) throw new Error("The control log cannot be read.");
    count += page.entries.flatMap(({ commands }) => commands).filter(({ type }) => type === "depart").length;
    if (page.entries.length === 0 || page.next === after) return count;
    after = page.next;
  }
}

function spread(values: readonly number[]): string {
  const sorted = values.toSorted((a, b) => a - b);
  const [least, middle, most] = [0, Math.floor(sorted.length / 2), sorted.length - 1].map((place) => Math.round(sorted[place]!));
  return `${middle} (${least}–${most})`;
}

const { values } = parseArgs({ options: { rounds: { type: "string", default: "5" }, only: { type: "string", default: [...Object.keys(SCENARIOS), "load"].join(",") } } });
const say = (line: string): void => void process.stdout.write(`${line}\n`);
const program = fileURLToPath(new URL(import.meta.url.endsWith(".ts") ? "../../bin/bellhop.js" : "../../../bin/bellhop.js", import.meta.url));
say(`Three nodes over three members of etcd, 8 buckets; ${values.rounds} rounds; load of the machine ${loadavg()[0]!.toFixed(1)} before.\n`);
const cluster = await Cluster.start({ nodes: 3, etcds: 3, buckets: 8, program });
try {
  say("| what happens | device: gap in ms, median (least–greatest) | HTTP publisher | either, before the fault | asked | load |");
  say("|---|---|---|---|---|---|");
  for (const name of values.only.split(",")) {
    const scenario = SCENARIOS[name];
    if (scenario === undefined) continue;
    const rounds: Round[] = [];
    while (rounds.length < Number(values.rounds)) rounds.push(await round(cluster, name, scenario));
    const columns = [rounds.map(({ device }) => device), rounds.map(({ http }) => http), rounds.map(({ before }) => before)].map(spread);
    say(`| ${scenario.what} | ${columns.join(" | ")} | ${scenario.asked} | ${loadavg()[0]!.toFixed(1)} |`);
  }
  if (values.only.split(",").includes("load")) say(`\n${await underFullLoad(cluster)}`);
} finally {
  await cluster.stop();
}

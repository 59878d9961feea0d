// Fault runs on real processes and a real etcd, under the load of the history checker: `npm run faults -- --rounds 20 --seed 7 --fault kill,freeze`.

import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { setTimeout as sleep } from "node:timers/promises";
import { Cluster } from "../../bench/cluster.ts";
import { Prng } from "../../src/base/prng.ts";
import type { Ask } from "../../src/check/nodes.ts";
import { Check, type CheckReport } from "../../src/check/run.ts";
import { ROOT } from "../cli/command.ts";
import { FAULT_NAMES, FAULTS, type FaultName } from "./faults-list.ts";
import { LinkProxies } from "./proxy.ts";

/** After a fault the cluster has all its copies again in this time, in milliseconds. */
const WHOLE_MS = 90_000;
/** Once it is whole, answers come within this time. */
const ANSWER_MS = 20_000;
/** Answers a second, faults included, below which a run fails. */
export const LEAST_PER_SECOND = 20;

export interface FaultRun {
  readonly seed: number;
  /** One for each round, in order. */
  readonly faults: readonly FaultName[];
  /** bin/bellhop.js of another build than this one. */
  readonly program?: string;
  readonly progress: (line: string) => void;
  /** Ends the run at the first violation: for builds that are known to be broken. */
  readonly untilFirst?: boolean;
}

export async function runFaults({ seed, faults, program, progress, untilFirst = false }: FaultRun): Promise<CheckReport> {
  const random = new Prng(seed);
  const proxies = new LinkProxies(["n1", "n2", "n3"]);
  const cluster = await Cluster.start({ nodes: 3, etcds: 3, buckets: 8, program: program ?? join(ROOT, "bin/bellhop.js"), advertise: (node, listens) => proxies.inFrontOf(node, listens) });
  try {
    const check = await Check.start({
      at: cluster.nodes.map(({ http }) => http), run: `faults-${seed}`, devices: 12, inFlight: 32, publishers: 6, rate: 1000, ask, tokenOf: () => undefined, tls: undefined,
    });
    const { history } = check;
    for (const [round, fault] of faults.entries()) {
      const details: string[] = [];
      const before = history.answers;
      const began = performance.now();
      try {
        await answers(() => history.answers, before);
        await FAULTS[fault]({ cluster, proxies, random, tell: (what) => void details.push(what) });
        await cluster.whole(WHOLE_MS);
        await answers(() => history.answers, history.answers);
      } catch (error) {
        history.violated(`round ${round + 1}, ${fault} ${details.join("; ")}: ${(error as Error).message}`);
      }
      const seconds = (performance.now() - began) / 1000;
      progress(`round ${round + 1}: ${fault} ${details.join("; ")}: ${seconds.toFixed(1)} s, ${history.answers - before} answers, longest pause so far ${(history.longestPauseMs / 1000).toFixed(2)} s, ${history.violationCount} violations`);
      if (untilFirst && history.violationCount > 0) break;
      if (cluster.nodes.some(({ isRunning }) => !isRunning)) break; // told already
    }
    const report = await check.finish();
    if (report.perSecond < LEAST_PER_SECOND) return { ...report, violationCount: report.violationCount + 1, violations: [...report.violations, `${report.perSecond.toFixed(1)} answers a second are fewer than ${LEAST_PER_SECOND}`] };
    return report;
  } finally {
    if (process.env["FAULTS_SAID"] !== undefined) for (const node of cluster.nodes) progress(`── ${node.id}\n${node.said}`);
    await cluster.stop();
    await proxies.close();
  }
}

/** Waits until more than `before` answers have come. */
async function answers(count: () => number, before: number): Promise<void> {
  const deadline = performance.now() + ANSWER_MS;
  while (count() <= before) {
    if (performance.now() > deadline) throw new Error(`no answer came in ${ANSWER_MS / 1000} s although the cluster is whole`);
    await sleep(20);
  }
}

const ask: Ask = (at, { path, ...request }, signal) => fetch(`http://${at}${path}`, { ...request, signal });

/** The faults of so many rounds: each of them in turn, in an order drawn anew for each turn. */
function drawn(rounds: number, among: readonly FaultName[], random: Prng): FaultName[] {
  const order: FaultName[] = [];
  while (order.length < rounds) {
    const left = [...among];
    while (left.length > 0) order.push(...left.splice(random.below(left.length), 1));
  }
  return order.slice(0, rounds);
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const { values } = parseArgs({ options: { rounds: { type: "string", default: String(FAULT_NAMES.length) }, seed: { type: "string", default: String(Date.now() % 1e6) }, fault: { type: "string", default: FAULT_NAMES.join(",") } } });
  const names = values.fault.split(",");
  const unknown = names.filter((name) => !FAULT_NAMES.includes(name as FaultName));
  if (unknown.length > 0) throw new Error(`No fault is called ${unknown.join(", ")}; there are ${FAULT_NAMES.join(", ")}.`);
  const seed = Number(values.seed);
  const say = (line: string): void => void process.stdout.write(`${line}\n`);
  say(`seed ${seed}`);
  const report = await runFaults({ seed, faults: drawn(Number(values.rounds), names as FaultName[], new Prng(seed)), progress: say });
  for (const violation of report.violations) say(`VIOLATION ${violation}`);
  const { answered, entries, perSecond, copies, violationCount } = report;
  say(`${answered.devices} answers to devices and ${answered.publishers} to HTTP publishers, ${perSecond.toFixed(0)} a second, held against ${entries} entries on every node, ${copies} copies compared: ${violationCount} violations`);
  process.exitCode = violationCount === 0 ? 0 : 1;
}

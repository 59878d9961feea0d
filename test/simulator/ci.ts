// `npm run sim:ci` and `npm run sim:nightly`: every mutant within its budget of seeds, fresh seeds within a time, branches counted; one table of figures.

import { readFileSync } from "node:fs";
import { availableParallelism } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { ROOT } from "./bundle.ts";
import type { BranchCount } from "./coverage.ts";
import { MUTANTS } from "./mutants/index.ts";
import { OPEN } from "./mutants/open.ts";
import { Pool, inParallel, type WorkerResult } from "./pool.ts";

const { values: options } = parseArgs({
  options: {
    /** Minutes for fresh seeds. */
    minutes: { type: "string", default: "4" },
    /** At most so many fresh seeds and events. */
    seeds: { type: "string", default: "100000" },
    events: { type: "string", default: "Infinity" },
    /** First fresh seed; by default it differs from day to day. */
    from: { type: "string", default: String(Math.floor(Date.now() / 86_400_000) * 1_000_000) },
    width: { type: "string", default: String(Math.min(2, availableParallelism())) },
    /** Only mutants whose name or file contains one of these, with commas between; "none" for none. */
    mutants: { type: "string", default: "" },
    /** Multiplies each mutant's budget; seconds of computing that one may take. */
    budget: { type: "string", default: "1" },
    "mutant-seconds": { type: "string", default: "40" },
    /** Share of fresh seeds that may fail: a rare finding is printed and does not stop a change that has nothing to do with it; a broken core fails far more. */
    tolerate: { type: "string", default: "0" },
    /** Fails where a branch of the protocol was never taken. */
    branches: { type: "boolean", default: false },
  },
});

/** Seeds that every mutant runs on: fixed, so that the counts in the table can be compared. */
const MUTANT_SEEDS_FROM = 1;
/** Milliseconds for all mutants: what has not run its budget of seeds by then is named as unfinished, and is no survivor: a slow machine fails no run. */
const MUTANTS_WITHIN_MS = 480_000;
/** Fresh seeds that may fail in any case where a share is tolerated: few seeds say little about a share. */
const FEW = 2;
/** Fresh seeds that a worker runs at a time. */
const CHUNK = 50;

/** Branches that no run has reached yet, `file<TAB>text` on a line: what must never happen, and what the simulated work does not ask for. */
const NEVER_REACHED = join(ROOT, "test/simulator/never-reached.txt");
const mutantCpuMs = Number(options["mutant-seconds"]) * 1000;
const width = Number(options.width);
const pool = new Pool();
process.on("SIGINT", () => {
  pool.close();
  process.exit(130);
});
try {
  const survivors = await runMutants();
  const broken = await runFreshSeeds();
  process.exitCode = survivors + broken === 0 ? 0 : 1;
} finally {
  pool.close();
}

async function runMutants(): Promise<number> {
  const chosen = MUTANTS.filter(({ name, file }) => options.mutants.split(",").some((part) => `${name} ${file}`.includes(part)));
  if (chosen.length === 0) return 0;
  const begun = performance.now();
  const left = (): number => Math.max(1, begun + MUTANTS_WITHIN_MS - performance.now());
  // The control: what is not broken passes on the very seeds, or being caught would mean nothing.
  const control = await pool.run(await pool.bundle(undefined), { from: MUTANT_SEEDS_FROM, count: Math.max(...chosen.map(({ budget }) => budget)), withinMs: left(), withinCpuMs: mutantCpuMs, application: "mixed" });
  const row = rowOf(control);
  process.stdout.write(`${row.caught ? "FAILED    " : "passes    "} ${"(no mutant)".padEnd(58)} ${"".padEnd(8)} ${row.seeds.padStart(5)}  ${row.by}\n`);
  const rows = await inParallel(chosen, width, async (mutant) => {
    const bundle = await pool.bundle(mutant);
    const count = Math.ceil(mutant.budget * Number(options.budget));
    const isOpen = OPEN.has(mutant.name);
    const withinCpuMs = isOpen ? mutantCpuMs / 4 : mutantCpuMs;
    const directed = mutant.directed === undefined ? {} : { directed: mutant.directed };
    const result = await pool.run(bundle, { from: MUTANT_SEEDS_FROM, count, withinMs: left(), withinCpuMs, application: "mixed", ...directed });
    const row = rowOf(result);
    const isFinished = "hung" in result || result.seeds === count || row.caught;
    const word = row.caught ? "caught" : isOpen ? "open" : isFinished ? "SURVIVED" : "unfinished";
    process.stdout.write(`${word.padEnd(10)} ${mutant.name.padEnd(58)} ${mutant.rule.padEnd(8)} ${row.seeds.padStart(5)}  ${row.by}\n`);
    return word;
  });
  const count = (word: string): number => rows.filter((one) => one === word).length;
  const survivors = count("SURVIVED");
  process.stdout.write(
    `\nmutants: ${count("caught")} of ${rows.length} caught in ${seconds(performance.now() - begun)}; ${count("open")} are known not to be caught yet (mutants/open.ts), ` +
      `${count("unfinished")} had no time for their budget, ${survivors} survived against expectation\n\n`,
  );
  return survivors + (row.caught ? 1 : 0);
}

function rowOf(result: WorkerResult): { caught: boolean; seeds: string; by: string } {
  if ("hung" in result) return { caught: true, seeds: "?", by: result.hung };
  const failure = result.failed?.failure;
  if (failure === undefined) return { caught: false, seeds: `>${result.seeds}`, by: `nothing, in ${seconds(result.cpuMs)} of computing` };
  const by = failure.invariant === "assertion" ? `assertion: ${failure.message}` : failure.invariant === "exception" ? failure.message : `invariant ${failure.invariant}`;
  return { caught: true, seeds: String(result.seeds), by };
}

async function runFreshSeeds(): Promise<number> {
  const deadline = performance.now() + Number(options.minutes) * 60_000;
  const bundle = await pool.bundle(undefined);
  const total = { seeds: 0, events: 0, answers: 0, cpuMs: 0 };
  const failures: string[] = [];
  const branches = new Map<string, BranchCount>();
  const begun = performance.now();
  let next = Number(options.from);
  const last = next + Number(options.seeds);
  const lane = async (_lane: number): Promise<void> => {
    while (next < last && performance.now() < deadline && total.events < Number(options.events)) {
      const from = next;
      const count = Math.min(CHUNK, last - from);
      next += count;
      // Counting costs time: the first chunk of every twenty counts.
      const counts = options.branches || ((from - Number(options.from)) / CHUNK) % 20 === 0;
      const job = { from, count, withinMs: Math.max(1, deadline - performance.now()), withinCpuMs: Number.MAX_SAFE_INTEGER, application: "mixed", ...(counts ? { countBranchesOf: bundle } : {}) };
      const result = await pool.run(bundle, job);
      if ("hung" in result) {
        failures.push(`a worker on seeds ${from} … ${from + count - 1}: ${result.hung}`);
        continue;
      }
      total.seeds += result.seeds;
      total.events += result.events;
      total.answers += result.answers;
      total.cpuMs += result.cpuMs;
      for (const branch of result.branches ?? []) addBranch(branches, branch);
      const failed = result.failed;
      if (failed?.failure === undefined) continue;
      failures.push(`seed ${failed.seed}: invariant ${failed.failure.invariant}: ${failed.failure.message}\n  npm run sim -- --seed ${failed.seed} --shrink`);
    }
  };
  await inParallel(Array.from({ length: width }, (_, place) => place), width, lane);
  const took = performance.now() - begun;
  process.stdout.write(
    `fresh seeds: ${total.seeds} from ${options.from}, ${failures.length} failed\n` +
      `events: ${total.events} (${Math.round(total.events / Math.max(1, total.seeds))} a seed), answers checked: ${total.answers}\n` +
      `speed: ${perSecond(total.seeds, took)} seeds/s, ${perSecond(total.events, took)} events/s with ${width} processes; ` +
      `${perSecond(total.seeds, total.cpuMs)} seeds and ${perSecond(total.events, total.cpuMs)} events for a second of computing\n`,
  );
  const tolerated = Number(options.tolerate) === 0 ? 0 : Math.max(FEW, Number(options.tolerate) * total.seeds);
  const isTolerated = failures.length <= tolerated;
  for (const failure of failures) process.stdout.write(`${isTolerated ? "FINDING" : "FAILED"} ${failure}\n`);
  return (isTolerated ? 0 : failures.length) + reportBranches(branches);
}

function addBranch(branches: Map<string, BranchCount>, branch: BranchCount): void {
  const key = `${branch.file}:${branch.line}:${branch.text}`;
  branches.set(key, { ...branch, count: branch.count + (branches.get(key)?.count ?? 0) });
}

/** Prints what was reached; answers how many branches were not that earlier runs had reached. */
function reportBranches(branches: ReadonlyMap<string, BranchCount>): number {
  const all = [...branches.values()];
  const missed = all.filter((branch) => branch.count === 0);
  process.stdout.write(`branches of the protocol: ${all.length - missed.length} of ${all.length} reached\n`);
  if (!options.branches) return 0;
  const expected = new Set(readFileSync(NEVER_REACHED, "utf8").split("\n"));
  const unexpected = missed.filter(({ file, text }) => !expected.has(`${file}\t${text}`));
  for (const { file, line, text } of missed) process.stdout.write(`  never: ${file}:${line} ${text}\n`);
  for (const { file, line, text } of unexpected) process.stdout.write(`FAILED never reached, but reached before: ${file}:${line} ${text}\n`);
  return unexpected.length;
}

function perSecond(count: number, ms: number): string {
  return ((count / ms) * 1000).toFixed(count > 10_000 ? 0 : 1);
}

function seconds(ms: number): string {
  return `${(ms / 1000).toFixed(1)} s`;
}

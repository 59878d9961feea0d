// `npm run sim`: one seed, or a range of them; replays, traces and shrinks.

import { readFileSync, writeFileSync } from "node:fs";
import { parseArgs } from "node:util";
import { applicationFor } from "./applications.ts";
import { drawCase, type Case } from "./profile.ts";
import { runCase, type Outcome } from "./run.ts";
import { shrink } from "./shrink.ts";

const { values: options } = parseArgs({
  options: {
    seed: { type: "string", default: "1" },
    /** Seeds from `seed` on. */
    count: { type: "string", default: "1" },
    application: { type: "string", default: "mixed" },
    trace: { type: "boolean", default: false },
    /** Makes a failing seed's case as small as it still fails, and writes it to a file. */
    shrink: { type: "boolean", default: false },
    /** A case written by `--shrink`. */
    case: { type: "string" },
  },
});

const print = (line: string): void => void process.stdout.write(`${line}\n`);

function run(drawn: Case, trace: boolean): Outcome {
  return runCase(drawn, applicationFor(options.application, drawn), trace ? print : undefined);
}

function report(outcome: Outcome): void {
  print(`seed ${outcome.seed}: ${outcome.events} events, ${outcome.answers} answers, trace hash ${outcome.hash.toString(16)}`);
  if (outcome.failure === undefined) return;
  print(`FAILED at ${outcome.failure.atMs} ms: invariant ${outcome.failure.invariant}\n${outcome.failure.stack}`);
  process.exitCode = 1;
}

if (options.case !== undefined) {
  report(run(JSON.parse(readFileSync(options.case, "utf8")) as Case, options.trace));
} else {
  const begun = performance.now();
  const count = Number(options.count);
  let events = 0;
  let failed = 0;
  for (let seed = Number(options.seed); seed < Number(options.seed) + count; seed += 1) {
    const drawn = drawCase(seed);
    const outcome = run(drawn, options.trace);
    events += outcome.events;
    if (count === 1 || outcome.failure !== undefined) report(outcome);
    if (outcome.failure === undefined) continue;
    failed += 1;
    if (!options.shrink) continue;
    const small = shrink(drawn, outcome.failure.invariant, (smaller) => run(smaller, false), print);
    const file = `failing-seed-${seed}.json`;
    writeFileSync(file, JSON.stringify(small, undefined, 2));
    print(`npm run sim -- --case ${file} --trace`);
  }
  const took = (performance.now() - begun) / 1000;
  if (count > 1) print(`${count} seeds, ${failed} failed, ${events} events, ${(count / took).toFixed(1)} seeds/s, ${Math.round(events / took)} events/s`);
}

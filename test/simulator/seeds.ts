// Runs a range of seeds in this process until one fails, the range ends or the time is over.

import { applicationFor } from "./applications.ts";
import { CASES } from "./cases.ts";
import { Coverage, type BranchCount } from "./coverage.ts";
import { drawCase, type Case } from "./profile.ts";
import { runCase, type Outcome } from "./run.ts";

export interface Job {
  readonly from: number;
  readonly count: number;
  /** Milliseconds after which no further seed is begun: of the clock, and of this process's own computing, which others on the machine do not lengthen. */
  readonly withinMs: number;
  readonly withinCpuMs: number;
  readonly application: string;
  /** Run before the seeds. */
  readonly directed?: keyof typeof CASES;
  /** Path of this bundle, when branches are to be counted. */
  readonly countBranchesOf?: string;
}

export interface JobResult {
  readonly seeds: number;
  readonly events: number;
  readonly answers: number;
  readonly cpuMs: number;
  readonly failed: Outcome | undefined;
  readonly branches: readonly BranchCount[] | undefined;
}

export async function runSeeds(job: Job): Promise<JobResult> {
  const coverage = job.countBranchesOf === undefined ? undefined : await Coverage.start(job.countBranchesOf);
  const begun = performance.now();
  const computed = (): number => (process.cpuUsage().user + process.cpuUsage().system) / 1000;
  let seeds = 0;
  let events = 0;
  let answers = 0;
  let failed: Outcome | undefined;
  const run = (drawn: Case): void => {
    const outcome = runCase(drawn, applicationFor(job.application, drawn));
    events += outcome.events;
    answers += outcome.answers;
    if (outcome.failure !== undefined) failed = outcome;
  };
  if (job.directed !== undefined) run(CASES[job.directed]);
  while (seeds < job.count && performance.now() - begun < job.withinMs && computed() < job.withinCpuMs && failed === undefined) {
    run(drawCase(job.from + seeds));
    seeds += 1;
  }
  return { seeds, events, answers, cpuMs: computed(), failed, branches: await coverage?.stop() };
}

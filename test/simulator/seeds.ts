// Runs a range of seeds in this process until one fails, the range ends or the time is over.

import { applicationFor } from "./applications.ts";
import { Coverage, type BranchCount } from "./coverage.ts";
import { drawCase } from "./profile.ts";
import { runCase, type Outcome } from "./run.ts";

export interface Job {
  readonly from: number;
  readonly count: number;
  /** Milliseconds after which no further seed is begun. */
  readonly withinMs: number;
  readonly application: string;
  /** Path of this bundle, when branches are to be counted. */
  readonly countBranchesOf?: string;
}

export interface JobResult {
  readonly seeds: number;
  readonly events: number;
  readonly answers: number;
  readonly ms: number;
  readonly failed: Outcome | undefined;
  readonly branches: readonly BranchCount[] | undefined;
}

export async function runSeeds(job: Job): Promise<JobResult> {
  const coverage = job.countBranchesOf === undefined ? undefined : await Coverage.start(job.countBranchesOf);
  const begun = performance.now();
  const elapsed = (): number => performance.now() - begun;
  let seeds = 0;
  let events = 0;
  let answers = 0;
  let failed: Outcome | undefined;
  while (seeds < job.count && elapsed() < job.withinMs && failed === undefined) {
    const seed = job.from + seeds;
    const drawn = drawCase(seed);
    const outcome = runCase(drawn, applicationFor(job.application, drawn));
    seeds += 1;
    events += outcome.events;
    answers += outcome.answers;
    if (outcome.failure !== undefined) failed = outcome;
  }
  return { seeds, events, answers, ms: elapsed(), failed, branches: await coverage?.stop() };
}

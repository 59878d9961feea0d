// Runs a range of seeds in this process until one fails, the range ends or the time is over.

import { applicationFor } from "./applications.ts";
import { Coverage, type BranchCount } from "./coverage.ts";
import { drawCase } from "./profile.ts";
import { runCase, type Outcome } from "./run.ts";

export interface Job {
  readonly from: number;
  readonly count: number;
  /** Milliseconds after which no further seed is begun: of the clock, and of this process's own computing, which others on the machine do not lengthen. */
  readonly withinMs: number;
  readonly withinCpuMs: number;
  readonly application: string;
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
  while (seeds < job.count && performance.now() - begun < job.withinMs && computed() < job.withinCpuMs && failed === undefined) {
    const seed = job.from + seeds;
    const drawn = drawCase(seed);
    const outcome = runCase(drawn, applicationFor(job.application, drawn));
    seeds += 1;
    events += outcome.events;
    answers += outcome.answers;
    if (outcome.failure !== undefined) failed = outcome;
  }
  return { seeds, events, answers, cpuMs: computed(), failed, branches: await coverage?.stop() };
}

// The process that runs seeds: reads a job as JSON from its argument, writes one JSON line of result. Bundled, whole or with a mutant.

import { runSeeds, type Job } from "./seeds.ts";

const job = JSON.parse(process.argv[2] ?? "{}") as Job;
process.stdout.write(`${JSON.stringify(await runSeeds(job))}\n`);

// Runs bundles of the simulator in processes of their own, a few at a time.

import { spawn, type ChildProcess } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { join } from "node:path";
import { ROOT, bundleSimulator, type Mutant } from "./bundle.ts";
import type { Job, JobResult } from "./seeds.ts";

/** What a worker did: its result, or that it never ended, which for a mutant is being caught as well. */
export type WorkerResult = JobResult | { readonly hung: string };

/** A worker that says nothing for this much longer than its job may take is ended: one seed takes long on a busy machine. */
const GRACE_MS = 120_000;

export class Pool {
  readonly #folder: string;
  readonly #running = new Set<ChildProcess>();
  #bundles = 0;

  /** Bundles lie within the project, so that they find its packages. */
  constructor() {
    const cache = join(ROOT, ".cache");
    mkdirSync(cache, { recursive: true });
    this.#folder = mkdtempSync(join(cache, "simulator-"));
  }

  /** Bundles the simulator; returns the bundle's path. */
  async bundle(mutant: Mutant | undefined): Promise<string> {
    this.#bundles += 1;
    const outfile = join(this.#folder, `simulator-${this.#bundles}.mjs`);
    await bundleSimulator(outfile, mutant);
    return outfile;
  }

  /** @throws when the worker dies: seeds fail with a result, so this is a fault of the harness. */
  run(bundle: string, job: Job): Promise<WorkerResult> {
    return new Promise((resolve, reject) => {
      const child = spawn(process.execPath, ["--enable-source-maps", bundle, JSON.stringify(job)], { stdio: ["ignore", "pipe", "pipe"] });
      this.#running.add(child);
      let out = "";
      let err = "";
      child.stdout.on("data", (chunk: Buffer) => (out += chunk.toString()));
      child.stderr.on("data", (chunk: Buffer) => (err = (err + chunk.toString()).slice(-2000)));
      const tooLong = setTimeout(() => child.kill("SIGKILL"), job.withinMs + GRACE_MS);
      child.on("close", (code, signal) => {
        clearTimeout(tooLong);
        this.#running.delete(child);
        if (code === 0) resolve(JSON.parse(out) as JobResult);
        else if (signal === "SIGKILL") resolve({ hung: `no end within ${job.withinMs + GRACE_MS} ms` });
        else reject(new Error(`a worker died: ${err.trim()}`));
      });
    });
  }

  close(): void {
    for (const child of this.#running) child.kill("SIGKILL");
    rmSync(this.#folder, { recursive: true });
  }
}

/** Runs the tasks, `width` at a time; the results are in their order. */
export async function inParallel<T, R>(tasks: readonly T[], width: number, run: (task: T) => Promise<R>): Promise<R[]> {
  const results: R[] = [];
  let next = 0;
  const lane = async (): Promise<void> => {
    while (next < tasks.length) {
      const place = next;
      next += 1;
      results[place] = await run(tasks[place]!);
    }
  };
  await Promise.all(Array.from({ length: Math.min(width, tasks.length) }, lane));
  return results;
}

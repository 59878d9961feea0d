// A million known devices: does the broker's state cache keep the rate when few of them fit in memory? Runs bench/known/main.ts in a process each.

import { fork } from "node:child_process";
import { rmSync } from "node:fs";

import { sibling } from "../processes.ts";

/** Longer than the time between two checkpoints, so that at least one falls into it. */
const MEASURED_SECONDS = 40;

export interface KnownPlan {
  readonly data: string;
  /** Devices that have published before. */
  readonly known: number;
  /** Devices that are connected and publish, picked uniformly at random. */
  readonly active: number;
  readonly seconds: number;
}

export interface KnownResult {
  readonly perSecond: number;
  /** Seconds that the broker took to start again on the directory, every device known. */
  readonly startSeconds: number;
  readonly residentMiB: number;
  /** What checkpoints wrote while measuring. */
  readonly checkpointMiBPerSecond: number;
}

export async function measureKnown(data: string): Promise<string> {
  const few = await run({ data, known: 1_000, active: 1_000, seconds: MEASURED_SECONDS });
  const many = await run({ data, known: 1_000_000, active: 100_000, seconds: MEASURED_SECONDS });
  const row = (name: string, result: KnownResult): string =>
    `| ${name} | ${Math.round(result.perSecond / 1000)}k | ${result.startSeconds.toFixed(1)} s | ${result.residentMiB.toFixed(0)} MiB | ${result.checkpointMiBPerSecond.toFixed(1)} MiB/s |`;
  return [
    "Known devices, in-process gateway: devices are objects in the broker's own process, since 100,000 sockets pass a process's descriptors;",
    "128 B, 6,400 messages in flight, each from a device picked at random. Memory is the whole process's, the 100,000 objects included.\n",
    "| known, publishing | messages/s | start | resident | checkpoints |",
    "|---|---|---|---|---|",
    row("1,000, all of them", few),
    row("1,000,000, 100,000 of them", many),
    `\nRatio of the rates: ${(many.perSecond / few.perSecond).toFixed(2)}.\n`,
  ].join("\n");
}

function run(plan: KnownPlan): Promise<KnownResult> {
  return new Promise<KnownResult>((resolve, reject) => {
    // What the broker logs goes to stderr: standard output is for the table.
    const child = fork(sibling("./known/main"), [JSON.stringify(plan)], { stdio: ["ignore", process.stderr, "inherit", "ipc"] });
    child.on("message", (result) => resolve(result as KnownResult));
    child.on("error", reject);
    child.on("exit", (code) => reject(new Error(`The run with ${plan.known} known devices ended with exit code ${code}.`)));
  }).finally(() => rmSync(plan.data, { recursive: true, force: true }));
}

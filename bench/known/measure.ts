// A million known devices: does the broker's state cache keep the rate when few of them fit in memory? Over HTTP as a backend sees it, and from devices in the broker's own process (bench/known/main.ts).

import { fork } from "node:child_process";
import { rmSync } from "node:fs";

import { thousands } from "../figures.ts";
import { runBatchLoad } from "../load/batch.ts";
import { runHttpLoad } from "../load/http.ts";
import { sibling, startBellhop } from "../processes.ts";

/** Longer than the time between two checkpoints, so that at least one falls into it. */
const MEASURED_SECONDS = 40;
/** Over HTTP: so long each of single publishes and of batches; before it, in batches, so long that the devices' records are in memory, as they are on a broker that has run for a while. */
const HTTP_SECONDS = 10;
const WARM_SECONDS = 20;

/** What one process does: a process that has made a million devices known carries their garbage, and would not show what a start needs. */
export type KnownPlan =
  /** Makes devices known: each connects, publishes once and leaves. */
  | { readonly step: "make"; readonly data: string; readonly known: number }
  /** Starts on what is there, connects some of the devices, and publishes from them, picked uniformly at random. */
  | { readonly step: "measure"; readonly data: string; readonly active: number; readonly seconds: number };

export interface KnownResult {
  readonly perSecond: number;
  /** Processor time of the broker's thread for each message, the bench's own work included: it depends less on who else uses the machine. */
  readonly microseconds: number;
  /** Seconds that the broker took to start on the directory. */
  readonly startSeconds: number;
  readonly residentMiB: number;
  /** What checkpoints wrote while measuring. */
  readonly checkpointMiBPerSecond: number;
}

interface Measured {
  readonly inProcess: KnownResult;
  readonly http: OverHttp;
}

/** Publishes per second. */
interface OverHttp {
  readonly single: number;
  readonly batches: number;
}

export async function measureKnown(data: string): Promise<string> {
  const few = await known(data, 1_000, 1_000);
  const many = await known(data, 1_000_000, 100_000);
  const over = (name: string, way: keyof OverHttp): string => `| ${name} | ${thousands(few.http[way])} | ${thousands(many.http[way])} | ${(many.http[way] / few.http[way]).toFixed(2)} |`;
  const row = (name: string, result: KnownResult): string =>
    `| ${name} | ${Math.round(result.perSecond / 1000)}k | ${result.microseconds.toFixed(1)} µs | ${result.startSeconds.toFixed(1)} s | ${result.residentMiB.toFixed(0)} MiB | ${result.checkpointMiBPerSecond.toFixed(1)} MiB/s |`;
  return [
    "Known devices, over HTTP: 128 B with a key each, every message for a device picked at random.\n",
    "| messages/s | 1,000 known, all of them | 1,000,000 known, 100,000 of them | ratio |",
    "|---|---|---|---|",
    over("single publishes, 100 connections", "single"),
    over("batches of 500, 4 connections", "batches"),
    "\nIn-process gateway: devices are objects in the broker's own process, since 100,000 sockets pass a process's descriptors;",
    "128 B, 6,400 messages in flight, each from a device picked at random. Memory is the whole process's, the 100,000 objects included.\n",
    "| known, publishing | messages/s | processor time a message | start | resident | checkpoints |",
    "|---|---|---|---|---|---|",
    row("1,000, all of them", few.inProcess),
    row("1,000,000, 100,000 of them", many.inProcess),
    `\nRatio of the rates: ${(many.inProcess.perSecond / few.inProcess.perSecond).toFixed(2)}.\n`,
  ].join("\n");
}

async function known(data: string, count: number, active: number): Promise<Measured> {
  try {
    await run({ step: "make", data, known: count });
    const inProcess = (await run({ step: "measure", data, active, seconds: MEASURED_SECONDS })) as KnownResult;
    return { inProcess, http: await overHttp(data, active) };
  } finally {
    rmSync(data, { recursive: true, force: true });
  }
}

async function overHttp(data: string, active: number): Promise<OverHttp> {
  const { httpAt: at, stop } = await startBellhop(data);
  try {
    const plan = { at, payloadBytes: 128, devices: { known: active } };
    const inBatches = async (seconds: number): Promise<number> => (await runBatchLoad({ ...plan, connections: 4, lines: 500, seconds })).perSecond;
    await inBatches(WARM_SECONDS);
    const batches = await inBatches(HTTP_SECONDS);
    const { perSecond: single } = await runHttpLoad({ ...plan, connections: 100, seconds: HTTP_SECONDS, stores: true });
    return { single, batches };
  } finally {
    await stop();
  }
}

/** Resolves with what the process told, when it has ended well. */
function run(plan: KnownPlan): Promise<KnownResult | undefined> {
  return new Promise((resolve, reject) => {
    // What the broker logs goes to stderr: standard output is for the table.
    const child = fork(sibling("./known/main"), [JSON.stringify(plan)], { stdio: ["ignore", process.stderr, "inherit", "ipc"] });
    let told: KnownResult | undefined;
    child.on("message", (result) => (told = result as KnownResult));
    child.on("error", reject);
    child.on("exit", (code) => (code === 0 ? resolve(told) : reject(new Error(`The step "${plan.step}" with known devices ended with exit code ${code}.`))));
  });
}

// A node whose disk takes 200 ms longer for each sync, while a file is there: by a few lines of C that are loaded into its process. Needs a C compiler, no root.

import { execFileSync } from "node:child_process";
import { mkdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { packageFolder } from "../../src/observe/version.ts";
import { median } from "../figures.ts";
import { bellhopDriver } from "../load/bellhop.ts";
import { generate, type Progress } from "../load/generator.ts";
import type { LoadPlan } from "../load/plan.ts";
import { startCluster, targetOf, type Environment, type Harm } from "./bellhop.ts";

const LOAD = { connections: 30, inFlight: 16, payloadBytes: 128 } as const;
/** Measured before the disk becomes slow; then left to the cluster to settle; then measured again. */
const BEFORE_SECONDS = 8;
const SETTLE_SECONDS = 10;
const AFTER_SECONDS = 20;

export interface SlowDisks {
  readonly environment: Environment;
  readonly harm: Harm;
}

/** Undefined where there is no C compiler. */
export function slowDisks(directory: string): SlowDisks | undefined {
  mkdirSync(directory, { recursive: true });
  const library = join(directory, "slow-disk.so");
  try {
    execFileSync("cc", ["-shared", "-fPIC", "-O2", "-o", library, join(packageFolder(), "bench/failover/slow-disk.c"), "-ldl"], { stdio: ["ignore", "ignore", "inherit"] });
  } catch {
    return undefined;
  }
  const whileThere = (node: string): string => join(directory, `${node}.slow`);
  return {
    environment: (node) => {
      rmSync(whileThere(node), { force: true });
      return { LD_PRELOAD: library, SLOW_DISK_WHILE: whileThere(node) };
    },
    harm: async (_, { follower }) => writeFileSync(whileThere(follower.id), ""),
  };
}

/** Messages a second, as medians of seconds: before a follower's disk became slow, in the seconds right after that, and when the cluster has settled. */
export interface SlowRate {
  readonly before: number;
  readonly meanwhile: number;
  readonly after: number;
}

/** Devices publish as fast as they are answered, through the two other nodes, to all buckets: the slow node leads some of them. Every answered message is looked for in both. */
export async function measureSlowRate({ environment, harm }: SlowDisks): Promise<SlowRate> {
  const cluster = await startCluster(environment);
  try {
    const target = await targetOf(cluster);
    const nodes = [target.leader, target.other];
    const plan: LoadPlan = {
      peer: "bellhop", at: nodes.map(({ device }) => device).join(","), httpAt: nodes.map(({ http }) => http).join(","), run: "slow", ...LOAD,
      rate: 0, warmUpSeconds: 5, seconds: BEFORE_SECONDS + SETTLE_SECONDS + AFTER_SECONDS, readBack: false,
    };
    const seconds: number[] = [];
    const report = ({ phase, perSecond }: Progress): void => {
      if (phase !== "measuring") return;
      seconds.push(perSecond);
      if (seconds.length === BEFORE_SECONDS) void harm(cluster, target);
    };
    await generate(plan, bellhopDriver(plan), report);
    const settled = BEFORE_SECONDS + SETTLE_SECONDS;
    return { before: median(seconds.slice(0, BEFORE_SECONDS)), meanwhile: median(seconds.slice(BEFORE_SECONDS, settled)), after: median(seconds.slice(settled)) };
  } finally {
    await cluster.stop();
  }
}

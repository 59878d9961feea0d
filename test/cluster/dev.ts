// `bellhop dev` as a test runs it: real processes on free ports and a directory of their own, ended by their ids.

import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { startCluster, type StartedCluster, type StartedNode } from "../../bench/processes.ts";
import { ROOT } from "../cli/command.ts";
import { eventually } from "./eventually.ts";
import { PATIENT } from "./steady.ts";

export type DevNode = StartedNode;

export interface DevCluster extends StartedCluster {
  /** The directory of all their data; each node's is named by its id. */
  readonly data: string;
  /** The process that runs a node now: one that ended was started again as another. */
  pidOf(id: string): Promise<number>;
  /** kill -9 of a node's process; resolves when it is gone. */
  kill(id: string): Promise<void>;
}

/** @param environment settings of all nodes, as variables */
export async function startDev(count: number, environment: Readonly<Record<string, string>> = {}): Promise<DevCluster> {
  const data = mkdtempSync(join(tmpdir(), "bellhop-dev-"));
  const cluster = await startCluster(data, count, join(ROOT, "bin/bellhop.js"), { ...PATIENT, ...environment });
  return {
    ...cluster,
    data,
    pidOf: (id) => pidOf(id, cluster.pid),
    async kill(id) {
      const pid = await pidOf(id, cluster.pid);
      process.kill(pid, "SIGKILL");
      await eventually(async () => isRunning(pid), (running) => !running);
    },
    async stop() {
      await cluster.stop();
      rmSync(data, { recursive: true });
    },
  };
}

/** Of the parent's children, the one whose settings name the node. */
async function pidOf(id: string, parent: number): Promise<number> {
  const found = await eventually(async () => childrenOf(parent).find((pid) => commandOf(pid).includes(`"node":"${id}"`)), (pid) => pid !== undefined);
  if (found === undefined) throw new Error(`No process of node ${id} runs.`);
  return found;
}

function childrenOf(parent: number): number[] {
  const pids = readdirSync("/proc").filter((name) => /^\d+$/.test(name)).map(Number);
  return pids.filter((pid) => new RegExp(`^\\d+ \\(.*\\) [^Z] ${parent} `, "s").test(procFile(pid, "stat")));
}

function commandOf(pid: number): string {
  return procFile(pid, "cmdline");
}

/** "" where the process has ended. */
function procFile(pid: number, name: string): string {
  try {
    return readFileSync(`/proc/${pid}/${name}`, "utf8");
  } catch {
    return "";
  }
}

function isRunning(pid: number): boolean {
  return /^\d+ \(.*\) [^Z] /s.test(procFile(pid, "stat"));
}

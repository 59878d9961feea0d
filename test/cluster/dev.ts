// `bellhop dev` as a test runs it: real processes on free ports and a directory of their own, ended by their ids.

import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { startCluster, type StartedCluster, type StartedNode } from "../../bench/processes.ts";
import { ROOT } from "../cli/command.ts";

export type DevNode = StartedNode;

export interface DevCluster extends StartedCluster {
  /** The directory of all their data; each node's is named by its id. */
  readonly data: string;
}

export async function startDev(count: number): Promise<DevCluster> {
  const data = mkdtempSync(join(tmpdir(), "bellhop-dev-"));
  const cluster = await startCluster(data, count, join(ROOT, "bin/bellhop.js"));
  return {
    ...cluster,
    data,
    async stop() {
      await cluster.stop();
      rmSync(data, { recursive: true });
    },
  };
}

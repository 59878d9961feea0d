// The programs that the simulator runs on its nodes, by name.

import { counterApplication } from "./counter-node.ts";
import type { Case } from "./profile.ts";
import type { Application } from "./run.ts";
import { Workload } from "./workload.ts";

/** `counter`: a counter in each bucket; `node`: whole nodes with devices and backends; `mixed`: one or the other, by the seed. */
export function applicationFor(name: string, { seed }: Case): Application {
  if (name === "counter" || (name === "mixed" && seed % 3 === 0)) return counterApplication();
  if (name === "node" || name === "mixed") return new Workload();
  throw new Error(`there is no application ${name}`);
}

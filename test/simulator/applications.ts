// The programs that the simulator runs on its nodes, by name.

import { counterApplication } from "./counter-node.ts";
import type { Case } from "./profile.ts";
import type { Application } from "./run.ts";

/** `mixed`: by the seed. */
export function applicationFor(_name: string, _drawn: Case): Application {
  return counterApplication();
}

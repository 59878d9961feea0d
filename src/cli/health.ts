// What GET /v1/status answers, and how it is put in words.

import type { NodeStatus } from "../node/api.ts";
import { CliError } from "./exit.ts";

export type Status = NodeStatus & { readonly followers: number };

export function unhealthy(why: readonly string[]): CliError {
  return new CliError("unhealthy", "not_ready", "The node is not ready.", why.join("\n"), "bellhop status --watch");
}

export function waitingInWords({ waiting }: Status): string {
  const some = Object.entries(waiting).filter(([, count]) => count > 0);
  return some.length === 0 ? "nothing" : some.map(([name, count]) => `${name} ${count}`).join(", ");
}

/** Those that it leads but that are not open yet answer nothing: told where there are any. */
export function ledInWords({ buckets: { led, open, total } }: Status): string {
  return `leads ${led} of ${total}${open < led ? `, of which ${open} are open` : ""}`;
}

export function duration(seconds: number): string {
  if (seconds < 120) return `${Math.floor(seconds)} s`;
  if (seconds < 7200) return `${Math.floor(seconds / 60)} min`;
  return seconds < 172_800 ? `${Math.floor(seconds / 3600)} h` : `${Math.floor(seconds / 86_400)} days`;
}

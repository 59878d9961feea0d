// Runs the load generator in a process of its own.

import { fork } from "node:child_process";
import { fileURLToPath } from "node:url";

import { ANSWERED, type LoadPlan, type LoadResult } from "./plan.ts";

/**
 * Rejects with an Error that says what went wrong.
 * @param answered called when the last message was answered, before they are looked for
 */
export function runLoad(plan: LoadPlan, { answered }: { readonly answered?: () => void } = {}): Promise<LoadResult> {
  const main = fileURLToPath(new URL(import.meta.url.endsWith(".ts") ? "./main.ts" : "./main.js", import.meta.url));
  return new Promise((resolve, reject) => {
    const child = fork(main, [JSON.stringify(plan)], { stdio: ["ignore", "ignore", "inherit", "ipc"] });
    child.on("error", reject);
    child.on("message", (message) => {
      if (message === ANSWERED) return answered?.();
      const { result, failed } = message as { result?: LoadResult; failed?: string };
      if (result === undefined) reject(new Error(failed ?? "The load generator said nothing."));
      else resolve(result);
    });
    child.on("exit", (code, ended) => reject(new Error(`The load generator ended early (${ended ?? `exit code ${code}`}).`)));
  });
}

// Waiting for what comes by itself, within a bound.

import { setTimeout as sleep } from "node:timers/promises";

/** Nothing in a test of a cluster may take longer; in milliseconds. */
export const PATIENCE_MS = 60_000;

/** Looks until it is so; answers what was seen last, for an assertion to tell it. */
export async function eventually<T>(look: () => Promise<T>, isSo: (value: T) => boolean): Promise<T> {
  const until = Date.now() + PATIENCE_MS;
  for (;;) {
    const value = await look();
    if (isSo(value) || Date.now() > until) return value;
    await sleep(50);
  }
}

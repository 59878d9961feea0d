// Leases of nodes that share one process's clock: the embedded log's and its twin's.

import { performance } from "node:perf_hooks";

export class Leases {
  readonly #held = new Map<string, { incarnation: number; until: number }>();

  /** Takes or renews; answers the time left in ms. A later incarnation's lease takes the place of an earlier one's. */
  take(node: string, incarnation: number, ttlMs: number): number {
    const held = this.#held.get(node);
    if (held === undefined || held.incarnation <= incarnation) this.#held.set(node, { incarnation, until: performance.now() + ttlMs });
    return ttlMs;
  }

  alive(): { node: string; incarnation: number }[] {
    const now = performance.now();
    for (const [node, { until }] of this.#held) {
      if (until <= now) this.#held.delete(node);
    }
    return [...this.#held].map(([node, { incarnation }]) => ({ node, incarnation }));
  }
}

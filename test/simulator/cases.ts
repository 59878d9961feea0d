// Directed cases: what seeds draw too seldom, written down. Each says what must have become of its nodes, and so catches what takes its rule away.

import type { Case } from "./profile.ts";

/** Three nodes and nothing that goes wrong; n1's disk becomes slow, and every bucket has a copy on it. */
function slowDisk(minCopies: number, returned: readonly boolean[]): Case {
  return {
    seed: 1, nodes: 3, spares: 0, zones: 1, buckets: 3, copies: 3, minCopies,
    links: { delayUs: [100, 500], drop: 0, duplicate: 0, lateUs: 0, ordered: true },
    disk: { syncUs: [1000, 2000], inFlight: 2, checkpointUs: 2000 },
    control: { delayUs: 500, watchUs: 500, answerLost: 0, repeated: 0 },
    skewMs: [0, 0, 0],
    leaseMs: 200, tickMs: 8, checkpointMs: 200, retain: 0,
    workload: { clients: 3, devices: 3, everyMs: 4, window: 16 },
    durationMs: 3000,
    faults: [{ type: "slowDisk", node: 1, factor: 150, forMs: 2000, atMs: 500 }],
    returned,
  };
}

export const CASES = {
  "a slow disk": slowDisk(2, [false, true, false]),
  "a slow disk that is needed": slowDisk(3, [false, false, false]),
} satisfies Record<string, Case>;

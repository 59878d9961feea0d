// Directed cases: what seeds draw too seldom, written down. Each says what must have become of its nodes, and so catches what takes its rule away.

import type { Case, TimedFault } from "./profile.ts";

/** As many nodes, and nothing that goes wrong but these faults; every bucket has a copy on each of three. */
function directed(nodes: number, minCopies: number, faults: readonly TimedFault[], returned: readonly boolean[]): Case {
  return {
    seed: 1, nodes, spares: 0, zones: 1, buckets: 3, copies: 3, minCopies,
    links: { delayUs: [100, 500], drop: 0, duplicate: 0, lateUs: 0, ordered: true },
    disk: { syncUs: [1000, 2000], inFlight: 2, checkpointUs: 2000 },
    control: { delayUs: 500, watchUs: 500, answerLost: 0, repeated: 0 },
    skewMs: Array.from({ length: nodes }, () => 0),
    leaseMs: 200, tickMs: 8, checkpointMs: 200, retain: 0,
    workload: { clients: 3, devices: 3, everyMs: 4, window: 16 },
    durationMs: 3000,
    faults,
    returned,
  };
}

const SLOW_DISK: readonly TimedFault[] = [{ type: "slowDisk", node: 1, factor: 150, forMs: 2000, atMs: 500 }];

/** Nodes that start again, and from before that on are cut off from others, both ways. */
function comeBackCutOff(back: readonly number[], others: readonly number[]): TimedFault[] {
  const times = { atMs: 500, forMs: 2000 };
  const cuts = back.flatMap((node) => others.flatMap((other): TimedFault[] => [{ type: "cut", from: node, to: other, ...times }, { type: "cut", from: other, to: node, ...times }]));
  return [...cuts, ...back.map((node): TimedFault => ({ type: "crash", node, power: false, ...times, forMs: 1 }))];
}

export const CASES = {
  "a slow disk": directed(3, 2, SLOW_DISK, [false, true, false]),
  "a slow disk that is needed": directed(3, 3, SLOW_DISK, [false, false, false]),
  "the fewer come back cut off": directed(5, 2, comeBackCutOff([3, 4], [0, 1, 2]), [false, false, false, true, true]),
  "one comes back cut off from one other": directed(3, 2, comeBackCutOff([2], [0]), [false, false, true]),
} satisfies Record<string, Case>;

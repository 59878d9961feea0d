// What a seed draws before it runs: the cluster, its times and rates, and the schedule of faults. All of it is data, so that a failing seed can be made smaller.

import { Prng } from "../../src/base/prng.ts";
import type { ControlTimes } from "./control.ts";
import type { DiskTimes } from "./disk.ts";
import type { LinkRates } from "./network.ts";

export type Fault =
  /** The process ends; with `power`, what was not synced is gone too. It starts again after `forMs`. */
  | { readonly type: "crash"; readonly node: number; readonly power: boolean; readonly forMs: number }
  | { readonly type: "powerAll"; readonly forMs: number; readonly staggerMs: number }
  | { readonly type: "rolling"; readonly gapMs: number; readonly forMs: number }
  | { readonly type: "pause"; readonly node: number; readonly forMs: number }
  /** An empty disk takes the place of this one. */
  | { readonly type: "wipe"; readonly node: number; readonly forMs: number }
  /** A synced group is found broken at the next start. */
  | { readonly type: "damage"; readonly node: number; readonly forMs: number }
  | { readonly type: "cut"; readonly from: number; readonly to: number; readonly forMs: number }
  | { readonly type: "isolate"; readonly node: number; readonly ways: "in" | "out" | "both"; readonly forMs: number }
  /** The node starts, a spare for the first time, and from before that on no other node reaches it, nor it them; the control log does. */
  | { readonly type: "unreachable"; readonly node: number; readonly forMs: number }
  | { readonly type: "stall"; readonly from: number; readonly to: number; readonly forMs: number }
  | { readonly type: "slowDisk"; readonly node: number; readonly factor: number; readonly forMs: number }
  | { readonly type: "failSync"; readonly node: number; readonly forMs: number }
  | { readonly type: "fullDisk"; readonly node: number; readonly forMs: number }
  | { readonly type: "clockJump"; readonly node: number; readonly byMs: number }
  /** A live node is taken for dead. */
  | { readonly type: "suspect"; readonly node: number; readonly by: number }
  | { readonly type: "controlDown"; readonly forMs: number }
  | { readonly type: "watchStall"; readonly node: number; readonly forMs: number }
  | { readonly type: "compact" }
  /** A spare node starts for the first time. */
  | { readonly type: "arrive"; readonly node: number }
  | { readonly type: "drain"; readonly node: number; readonly forMs: number }
  | { readonly type: "copies"; readonly copies: 1 | 3 | 5; readonly minCopies: number };

export type TimedFault = Fault & { readonly atMs: number };

/** Which devices and requests there are; drawn with the rest so that it can be made smaller too. */
export interface Workload {
  readonly clients: number;
  readonly devices: number;
  /** Milliseconds between a client's operations, on average. */
  readonly everyMs: number;
  readonly window: number;
}

export interface Case {
  readonly seed: number;
  /** Nodes at the start, and those that may arrive. */
  readonly nodes: number;
  readonly spares: number;
  readonly zones: number;
  readonly buckets: number;
  readonly copies: 1 | 3 | 5;
  readonly minCopies: number;
  readonly links: LinkRates;
  readonly disk: DiskTimes;
  readonly control: ControlTimes;
  /** Milliseconds that each node's clock is off. */
  readonly skewMs: readonly number[];
  readonly leaseMs: number;
  readonly tickMs: number;
  readonly checkpointMs: number;
  /** Entries kept behind the applied index before the floor moves; 0: history is kept whole. */
  readonly retain: number;
  readonly workload: Workload;
  /** Faults and work go on for this long; then the cluster must come to rest. */
  readonly durationMs: number;
  readonly faults: readonly TimedFault[];
  /** Only in a directed case: which nodes must have come back under a new incarnation by its end, and which not. */
  readonly returned?: readonly boolean[];
}

/** Everything a seed decides. */
export function drawCase(seed: number): Case {
  const random = new Prng(seed);
  const nodes = random.between(3, 6);
  const spares = random.chance(0.4) ? random.between(1, 7 - nodes) : 0;
  const copies = random.pick([1, 3, 3, 3, 5] as const);
  const durationMs = random.pick([600, 1000, 1500, 3000]);
  const slow = random.chance(0.3);
  const base: Omit<Case, "faults"> = {
    seed,
    nodes,
    spares,
    zones: random.pick([1, 1, 2, 3]),
    buckets: random.pick([1, 1, 2, 3, 4, 8]),
    copies,
    minCopies: Math.min(random.pick([1, 1, 2, 2, 3]), copies, nodes),
    links: {
      delayUs: slow ? [200, 30_000] : [100, random.pick([500, 2000, 8000])],
      drop: sometimes(random, 0.5, () => random.pick([0.002, 0.01, 0.05])),
      duplicate: sometimes(random, 0.5, () => random.pick([0.005, 0.03, 0.1])),
      lateUs: sometimes(random, 0.5, () => 1_500_000),
      ordered: random.chance(0.5),
    },
    disk: {
      syncUs: [100, random.pick([400, 2000, 10_000])],
      inFlight: random.between(1, 4),
      checkpointUs: random.pick([2000, 50_000]),
    },
    control: {
      delayUs: random.pick([500, 3000, 20_000]),
      watchUs: random.pick([500, 5000, 60_000]),
      answerLost: sometimes(random, 0.4, () => random.pick([0.05, 0.3])),
      repeated: sometimes(random, 0.5, () => random.pick([0.1, 0.5])),
    },
    skewMs: Array.from({ length: 7 }, () => (random.chance(0.3) ? random.between(-2000, 2000) : 0)),
    leaseMs: random.pick([100, 200, 400]),
    tickMs: random.pick([8, 12, 20]),
    checkpointMs: random.pick([50, 200, 1000]),
    retain: random.chance(0.5) ? random.pick([5, 30, 100]) : 0,
    workload: { clients: random.between(1, 4), devices: random.between(1, 4), everyMs: random.pick([4, 10, 30]), window: random.pick([1, 4, 16]) },
    durationMs,
  };
  return { ...base, faults: drawFaults(random.fork(), base) };
}

function drawFaults(random: Prng, base: Omit<Case, "faults">): TimedFault[] {
  const all = base.nodes + base.spares;
  const node = (): number => random.below(all);
  const short = (): number => random.pick([20, 80, 200]);
  const long = (): number => random.pick([60, 200, 500, 1200]);
  const draws: (() => Fault)[] = [
    () => ({ type: "crash", node: node(), power: random.chance(0.5), forMs: random.pick([1, 20, 100, 400]) }),
    () => ({ type: "crash", node: node(), power: random.chance(0.5), forMs: random.pick([1, 20, 100, 400]) }),
    () => ({ type: "powerAll", forMs: short(), staggerMs: random.pick([0, 50, 1000]) }),
    () => ({ type: "rolling", gapMs: random.pick([100, 400]), forMs: random.pick([10, 100]) }),
    () => ({ type: "pause", node: node(), forMs: long() }),
    () => ({ type: "wipe", node: node(), forMs: long() }),
    () => ({ type: "damage", node: node(), forMs: short() }),
    () => ({ type: "cut", from: node(), to: node(), forMs: long() }),
    () => ({ type: "isolate", node: node(), ways: random.pick(["in", "out", "both"] as const), forMs: long() }),
    () => ({ type: "stall", from: node(), to: node(), forMs: long() }),
    () => ({ type: "slowDisk", node: node(), factor: random.pick([10, 100]), forMs: long() }),
    () => ({ type: "failSync", node: node(), forMs: short() }),
    () => ({ type: "fullDisk", node: node(), forMs: long() }),
    () => ({ type: "clockJump", node: node(), byMs: random.between(-3000, 3000) }),
    () => ({ type: "suspect", node: node(), by: node() }),
    () => ({ type: "controlDown", forMs: long() }),
    () => ({ type: "watchStall", node: node(), forMs: long() }),
    () => ({ type: "compact" }),
    () => ({ type: "drain", node: node(), forMs: long() }),
    () => {
      const copies = random.pick([1, 3, 5] as const);
      return { type: "copies", copies, minCopies: random.between(1, Math.min(copies, base.minCopies)) };
    },
  ];
  // Swarm: each class is on or off for the whole seed.
  const on = draws.filter(() => random.chance(0.35));
  const faults: TimedFault[] = [];
  if (on.length > 0) {
    for (let left = random.between(0, Math.ceil(base.durationMs / 100)); left > 0; left -= 1) {
      faults.push({ ...random.pick(on)(), atMs: random.below(base.durationMs) });
    }
  }
  faults.push(...drawUnreachable(base));
  for (let spare = 0; spare < base.spares; spare += 1) faults.push({ type: "arrive", node: base.nodes + spare, atMs: random.below(base.durationMs) });
  return faults.sort((a, b) => a.atMs - b.atMs);
}

/** Drawn apart, so that what a seed draws besides stays what it was. */
function drawUnreachable({ seed, nodes, spares, durationMs }: Omit<Case, "faults">): TimedFault[] {
  const random = new Prng(seed ^ 0x6e6f6465);
  const count = random.chance(0.2) ? random.between(1, 3) : 0;
  return Array.from({ length: count }, () => ({ type: "unreachable", node: random.below(nodes + spares), forMs: random.pick([200, 1000, 2500]), atMs: random.below(durationMs) }));
}

function sometimes(random: Prng, chance: number, draw: () => number): number {
  return random.chance(chance) ? draw() : 0;
}

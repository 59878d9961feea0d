// Makes a failing case smaller while it fails in the same way: fewer faults, classes of faults off, a smaller cluster, less work.

import type { Case } from "./profile.ts";
import type { Outcome } from "./run.ts";

/** Wall-clock milliseconds that shrinking may take. */
const WITHIN_MS = 60_000;

export function shrink(failing: Case, invariant: string, run: (drawn: Case) => Outcome, tell: (line: string) => void): Case {
  let best = failing;
  let bestEvents = Infinity;
  const deadline = performance.now() + WITHIN_MS;
  const tryCase = (candidate: Case): boolean => {
    if (performance.now() > deadline || JSON.stringify(candidate) === JSON.stringify(best)) return false;
    const outcome = run(candidate);
    if (outcome.failure?.invariant !== invariant) return false;
    best = candidate;
    bestEvents = outcome.events;
    return true;
  };
  let before: Case;
  do {
    before = best;
    dropFaults(() => best, tryCase);
    for (const simplify of SIMPLER) tryCase(simplify(best));
    const atMs = run(best).failure?.atMs ?? best.durationMs;
    if (atMs + 1 < best.durationMs) tryCase({ ...best, durationMs: atMs + 1, faults: best.faults.filter((fault) => fault.atMs <= atMs) });
    tell(`shrunk to ${best.faults.length} faults, ${best.nodes + best.spares} nodes, ${best.buckets} buckets, ${best.durationMs} ms, ${bestEvents} events`);
  } while (best !== before);
  return best;
}

/** Leaves out halves, then quarters … then single faults. */
function dropFaults(best: () => Case, tryCase: (candidate: Case) => boolean): void {
  for (let size = Math.ceil(best().faults.length / 2); size >= 1; size = size === 1 ? 0 : Math.ceil(size / 2)) {
    for (let from = 0; from < best().faults.length;) {
      const faults = best().faults.filter((_, place) => place < from || place >= from + size);
      if (!tryCase({ ...best(), faults })) from += size;
    }
  }
}

/** Each makes the case simpler than it is, or leaves it as it is: so shrinking comes to an end. */
const SIMPLER: readonly ((drawn: Case) => Case)[] = [
  (drawn) => ({ ...drawn, links: { ...drawn.links, drop: 0 } }),
  (drawn) => ({ ...drawn, links: { ...drawn.links, duplicate: 0 } }),
  (drawn) => ({ ...drawn, links: { ...drawn.links, lateUs: 0 } }),
  (drawn) => ({ ...drawn, links: { ...drawn.links, ordered: true } }),
  (drawn) => ({ ...drawn, control: { ...drawn.control, answerLost: 0 } }),
  (drawn) => ({ ...drawn, control: { ...drawn.control, repeated: 0 } }),
  (drawn) => ({ ...drawn, control: { ...drawn.control, watchUs: 500 } }),
  (drawn) => ({ ...drawn, skewMs: drawn.skewMs.map(() => 0) }),
  (drawn) => ({ ...drawn, retain: 0 }),
  (drawn) => ({ ...drawn, zones: 1 }),
  (drawn) => ({ ...drawn, buckets: 1 }),
  (drawn) => ({ ...drawn, buckets: Math.max(1, drawn.buckets - 1) }),
  (drawn) => ({ ...drawn, workload: { ...drawn.workload, clients: 1 } }),
  (drawn) => ({ ...drawn, workload: { ...drawn.workload, clients: Math.max(1, drawn.workload.clients - 1) } }),
  (drawn) => ({ ...drawn, workload: { ...drawn.workload, everyMs: Math.min(drawn.durationMs, drawn.workload.everyMs * 3) } }),
];

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
    for (const candidate of simpler(best)) tryCase(candidate);
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

function* simpler(drawn: Case): Generator<Case> {
  const { links, control, workload } = drawn;
  yield { ...drawn, links: { ...links, drop: 0 } };
  yield { ...drawn, links: { ...links, duplicate: 0 } };
  yield { ...drawn, links: { ...links, lateUs: 0 } };
  yield { ...drawn, links: { ...links, ordered: true } };
  yield { ...drawn, control: { ...control, answerLost: 0 } };
  yield { ...drawn, control: { ...control, repeated: 0 } };
  yield { ...drawn, control: { ...control, watchUs: 500 } };
  yield { ...drawn, skewMs: drawn.skewMs.map(() => 0) };
  yield { ...drawn, retain: 0 };
  yield { ...drawn, zones: 1 };
  for (let buckets = 1; buckets < drawn.buckets; buckets += 1) yield { ...drawn, buckets };
  for (let clients = 1; clients < workload.clients; clients += 1) yield { ...drawn, workload: { ...workload, clients } };
  if (workload.everyMs * 3 < drawn.durationMs) yield { ...drawn, workload: { ...workload, everyMs: workload.everyMs * 3 } };
}

// One fault on one fresh cluster: the longest time without an answer that those who publish to it see, and whether what was answered is stored.

import { setTimeout as sleep } from "node:timers/promises";
import type { Observer } from "./observers.ts";

/** So long the worst gap is looked for, before the fault and after it: as long each, so that what a loaded machine does by itself shows in the one before. Milliseconds. */
const BEFORE_MS = 4000;
const AFTER_MS = 4000;
/** Answers must come again within this time; a longer gap is told as this one. */
const LONGEST_MS = 60_000;
/** A copy hears of the last commit this long after its leader at most. */
const FOLLOWED_MS = 10_000;
const WARM_ANSWERS = 100;
const AGAIN_ANSWERS = 5;

/** A cluster of three on this machine. */
export interface Trial {
  /** A device, or a publisher that sends at the same times; then others that see the same. None is connected to the node that is harmed. */
  readonly observers: readonly [Observer, ...Observer[]];
  harm(): Promise<void>;
  /** Messages that are stored of those that the first observer has published. */
  stored(): Promise<number>;
  /** Ends every process, in whatever state, and removes the data. */
  stop(): Promise<void>;
}

export interface Outcome {
  /** Longest gaps in milliseconds; one of `after` for each observer. */
  readonly before: number;
  readonly after: readonly number[];
  /** Messages that were answered and are not stored; undefined where no answers came again, so that nobody could be asked. */
  readonly lost: number | undefined;
}

export async function measure(start: () => Promise<Trial>): Promise<Outcome> {
  const { observers, harm, stored, stop } = await start();
  try {
    if (!(await flows(observers, WARM_ANSWERS))) throw new Error("No answers came before anything was done.");
    for (const { gap } of observers) gap.reset();
    await sleep(BEFORE_MS);
    const before = Math.max(...observers.map(({ gap }) => gap.longest));
    for (const { gap } of observers) gap.reset();
    await harm();
    await sleep(AFTER_MS);
    const isWell = await flows(observers, AGAIN_ANSWERS);
    const after = observers.map(({ gap }) => Math.min(gap.longest, LONGEST_MS));
    return { before, after, lost: isWell ? await missing(observers[0].gap.answers, stored) : undefined };
  } finally {
    await stop();
    await Promise.all(observers.map((observer) => observer.stop()));
  }
}

/** Whether each of them got so many more answers in time. */
async function flows(observers: readonly Observer[], more: number): Promise<boolean> {
  const wanted = observers.map(({ gap }) => gap.answers + more);
  const deadline = performance.now() + LONGEST_MS;
  while (observers.some(({ gap }, place) => gap.answers < wanted[place]!)) {
    if (performance.now() > deadline) return false;
    await sleep(2);
  }
  return true;
}

async function missing(answered: number, stored: () => Promise<number>): Promise<number> {
  const deadline = performance.now() + FOLLOWED_MS;
  for (;;) {
    const missing = answered - (await stored());
    if (missing <= 0) return 0;
    if (performance.now() > deadline) return missing;
    await sleep(20);
  }
}

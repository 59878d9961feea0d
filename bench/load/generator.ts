// Drives the lanes of a run: warm-up, measured seconds, the wait for the last answers, the count of what is stored.

import { setTimeout as sleep } from "node:timers/promises";

import type { Connection, Driver } from "./driver.ts";
import { Histogram } from "./histogram.ts";
import type { LoadPlan, LoadResult } from "./plan.ts";

/** Connections opened at the same time. */
const OPENING_AT_ONCE = 64;
/** Longest wait for the last answers, in milliseconds. */
const LAST_ANSWERS_MS = 30_000;
/** An open loop ends with an error when so many messages wait: the peer does not keep up with the rate. */
const MOST_UNANSWERED = 5_000_000;
/** The open loop sends what is due once each millisecond. */
const TICK_MS = 1;

export interface Progress {
  readonly phase: "warm-up" | "measuring" | "verifying";
  readonly secondsLeft: number;
  readonly perSecond: number;
  readonly unanswered: number;
  readonly p99: number;
}

/** One connection: knows when each unanswered message was sent, or was to be sent. */
class Lane {
  connection: Connection | undefined;
  published = 0;
  answered = 0;
  /** Open loop: messages whose time has come, those that wait for the window included. */
  due = 0;
  /** Sending times by number; open loops keep those of waiting messages too, so it grows where the peer does not keep up. */
  #times: Float64Array;

  constructor(inFlight: number) {
    this.#times = new Float64Array(2 ** Math.ceil(Math.log2(inFlight)));
  }

  timeOf(number: number): number {
    return this.#times[number & (this.#times.length - 1)]!;
  }

  setTime(number: number, time: number): void {
    if (number - this.answered >= this.#times.length) this.#grow();
    this.#times[number & (this.#times.length - 1)] = time;
  }

  #grow(): void {
    const old = this.#times;
    this.#times = new Float64Array(old.length * 2);
    for (let number = this.answered; number < this.answered + old.length; number += 1) {
      this.#times[number & (this.#times.length - 1)] = old[number & (old.length - 1)]!;
    }
  }
}

export async function generate(plan: LoadPlan, driver: Driver, report: (progress: Progress) => void, allAnswered = (): void => undefined): Promise<LoadResult> {
  const lanes = Array.from({ length: plan.connections }, () => new Lane(plan.inFlight));
  let latency = new Histogram();
  let measured = 0;
  let sending = true;
  let giveUp: (why: Error) => void = () => undefined;
  const broken = new Promise<never>((_, reject) => (giveUp = reject));
  broken.catch(() => undefined); // It is awaited below; until then it must not count as unhandled.

  const publish = (lane: Lane, count: number): void => {
    lane.published += count;
    lane.connection!.publish(count);
  };
  const publishAgain = (lane: Lane, count: number, now: number): void => {
    for (let number = lane.published; number < lane.published + count; number += 1) lane.setTime(number, now);
    publish(lane, count);
  };
  const publishDue = (lane: Lane): void => {
    const count = Math.min(lane.due, lane.answered + plan.inFlight) - lane.published;
    if (count > 0) publish(lane, count);
  };
  const answered = (lane: Lane, count: number): void => {
    const now = performance.now();
    if (lane.answered + count > lane.published) return giveUp(new Error("The peer answered more messages than were sent."));
    for (let number = lane.answered; number < lane.answered + count; number += 1) latency.record(now - lane.timeOf(number));
    lane.answered += count;
    measured += count;
    if (plan.rate > 0) publishDue(lane);
    else if (sending) publishAgain(lane, count, now);
  };

  for (let first = 0; first < lanes.length; first += OPENING_AT_ONCE) {
    const opening = lanes.slice(first, first + OPENING_AT_ONCE).map(async (lane, place) => {
      const failed = (why: string): void => giveUp(new Error(`Connection ${first + place}: ${why}`));
      lane.connection = await driver.connect(first + place, { answered: (count) => answered(lane, count), failed });
    });
    await Promise.race([Promise.all(opening), broken]);
  }

  const stopSending = plan.rate > 0 ? openLoop(plan.rate, lanes, publishDue) : (): void => void (sending = false);
  if (plan.rate === 0) for (const lane of lanes) publishAgain(lane, plan.inFlight, performance.now());

  const unanswered = (): number => lanes.reduce((sum, lane) => sum + Math.max(lane.due, lane.published) - lane.answered, 0);
  const run = async (phase: Progress["phase"], seconds: number): Promise<number> => {
    const started = performance.now();
    for (let left = seconds; left > 0; left -= 1) {
      const before = measured;
      await Promise.race([sleep(Math.min(left, 1) * 1000), broken]);
      if (unanswered() > MOST_UNANSWERED) throw new Error(`The peer does not keep up with ${plan.rate} messages/s: ${unanswered()} are unanswered.`);
      report({ phase, secondsLeft: Math.max(0, left - 1), perSecond: (measured - before) / Math.min(left, 1), unanswered: unanswered(), p99: latency.percentile(0.99) });
    }
    return (performance.now() - started) / 1000;
  };

  await run("warm-up", plan.warmUpSeconds);
  latency = new Histogram();
  measured = 0;
  const cpu = process.cpuUsage();
  const elapsed = await run("measuring", plan.seconds);
  const used = process.cpuUsage(cpu);
  const result = { answered: measured, perSecond: measured / elapsed, latency: latency.percentiles() };
  stopSending();

  for (let waited = 0; unanswered() > 0; waited += 20) {
    if (waited > LAST_ANSWERS_MS) throw new Error(`${unanswered()} messages were not answered within ${LAST_ANSWERS_MS / 1000} s after the run.`);
    await Promise.race([sleep(20), broken]);
  }
  allAnswered();
  for (const lane of lanes) lane.connection!.close();
  return { ...result, generatorCpu: (used.user + used.system) / 1e6 / elapsed, verified: await verify(plan, driver, lanes, report) };
}

/** Makes messages due at fixed times, evenly over the lanes. Their latency counts from then, so a slow answer hides no later one (coordinated omission). */
function openLoop(rate: number, lanes: readonly Lane[], publishDue: (lane: Lane) => void): () => void {
  const started = performance.now();
  let sent = 0;
  const timer = setInterval(() => {
    const tick = Math.floor((performance.now() - started) / TICK_MS);
    const wanted = Math.floor((tick * TICK_MS * rate) / 1000);
    const touched = new Set<Lane>();
    for (; sent < wanted; sent += 1) {
      const lane = lanes[sent % lanes.length]!;
      // The first tick at which it is due: after a stall the missed ticks' messages keep the times they should have gone out at.
      lane.setTime(lane.due, started + Math.ceil(((sent + 1) * 1000) / rate / TICK_MS) * TICK_MS);
      lane.due += 1;
      touched.add(lane);
    }
    for (const lane of touched) publishDue(lane);
  }, TICK_MS);
  return () => clearInterval(timer);
}

async function verify(plan: LoadPlan, driver: Driver, lanes: readonly Lane[], report: (progress: Progress) => void): Promise<LoadResult["verified"]> {
  if (driver.stored === undefined) return undefined;
  let found = 0;
  let answered = 0;
  for (const [number, lane] of lanes.entries()) {
    found += await driver.stored(number, lane.published);
    answered += lane.answered;
    if (number % 64 === 0) report({ phase: "verifying", secondsLeft: 0, perSecond: 0, unanswered: lanes.length - number, p99: 0 });
  }
  if (found !== answered) throw new Error(`${answered} messages were answered and ${found} are stored.`);
  return { answered, found, readBack: plan.readBack };
}

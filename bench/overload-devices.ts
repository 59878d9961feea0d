// Three-fold overload over devices: three times the rate of a closed loop right before it is due at fixed times, from three times as many devices, each with its credit window.
// What is not taken waits in the devices. Before it and right after it other devices publish at a gentle rate: it is over when they are answered as before.

import { setTimeout as sleep } from "node:timers/promises";

import { median } from "./figures.ts";
import { bellhopDriver } from "./load/bellhop.ts";
import type { Connection } from "./load/driver.ts";
import { Histogram } from "./load/histogram.ts";
import { runLoad } from "./load/launch.ts";
import { cpuSeconds } from "./machine.ts";
import type { LoadPlan } from "./load/plan.ts";
import type { Started } from "./processes.ts";

const PAYLOAD_BYTES = 128;
const IN_FLIGHT = 64;
const PEAK_DEVICES = 100;
const OVERLOAD_DEVICES = 300;
const GENTLE_DEVICES = 100;
const TIMES = 3;
/** As a share of the peak. */
const GENTLE = 0.3;
/** Measured, of the closed loop and of the overload, after 2 s and 1 s of warm-up. */
const SECONDS = 5;
const GENTLE_SECONDS = 6;
/** So long it is looked for that all is as before. */
const BACK_SECONDS = 15;
/** A second is as before when its p99 is at most so many times the one before. */
const AS_BEFORE = 2;
/** What is due is given to the connections so often, in milliseconds. */
const TICK_MS = 5;
const OPENING_AT_ONCE = 64;
const LAST_ANSWERS_MS = 30_000;

/** A closed loop and the overload right after it. */
export interface OverloadPair {
  /** Messages answered in a second. */
  readonly peak: number;
  readonly goodput: number;
  /** Processor time that the broker took for each of them, in microseconds. */
  readonly peakCpu: number;
  readonly cpu: number;
  /** Devices that were refused or cut off, and what the first was told. */
  readonly refused: number;
  readonly why: string;
  /** Messages that waited in the devices at its end. */
  readonly heldBack: number;
  /** Milliseconds from the connection's write to the answer, under overload. */
  readonly p99: number;
}

export interface DevicesOverload {
  readonly pairs: readonly OverloadPair[];
  /** Milliseconds from when a message was due, at the gentle rate: median of the seconds before, and of each second after; infinite where no answer came in it. */
  readonly gentleBefore: number;
  readonly gentleAfter: readonly number[];
  /** Seconds after the last overload until a second was as before; undefined: none was. */
  readonly backAfter: number | undefined;
  /** Messages that were answered, all of which were found. */
  readonly verified: number;
}

export async function measureDevicesOverload(server: Started, count: number): Promise<DevicesOverload> {
  const plan = (run: string, connections: number): LoadPlan => ({
    peer: "bellhop", at: server.at, httpAt: server.httpAt, run, connections, inFlight: IN_FLIGHT, payloadBytes: PAYLOAD_BYTES, rate: 0, warmUpSeconds: 2, seconds: SECONDS, readBack: false,
  });
  const gentle = await Offer.start(plan("before", GENTLE_DEVICES));
  const after = await Offer.start(plan("after", GENTLE_DEVICES)); // connected before, so that only the broker's state decides
  const pairs: OverloadPair[] = [];
  let verified = 0;
  let gentleBefore = 0;
  let gentleAfter: readonly number[] = [];
  for (let pair = 1; pair <= count; pair += 1) {
    const before = cpuSeconds(server.pid);
    let peakSeconds = 0;
    const alone = await runLoad(plan(`peak-${pair}`, PEAK_DEVICES), { answered: () => void (peakSeconds = cpuSeconds(server.pid) - before) });
    const peak = alone.perSecond;
    if (pair === 1) gentleBefore = median((await gentle.run(GENTLE * peak, GENTLE_SECONDS)).slice(1).map(p99FromDue));
    const over = await Offer.start(plan(`over-${pair}`, OVERLOAD_DEVICES));
    const started = cpuSeconds(server.pid);
    const seconds = await over.run(TIMES * peak, 1 + SECONDS);
    const answered = over.answered;
    pairs.push({
      peak, goodput: mean(seconds.slice(1).map((second) => second.answered)),
      peakCpu: (1e6 * peakSeconds) / alone.verified!.answered, cpu: (1e6 * (cpuSeconds(server.pid) - started)) / answered,
      refused: over.refused, why: over.why, heldBack: over.heldBack, p99: median(seconds.slice(1).map(({ fromWrite }) => fromWrite.percentile(0.99))),
    });
    over.close(); // The devices are gone, and with them what waited in them.
    if (pair === count) gentleAfter = (await after.run(GENTLE * median(pairs.map((one) => one.peak)), BACK_SECONDS)).map(p99FromDue);
    verified += alone.verified!.answered + (await over.verify());
  }
  for (const offer of [gentle, after]) {
    await offer.answeredAll();
    verified += await offer.verify();
  }
  const back = gentleAfter.findIndex((p99) => p99 <= AS_BEFORE * gentleBefore);
  return { pairs, gentleBefore, gentleAfter, backAfter: back < 0 ? undefined : back, verified };
}

interface Lane {
  /** Its turn among them: its messages are due at its own times. */
  readonly place: number;
  connection: Connection | undefined;
  due: number;
  published: number;
  answered: number;
  /** Of each message in flight, by its number. */
  readonly writtenAt: Float64Array;
}

interface Second {
  answered: number;
  readonly fromDue: Histogram;
  readonly fromWrite: Histogram;
}

/** Devices that publish at fixed times, whatever is answered, as far as their windows let them. */
class Offer {
  readonly #plan: LoadPlan;
  readonly #lanes: Lane[] = [];
  #second = newSecond();
  /** Since then so many messages are due in a millisecond on each lane. */
  #startedAt = 0;
  #perLane = 0;
  #closed = false;
  refused = 0;
  why = "";

  private constructor(plan: LoadPlan) {
    this.#plan = plan;
  }

  static async start(plan: LoadPlan): Promise<Offer> {
    const offer = new Offer(plan);
    const driver = bellhopDriver(plan);
    while (offer.#lanes.length < plan.connections) {
      const first = offer.#lanes.length;
      const some = Array.from({ length: Math.min(OPENING_AT_ONCE, plan.connections - first) }, (_, place) => newLane(first + place));
      offer.#lanes.push(...some);
      const connect = async (lane: Lane): Promise<void> => {
        const failed = (why: string): void => offer.#failed(lane, why);
        lane.connection = await driver.connect(lane.place, { answered: (count) => offer.#answered(lane, count), failed });
      };
      await Promise.all(some.map(connect));
    }
    return offer;
  }

  /** What was answered in each second. */
  async run(rate: number, seconds: number): Promise<readonly Second[]> {
    this.#startedAt = performance.now();
    this.#perLane = rate / 1000 / this.#plan.connections;
    this.#second = newSecond();
    const timer = setInterval(() => this.#tick(), TICK_MS);
    const done: Second[] = [];
    for (let since = this.#startedAt; done.length < seconds; ) {
      await sleep(this.#startedAt + (done.length + 1) * 1000 - performance.now());
      const now = performance.now();
      this.#second.answered /= (now - since) / 1000; // a loaded machine wakes up late
      since = now;
      done.push(this.#second);
      this.#second = newSecond();
    }
    clearInterval(timer);
    return done;
  }

  get answered(): number {
    return this.#lanes.reduce((sum, { answered }) => sum + answered, 0);
  }

  /** Messages whose time has come and that are not answered. */
  get heldBack(): number {
    return this.#lanes.reduce((sum, { due, answered }) => sum + due - answered, 0);
  }

  async answeredAll(): Promise<void> {
    const deadline = performance.now() + LAST_ANSWERS_MS;
    while (this.heldBack > 0) {
      if (performance.now() > deadline || this.refused > 0) throw new Error(`${this.heldBack} messages of ${this.#plan.run} were not answered; ${this.refused} devices were cut off ${this.why}`);
      await sleep(20);
    }
    this.close();
  }

  close(): void {
    this.#closed = true;
    for (const { connection } of this.#lanes) connection?.close();
  }

  /** @throws where something answered is not stored, or more is stored than was published; @returns messages answered */
  async verify(): Promise<number> {
    const { stored } = bellhopDriver(this.#plan);
    let sum = 0;
    for (const { place, answered, published } of this.#lanes) {
      const found = await stored!(place, answered);
      if (found < answered || found > published) throw new Error(`${this.#plan.run}-${place}: ${answered} of ${published} messages were answered and ${found} are stored.`);
      sum += answered;
    }
    return sum;
  }

  #tick(): void {
    const elapsed = performance.now() - this.#startedAt;
    for (const lane of this.#lanes) {
      lane.due = Math.floor(elapsed * this.#perLane + lane.place / this.#lanes.length);
      this.#publishDue(lane);
    }
  }

  #publishDue(lane: Lane): void {
    const count = Math.min(lane.due, lane.answered + IN_FLIGHT) - lane.published;
    if (count <= 0 || lane.connection === undefined || this.#closed) return;
    const now = performance.now();
    for (let number = lane.published; number < lane.published + count; number += 1) lane.writtenAt[number % IN_FLIGHT] = now;
    lane.published += count;
    lane.connection.publish(count);
  }

  #answered(lane: Lane, count: number): void {
    if (this.#closed) return;
    const now = performance.now();
    for (let number = lane.answered; number < lane.answered + count; number += 1) {
      this.#second.fromDue.record(now - this.#startedAt - (number + 1 - lane.place / this.#lanes.length) / this.#perLane);
      this.#second.fromWrite.record(now - lane.writtenAt[number % IN_FLIGHT]!);
    }
    lane.answered += count;
    this.#second.answered += count;
    this.#publishDue(lane);
  }

  #failed(lane: Lane, why: string): void {
    if (this.#closed) return;
    lane.connection = undefined;
    this.refused += 1;
    if (this.why === "") this.why = why;
  }
}

function newLane(place: number): Lane {
  return { place, connection: undefined, due: 0, published: 0, answered: 0, writtenAt: new Float64Array(IN_FLIGHT) };
}

function mean(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}

/** Infinite in a second without answers. */
function p99FromDue({ fromDue }: Second): number {
  return fromDue.total === 0 ? Infinity : fromDue.percentile(0.99);
}

function newSecond(): Second {
  return { answered: 0, fromDue: new Histogram(), fromWrite: new Histogram() };
}

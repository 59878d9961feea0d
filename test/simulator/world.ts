// Simulated time: runs one event after another, in the order of the heap, and hashes what it ran.

import { EventHeap, type Scheduled } from "./heap.ts";

/** Who an event belongs to: a process that may be paused, or has ended when `alive` is false. */
export interface Process {
  readonly name: string;
  readonly alive: boolean;
  /** Until this time (µs) its events wait. */
  readonly pausedUntil: number;
}

interface Event extends Scheduled {
  readonly process: Process | undefined;
  readonly kind: string;
  readonly detail: unknown;
  readonly run: () => void;
}

/** Names an invariant that does not hold. */
export class Violation extends Error {
  override readonly name = "Violation";
  readonly invariant: string;

  constructor(invariant: string, detail: string) {
    super(`invariant ${invariant}: ${detail}`);
    this.invariant = invariant;
  }
}

export function check(condition: boolean, invariant: string, detail: () => string): asserts condition {
  if (!condition) throw new Violation(invariant, detail());
}

export class World {
  /** Microseconds since the start. */
  now = 0;
  events = 0;
  hash = 0x811c9dc5;
  readonly #heap = new EventHeap<Event>();
  readonly #trace: ((line: string) => void) | undefined;

  constructor(trace: ((line: string) => void) | undefined) {
    this.#trace = trace;
  }

  /** Runs `run` after `delay` µs, unless its process has ended by then; a paused process gets it when it goes on. */
  after(delay: number, process: Process | undefined, kind: string, detail: unknown, run: () => void): void {
    this.#heap.push({ at: this.now + delay, sequence: 0, process, kind, detail, run });
  }

  /** Runs everything up to `until` µs; stops early when nothing is left or `enough` says so. */
  runUntil(until: number, maxEvents: number, enough: () => boolean = never): void {
    while (this.#heap.nextAt <= until && !enough()) {
      const event = this.#heap.pop()!;
      this.now = event.at;
      const process = event.process;
      if (process !== undefined) {
        if (!process.alive) continue;
        if (process.pausedUntil > this.now) {
          event.at = process.pausedUntil;
          this.#heap.push(event);
          continue;
        }
      }
      this.events += 1;
      check(this.events <= maxEvents, "19 (the cluster never comes to rest)", () => `more than ${maxEvents} events`);
      this.mix(event.at);
      this.mix(event.kind.length * 31 + event.kind.charCodeAt(0));
      if (process !== undefined) this.mix(process.name.charCodeAt(process.name.length - 1));
      if (this.#trace !== undefined) this.note(process?.name ?? "", event.kind, event.detail);
      event.run();
    }
    if (this.now < until && !enough()) this.now = until;
  }

  /** Adds a number to the trace hash. */
  mix(value: number): void {
    this.hash = Math.imul(this.hash ^ (value | 0), 0x01000193);
    this.hash ^= this.hash >>> 15;
  }

  /** A line of the trace. */
  note(who: string, kind: string, detail: unknown = ""): void {
    if (this.#trace === undefined) return;
    const text = typeof detail === "string" ? detail : JSON.stringify(detail, shorten);
    this.#trace(`${(this.now / 1000).toFixed(3).padStart(10)} ${who.padEnd(4)} ${kind.padEnd(14)} ${text}`);
  }
}

const never = (): boolean => false;

/** Keeps a line readable: bytes as their length, bigints as text. */
function shorten(_key: string, value: unknown): unknown {
  if (value instanceof Uint8Array) return `${value.length} bytes`;
  if (typeof value === "bigint") return value.toString();
  return value;
}

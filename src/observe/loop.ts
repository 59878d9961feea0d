// Watches the event loop: how late it comes to a timer, and a line in the log where something kept it for long.

import { TimeHistogram } from "../base/counts.ts";
import { SeldomLog, type Log } from "./log.ts";
import type { Readings } from "./metrics.ts";

const LOOK_MS = 20;
/** Late by so much, the loop was blocked: devices and requests have waited. */
export const BLOCKED_MS = 100;
/** Between two lines in the log: on a busy machine it happens all the time. */
const QUIET_MS = 60_000;
const OWN_HINT = "this process was busy with one step: see nodejs_gc_duration_seconds and bellhop_checkpoint_seconds, and whether payloads or documents are very large";
const ELSEWHERE_HINT = "this process had no processor meanwhile: it was stopped, or the machine is busy with others or with swapping";

export class LoopWatch {
  readonly #log: SeldomLog;
  readonly #delays = new TimeHistogram();
  readonly #timer: NodeJS.Timeout;
  #lookedAt = performance.now();
  #cpuMs = 0;
  #blocked = 0;

  constructor(log: Log) {
    this.#log = new SeldomLog(log, QUIET_MS);
    this.#timer = setInterval(() => this.#look(), LOOK_MS).unref();
  }

  stop(): void {
    clearInterval(this.#timer);
  }

  readings(): Readings<"loop_delay_seconds" | "loop_blocked_total"> {
    return { loop_delay_seconds: this.#delays, loop_blocked_total: this.#blocked };
  }

  #look(): void {
    const now = performance.now();
    const late = Math.max(0, now - this.#lookedAt - LOOK_MS);
    this.#lookedAt = now;
    this.#delays.record(late);
    const { user, system } = process.cpuUsage();
    const busyMs = (user + system) / 1000 - this.#cpuMs;
    this.#cpuMs += busyMs;
    if (late >= BLOCKED_MS) this.#tell(Math.round(late), busyMs);
  }

  /** @param busyMs processor time that this process had meanwhile */
  #tell(ms: number, busyMs: number): void {
    this.#blocked += 1;
    const hint = busyMs > ms / 2 ? OWN_HINT : ELSEWHERE_HINT;
    this.#log.write("warn", { code: "loop_blocked", ms }, `the event loop was blocked for ${ms} ms: ${hint}`);
  }
}

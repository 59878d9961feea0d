// The node's log: JSON lines with stable fields (docs/metrics.md, "Logs"), secrets redacted, repeats counted instead of written.

import { pino, type DestinationStream, type Logger } from "pino";

export type Log = Logger;

/** Never written, wherever they stand in a logged object. */
const SECRETS = ["authorization", "cookie", "token", "secret", "password", "key"];

/** @param level least severe level that is written, or `silent`. @param destination standard output unless given. */
export function createLog(level: string, node: string, destination?: DestinationStream): Log {
  const options = {
    level,
    base: { node },
    timestamp: () => `,"time":"${new Date().toISOString()}"`,
    formatters: { level: (label: string) => ({ level: label }) },
    redact: { paths: SECRETS.flatMap((name) => [name, `*.${name}`, `*.*.${name}`]), censor: "[redacted]" },
  };
  return destination === undefined ? pino(options) : pino(options, destination);
}

/** Equal lines of a RepeatedLog come this far apart. */
const AGAIN_MS = 60_000;
/** Lines that a RepeatedLog knows apart. */
const APART_MAX = 1000;

/** Writes equal lines at most once a minute. */
export class RepeatedLog {
  readonly #log: Log;
  readonly #toldAt = new Map<string, number>();

  constructor(log: Log) {
    this.#log = log;
  }

  /** @param now milliseconds of the monotonic clock */
  warn(fields: Readonly<Record<string, unknown>>, text: string, now = performance.now()): void {
    const line = JSON.stringify(fields) + text;
    if (now - (this.#toldAt.get(line) ?? -Infinity) < AGAIN_MS) return;
    for (const [other, at] of this.#toldAt) if (now - at >= AGAIN_MS || this.#toldAt.size >= APART_MAX) this.#toldAt.delete(other);
    this.#toldAt.set(line, now);
    this.#log.warn(fields, text);
  }
}

/** Between two lines of a kind that could come in masses. */
const QUIET_MS = 10_000;

/** Writes lines of one kind seldom; `more` of the next tells how many were left out. */
export class SeldomLog {
  readonly #log: Log;
  readonly #quietMs: number;
  #toldAt = -Infinity;
  #untold = 0;

  /** @param quietMs between two lines, at least, in milliseconds */
  constructor(log: Log, quietMs = QUIET_MS) {
    this.#log = log;
    this.#quietMs = quietMs;
  }

  /** @param now milliseconds of the monotonic clock */
  write(level: "warn" | "error", fields: Readonly<Record<string, unknown>>, text: string, now = performance.now()): void {
    if (now - this.#toldAt < this.#quietMs) {
      this.#untold += 1;
      return;
    }
    this.#log[level]({ ...fields, ...(this.#untold === 0 ? {} : { more: this.#untold }) }, text);
    this.#toldAt = now;
    this.#untold = 0;
  }
}

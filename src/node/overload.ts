// Sheds early (F5): while every request stands longer than it should, as behind a slow disk, new ones are refused at once and not after their deadline.
// After CoDel (RFC 8289): what counts is the least time of an interval, so that one slow bucket among quick ones refuses nothing.

/** Over such a time the least waiting is looked for. Milliseconds. */
const INTERVAL_MS = 500;
/** While it sheds, one request in such a time goes through, to find out whether it is over. Milliseconds. */
const PROBE_MS = 100;

export class Overload {
  readonly #targetMs: number;
  #waiting = 0;
  /** When an answer came last, or the first request after none. */
  #movedAt = 0;
  #least = Infinity;
  #intervalEnd = 0;
  /** The last whole interval had no answer within the target. */
  #stood = false;
  #probedAt = -Infinity;

  /** @param targetMs requests that are answered sooner do not stand. */
  constructor(targetMs: number) {
    this.#targetMs = targetMs;
  }

  /** A request comes; false: it is to be refused. @param now monotonic, in milliseconds, here and below. */
  takes(now: number): boolean {
    if (this.stands(now)) {
      if (now - this.#probedAt < PROBE_MS) return false;
      this.#probedAt = now;
    }
    if (this.#waiting === 0) {
      this.#movedAt = now;
      this.#stood = false;
    }
    this.#waiting += 1;
    return true;
  }

  /** One that was taken has its answer, whichever. */
  answered(since: number, now: number): void {
    this.#waiting -= 1;
    this.#movedAt = now;
    this.#least = Math.min(this.#least, now - since);
    if (now < this.#intervalEnd) return;
    this.#stood = this.#least > this.#targetMs;
    this.#least = Infinity;
    this.#intervalEnd = now + INTERVAL_MS;
  }

  /** Requests wait for longer than they should. */
  stands(now: number): boolean {
    return this.#waiting > 0 && (this.#stood || now - this.#movedAt > this.#targetMs);
  }
}

// How long one member alone keeps the others waiting: everyone else has the entries durably, this one has not (R6, B3).

/** Milliseconds between two looks after which the wait says more about the leader's own loop than about the member: as a share of the limit. */
const STALL_SHARE = 0.5;

export class Lag {
  readonly #slowMs: number;
  /** All others have up to here, seen at `#since`; 0 while it keeps nobody waiting. */
  #mark = 0;
  #since = 0;
  #lookedAt = -Infinity;
  /** The log's end at the last look. */
  #last = 0;
  #total = 0;
  /** Milliseconds for which it kept the others waiting, each time for the limit or longer, since it last was quicker than that. */
  heldBackMs = 0;

  /** @param slowMs a wait of fewer milliseconds is none */
  constructor(slowMs: number) {
    this.#slowMs = slowMs;
  }

  /**
   * Called at every tick.
   * @param match durable on this member · others: durable on every other one · last: the log's end
   */
  look(match: number, others: number, last: number, now: number): void {
    const grew = last > this.#last;
    this.#last = last;
    const stalled = now - this.#lookedAt >= this.#slowMs * STALL_SHARE;
    this.#lookedAt = now;
    if (stalled) this.#mark = 0; // R6: over a time in which its own loop stalled a node suspects nobody
    if (this.#mark > 0) {
      const waited = now - this.#since;
      const isSlow = waited >= this.#slowMs;
      if (match < this.#mark) {
        if (isSlow) this.heldBackMs = this.#total + waited;
        return;
      }
      this.#mark = 0;
      this.#total = isSlow ? this.#total + waited : 0;
    } else if (match > others || (match === last && grew)) this.#total = 0; // another is behind it, or it had what is new at once
    this.heldBackMs = this.#total;
    if (match >= others) return;
    this.#mark = others;
    this.#since = now;
  }
}

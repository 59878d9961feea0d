// How many HELLOs are taken in a second (A10): those above it are sent away with a slot of their own to come back in.

/** Slots are given this far ahead at most; beyond it they are drawn at random. Milliseconds. */
const FARTHEST_SLOT_MS = 60_000;

export class Admission {
  readonly #perMs: number;
  readonly #atOnce: number;
  #tokens: number;
  #filledAt = 0;
  #nextSlot = 0;

  /** @param perSecond HELLOs per second. @param atOnce HELLOs that may come together after a quiet time. */
  constructor(perSecond: number, atOnce: number) {
    this.#perMs = perSecond / 1000;
    this.#atOnce = atOnce;
    this.#tokens = atOnce;
  }

  /** 0: come in. Else milliseconds to wait. @param now monotonic, in milliseconds. @param chance 0 … 1. */
  take(now: number, chance: number): number {
    this.#tokens = Math.min(this.#atOnce, this.#tokens + (now - this.#filledAt) * this.#perMs);
    this.#filledAt = now;
    if (this.#tokens >= 1) {
      this.#tokens -= 1;
      return 0;
    }
    return this.slot(now, chance);
  }

  /** A slot to come back in: the next free one. */
  slot(now: number, chance: number): number {
    this.#nextSlot = Math.max(this.#nextSlot, now) + 1 / this.#perMs;
    const wait = this.#nextSlot - now;
    if (wait <= FARTHEST_SLOT_MS) return Math.ceil(wait);
    this.#nextSlot = now + FARTHEST_SLOT_MS;
    return Math.ceil(chance * FARTHEST_SLOT_MS);
  }
}

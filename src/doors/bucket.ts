// Rates: a token bucket for each of many keys, and how many keys are remembered.

/** Beyond them the one not used for longest is forgotten: only who has so many keys gains by that. */
const MOST_KEYS = 10_000;

interface Bucket {
  tokens: number;
  filledAt: number;
}

export class Buckets {
  readonly perSecond: number;
  readonly #byKey = new Map<string, Bucket>();

  /** @param perSecond tokens per second, and as many at once after a quiet second. 0: no limit. */
  constructor(perSecond: number) {
    this.perSecond = perSecond;
  }

  /** Takes one; below 0: there was none, and this is the time in milliseconds until there is one, negated. Else what is left. @param now monotonic, in milliseconds. */
  take(key: string, now: number): number {
    const perMs = this.perSecond / 1000;
    const bucket = this.#byKey.get(key) ?? { tokens: this.perSecond, filledAt: now };
    this.#byKey.delete(key); // to the end: the first is the one not used for longest
    this.#byKey.set(key, bucket);
    if (this.#byKey.size > MOST_KEYS) this.#byKey.delete(this.#byKey.keys().next().value!);
    bucket.tokens = Math.min(this.perSecond, bucket.tokens + (now - bucket.filledAt) * perMs);
    bucket.filledAt = now;
    if (bucket.tokens < 1) return -Math.max(1, Math.ceil((1 - bucket.tokens) / perMs));
    bucket.tokens -= 1;
    return Math.floor(bucket.tokens);
  }
}

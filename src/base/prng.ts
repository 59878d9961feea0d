// A small seeded source of chance (sfc32): the same seed gives the same numbers, on every machine. Not for secrets.

export class Prng {
  #a: number;
  #b: number;
  #c: number;
  #counter = 1;

  /** @param seed any safe integer; its upper and lower half both count. */
  constructor(seed: number) {
    this.#a = seed | 0;
    this.#b = Math.floor(seed / 2 ** 32) | 0;
    this.#c = 0x9e3779b9 | 0;
    for (let i = 0; i < 15; i += 1) this.uint32(); // spreads the seed over the whole state
  }

  /** 0 … 2³² − 1. */
  uint32(): number {
    const out = (((this.#a + this.#b) | 0) + this.#counter) | 0;
    this.#counter = (this.#counter + 1) | 0;
    this.#a = this.#b ^ (this.#b >>> 9);
    this.#b = (this.#c + (this.#c << 3)) | 0;
    this.#c = (((this.#c << 21) | (this.#c >>> 11)) + out) | 0;
    return out >>> 0;
  }

  /** 0 ≤ x < 1. */
  float(): number {
    return this.uint32() / 2 ** 32;
  }

  /** 0 … bound − 1. */
  below(bound: number): number {
    return Math.floor(this.float() * bound);
  }

  /** from … to, both included. */
  between(from: number, to: number): number {
    return from + this.below(to - from + 1);
  }

  /** True with this probability. */
  chance(probability: number): boolean {
    return this.float() < probability;
  }

  pick<T>(items: readonly T[]): T {
    return items[this.below(items.length)]!;
  }

  /** A source of its own for one purpose: drawing from it leaves this one's next numbers as they are. */
  fork(): Prng {
    return new Prng(this.uint32() * 2 ** 20 + (this.uint32() >>> 12));
  }
}

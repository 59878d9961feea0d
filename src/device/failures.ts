// Who named a wrong credential waits before the next one is looked at, twice as long each time. By address and device: many devices share an address.

const FIRST_MS = 1000;
const LONGEST_MS = 60_000;
/** Forgotten after this. */
const FORGET_MS = 600_000;
/** Beyond them the oldest is forgotten. */
const MOST_KNOWN = 10_000;

interface Failure {
  count: number;
  at: number;
}

export class Failures {
  readonly #known = new Map<string, Failure>();

  /** @param now monotonic, in milliseconds. */
  failed(address: string, device: string, now: number): void {
    const key = `${address} ${device}`;
    const before = this.#known.get(key);
    const count = before === undefined || now - before.at > FORGET_MS ? 1 : before.count + 1;
    this.#known.delete(key);
    this.#known.set(key, { count, at: now });
    if (this.#known.size > MOST_KNOWN) this.#known.delete(this.#known.keys().next().value!);
  }

  /** Milliseconds until the next is looked at; 0: now. */
  wait(address: string, device: string, now: number): number {
    if (this.#known.size === 0) return 0;
    const failure = this.#known.get(`${address} ${device}`);
    if (failure === undefined) return 0;
    const wait = failure.at + Math.min(LONGEST_MS, FIRST_MS * 2 ** (failure.count - 1)) - now;
    return Math.max(0, Math.ceil(wait));
  }

  succeeded(address: string, device: string): void {
    if (this.#known.size > 0) this.#known.delete(`${address} ${device}`);
  }
}

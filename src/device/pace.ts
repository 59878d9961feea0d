// How fast one device may publish (F5): what it sent above its rate is a debt, and it is not read until that is paid. So credit and the socket hold it back, not memory (A9).

/** What a device may send at once after a quiet time, as time at its rate. Milliseconds. */
const BURST_MS = 1000;
/** A single large message costs no more than this, so that the device need not think that the broker is gone. Milliseconds. */
const LONGEST_WAIT_MS = 10_000;

export class Pace {
  readonly #messagesPerMs: number;
  readonly #bytesPerMs: number;
  #messages = 0;
  #bytes = 0;
  #paidAt: number;

  /** Per second; 0: no limit. @param now monotonic, in milliseconds. */
  constructor(messagesPerSecond: number, bytesPerSecond: number, now: number) {
    this.#messagesPerMs = messagesPerSecond === 0 ? Infinity : messagesPerSecond / 1000;
    this.#bytesPerMs = bytesPerSecond === 0 ? Infinity : bytesPerSecond / 1000;
    this.#paidAt = now;
  }

  spend(bytes: number): void {
    this.#messages += 1;
    this.#bytes += bytes;
  }

  /** Milliseconds until the debt is paid; 0: read on. */
  wait(now: number): number {
    const passed = now - this.#paidAt;
    this.#paidAt = now;
    this.#messages = pay(this.#messages, passed, this.#messagesPerMs);
    this.#bytes = pay(this.#bytes, passed, this.#bytesPerMs);
    return Math.max(0, this.#messages / this.#messagesPerMs - BURST_MS, this.#bytes / this.#bytesPerMs - BURST_MS);
  }
}

function pay(debt: number, passed: number, perMs: number): number {
  if (perMs === Infinity) return 0;
  return Math.min(Math.max(0, debt - passed * perMs), (BURST_MS + LONGEST_WAIT_MS) * perMs);
}

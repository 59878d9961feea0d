// The list of brokers: one is used as long as it works; one that failed rests, and the next one's turn has come.

/** The first rest after a failure; it doubles with each failure in a row. Milliseconds. */
const REST_MS = 1000;
const MOST_REST_MS = 30_000;

export interface Broker {
  /** Without a slash at its end. */
  readonly url: string;
  failures: number;
  /** Monotonic, in milliseconds. */
  restsUntil: number;
  /** Its certificate was not accepted, the last time. */
  isUntrusted: boolean;
}

export class Brokers {
  readonly #list: readonly Broker[];
  #current: number;

  /**
   * Begins with any of them, so that many clients spread.
   * @param given `http://HOST:PORT`, `https://…` or `HOST:PORT`, which is http
   * @throws TypeError where there is none, or one is no address
   */
  constructor(given: readonly string[]) {
    if (given.length === 0) throw new TypeError("At least one broker must be named.");
    this.#list = given.map((address) => ({ url: urlOf(address), failures: 0, restsUntil: 0, isUntrusted: false }));
    this.#current = Math.floor(Math.random() * given.length);
  }

  /** The current one, or the first behind it that does not rest; when all rest, the one whose rest ends first. */
  next(now: number): Broker {
    const inTurn = [...this.#list.slice(this.#current), ...this.#list.slice(0, this.#current)];
    const awake = inTurn.find((broker) => broker.restsUntil <= now);
    const chosen = awake ?? inTurn.reduce((best, broker) => (broker.restsUntil < best.restsUntil ? broker : best));
    this.#current = this.#list.indexOf(chosen);
    return chosen;
  }

  worked(broker: Broker): void {
    broker.failures = 0;
    broker.isUntrusted = false;
  }

  /** True where none of the list is left whose certificate may be accepted. */
  distrust(broker: Broker): boolean {
    broker.isUntrusted = true;
    return this.#list.every(({ isUntrusted }) => isUntrusted);
  }

  failed(broker: Broker, now: number): void {
    broker.restsUntil = now + Math.min(MOST_REST_MS, REST_MS * 2 ** Math.min(broker.failures, 30));
    broker.failures += 1;
  }

  /** A broker named the one that leads: taken if it is in the list. An address from elsewhere never gets the key. */
  prefer(hint: string): void {
    const found = this.#list.findIndex(({ url }) => url === hint || new URL(url).host === hint);
    if (found !== -1) this.#current = found;
  }
}

function urlOf(address: string): string {
  const text = /^https?:\/\//.test(address) ? address : `http://${address}`;
  if (!URL.canParse(text)) throw new TypeError(`${JSON.stringify(address)} is not the address of a broker: write http://HOST:PORT or HOST:PORT.`);
  return text.replace(/\/+$/, "");
}

// A series of its own to one device (A3, A4): messages are stored in the order of the calls, several under way at once, whatever fails between.

import { jitter, pause } from "./backoff.ts";
import type { Calls } from "./calls.ts";
import { parseJson, recordOf } from "./entries.ts";
import { BellhopError, clientError, type Outcome } from "./errors.ts";
import { type Limited, limited } from "./limit.ts";
import { expiryText, packed, type Payload } from "./messages.ts";
import { devicePath } from "./path.ts";
import { askedFor } from "./publish.ts";

/** Requests of one publisher under way at once. What overtakes another on its way is refused as a gap and sent again, so that more would gain little. */
const MOST_UNDER_WAY = 8;
/** Messages that may wait in a publisher. */
const MOST_WAITING = 10_000;

export interface PublisherOptions {
  /** Tells it apart from others that publish to this device: opening the same name again takes the series over. 1 to 128 visible ASCII characters. */
  readonly name: string;
  /**
   * The nonce of a publisher of before, written down by the application: goes on with its series. What is published from `next` on must be what was
   * published there before, in the same order: a number that is stored already is answered as a duplicate, whatever it carries.
   */
  readonly nonce?: string;
  readonly signal?: AbortSignal;
}

export interface InSeries {
  readonly device: string;
  /** Undefined where it was stored before, and the broker does not keep the offset of its number. */
  readonly offset: string | undefined;
  readonly duplicate: boolean;
  readonly session: string;
  readonly series: string;
}

interface Item {
  readonly series: number;
  readonly body: string | Uint8Array<ArrayBuffer>;
  readonly headers: Readonly<Record<string, string>>;
  state: "waiting" | "under way" | "done";
  /** The first number that was open when it was sent last: all before were answered. 0: never sent. */
  firstWhenSent: number;
  /** The first number that was open when it was refused as a gap: it goes again when that one is done. */
  heldBy: number;
  readonly resolve: (stored: InSeries) => void;
  readonly reject: (error: BellhopError) => void;
}

/** @throws BellhopError `taken_over` where a greater nonce stands, and others */
export async function openPublisher(calls: Calls, device: string, { name, nonce, signal }: PublisherOptions): Promise<Publisher> {
  const path = `${devicePath(device)}/publishers`;
  const open = async (chosen: bigint | string): Promise<Publisher> => {
    const body = JSON.stringify({ publisher: name, nonce: String(chosen) });
    const answer = await calls.call({ method: "POST", path, headers: { "content-type": "application/json" }, body, device, signal });
    const opened = recordOf(parseJson(answer.text)) as unknown as Opened;
    return new Publisher(calls, opened, `${path}/${opened.session}/messages`, signal);
  };
  if (nonce !== undefined) return open(nonce);
  try {
    // Chosen here and not by the broker: however often it is sent, it opens one session (R25).
    return await open((BigInt(Date.now()) << 20n) | BigInt(Math.floor(Math.random() * 2 ** 20)));
  } catch (error) {
    // Whoever opened before had a clock ahead of this one.
    if (error instanceof BellhopError && error.nonce !== undefined) return open(BigInt(error.nonce) + 1n);
    throw error;
  }
}

interface Opened {
  readonly device: string;
  readonly session: string;
  readonly nonce: string;
  readonly next: string;
  readonly window: number;
}

export class Publisher {
  readonly device: string;
  readonly session: string;
  /** Written down and given again, it goes on with this series after a restart. */
  readonly nonce: string;
  /** The number of the first publish here: everything before is stored or was refused for good. 1 in a new series. */
  readonly next: number;
  readonly #calls: Calls;
  readonly #path: string;
  readonly #mostUnderWay: number;
  readonly #items: Item[] = []; // invariant: consecutive series; the first is not done
  readonly #whole: Limited;
  /** The number of the next publish. */
  #following: number;
  #failures = 0;
  #isPaused = false;
  #movedAt = performance.now();
  #ended: BellhopError | undefined;
  #whenEmpty: (() => void)[] = [];

  constructor(calls: Calls, { device, session, nonce, next, window }: Opened, path: string, signal: AbortSignal | undefined) {
    this.device = device;
    this.session = session;
    this.nonce = nonce;
    this.next = Number(next);
    this.#calls = calls;
    this.#path = path;
    this.#following = this.next;
    this.#mostUnderWay = Math.max(1, Math.min(MOST_UNDER_WAY, window));
    this.#whole = limited(signal, Infinity, () => clientError("aborted"));
    this.#whole.signal.addEventListener("abort", () => void this.#end(this.#whole.signal.reason as BellhopError), { once: true });
    if (this.#whole.signal.aborted) void this.#end(this.#whole.signal.reason as BellhopError);
  }

  /** Messages that are not stored yet. */
  get waiting(): number {
    return this.#items.length;
  }

  /**
   * Resolves once it is on the disk of every copy, behind all that was published here before.
   * @throws BellhopError of its own when it is refused for good (`too_large`, `expired` …), which stops no other; `queue_full`; and what ended the publisher:
   * `taken_over`, `timed_out` when nothing moved for the client's `forMs`, `aborted`, `closed`
   */
  publish(payload: Payload, options: { readonly contentType?: string; readonly expires?: number | Date } = {}): Promise<InSeries> {
    if (this.#ended !== undefined) return Promise.reject(this.#ended);
    if (this.#items.length >= MOST_WAITING) return Promise.reject(clientError("queue_full", `${MOST_WAITING} messages wait.`, { device: this.device }));
    const { body, contentType } = packed(payload, options.contentType);
    const headers = { "content-type": contentType, ...(options.expires === undefined ? {} : { "bellhop-expires": expiryText(options.expires) }) };
    return new Promise((resolve, reject) => {
      if (this.#items.length === 0) this.#movedAt = performance.now();
      this.#items.push({ series: this.#following, body, headers, state: "waiting", firstWhenSent: 0, heldBy: 0, resolve, reject });
      this.#following += 1;
      this.#send();
    });
  }

  /** Resolves when nothing waits any more; nothing further is taken. */
  async close(): Promise<void> {
    if (this.#items.length > 0) await new Promise<void>((resolve) => this.#whenEmpty.push(resolve));
    await this.#end(clientError("closed", "", { device: this.device }));
  }

  /** Sends what may go: the first numbers, in their order. */
  #send(): void {
    if (this.#isPaused || this.#ended !== undefined) return;
    const first = this.#items[0]?.series ?? 0;
    for (const item of this.#items.slice(0, this.#mostUnderWay)) {
      if (item.state !== "waiting" || (item.heldBy === first && item.series !== first)) continue;
      item.state = "under way";
      item.firstWhenSent = first;
      void this.#attempt(item);
    }
  }

  async #attempt(item: Item): Promise<void> {
    const path = `${this.#path}/${item.series}`;
    try {
      const answer = await this.#calls.call({ method: "PUT", path, headers: item.headers, body: item.body, device: this.device, signal: this.#whole.signal, once: true });
      const { offset, duplicate } = recordOf(parseJson(answer.text));
      item.resolve(this.#stored(item, typeof offset === "string" ? offset : undefined, duplicate === true));
      this.#isDone(item);
    } catch (error) {
      if (this.#ended === undefined) await this.#refused(item, error as BellhopError);
    }
  }

  #isDone(item: Item): void {
    item.state = "done";
    this.#failures = 0;
    this.#movedAt = performance.now();
    const open = this.#items.findIndex(({ state }) => state !== "done");
    this.#items.splice(0, open === -1 ? this.#items.length : open);
    if (this.#items.length === 0) for (const resolve of this.#whenEmpty.splice(0)) resolve();
    this.#send();
  }

  async #refused(item: Item, error: BellhopError): Promise<void> {
    item.state = "waiting";
    const first = this.#items[0]!.series;
    if (error.code === "gap") {
      // What is expected had been acknowledged before this was sent: the broker has lost it.
      if (Number(error.expected) < item.firstWhenSent) return this.#end(error);
      item.heldBy = first;
      this.#send();
    } else if (error.retryable) {
      await this.#rest(error);
    } else if (ENDS.has(error.code)) {
      return this.#end(error);
    } else {
      item.reject(error);
      this.#isDone(item); // the broker has spent its number on nothing
    }
  }

  /** One wait for all that failed together. */
  async #rest(error: BellhopError): Promise<void> {
    if (this.#isPaused) return;
    const { baseMs, mostMs, forMs } = this.#calls.settings;
    const waitMs = Math.max(jitter(baseMs, this.#failures, mostMs), error.retryAfterMs);
    if (performance.now() + waitMs >= this.#movedAt + forMs) {
      const detail = `Nothing moved for ${forMs} ms, or will; the last answer: ${error.message}`;
      return this.#end(clientError("timed_out", detail, { device: this.device, cause: error }));
    }
    this.#isPaused = true;
    this.#failures += 1;
    await pause(waitMs, this.#whole.signal).catch(() => undefined); // aborted: it has ended
    this.#isPaused = false;
    this.#send();
  }

  /** What still waits is rejected; when the time was over, each with what the broker says of it (A6). */
  async #end(error: BellhopError): Promise<void> {
    if (this.#ended !== undefined) return;
    this.#ended = error;
    this.#whole.end(error);
    this.#whole.done();
    const left = this.#items.splice(0).filter(({ state }) => state !== "done");
    if (error.code === "timed_out") await Promise.all(left.map((item) => this.#settle(item, error)));
    else for (const item of left) item.reject(error);
    for (const resolve of this.#whenEmpty.splice(0)) resolve();
  }

  async #settle(item: Item, error: BellhopError): Promise<void> {
    const unsent: Outcome = { is: "unsent" };
    const told = item.firstWhenSent > 0 ? await askedFor(this.#calls, `${this.#path}/${item.series}`, this.device, undefined) : unsent;
    if (told.is !== "stored") item.reject(error.with({ outcome: told }));
    else item.resolve(this.#stored(item, undefined, true));
  }

  #stored({ series }: Item, offset: string | undefined, duplicate: boolean): InSeries {
    return { device: this.device, offset, duplicate, session: this.session, series: String(series) };
  }
}

/** What ends the whole series, and not one message. */
const ENDS = new Set(["taken_over", "broken", "unauthenticated", "forbidden", "unknown_device", "not_found", "unsupported_version", "aborted"]);

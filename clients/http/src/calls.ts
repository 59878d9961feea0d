// One logical call: attempts at one broker after the other, with back-off between them, until it is answered, refused for good, aborted, or its time is over.

import { jitter, pause, retryAfterMs } from "./backoff.ts";
import { type Broker, Brokers } from "./brokers.ts";
import { BellhopError, clientError, problemError } from "./errors.ts";
import { Gate } from "./gate.ts";
import { type Limited, limited } from "./limit.ts";

/** An answer longer than this is not read. A page has at most the broker's `pageBytes` (4 MiB) of payloads. */
const MOST_ANSWER_BYTES = 512 * 1024 * 1024;
/** Of an answer that is an error only so much is read. */
const MOST_PROBLEM_BYTES = 64 * 1024;
/** Calls that may wait for their turn. */
const MOST_WAITING = 10_000;
const JSON_TYPE = /^application\/(?:[\w.-]+\+)?(?:x-)?(?:nd)?json\b/i;
/** Names the broker that leads the device's bucket, in an answer of one that does not. */
const LEADER_HEADER = "bellhop-leader";

/** What concerns one broker and not the whole cluster: it rests, and the next one is asked. */
const BROKER_ILL = new Set(["unreachable", "untrusted", "no_answer", "bad_answer", "stopping", "overloaded", "storage_full", "stale_table", "internal"]);

/** What the runtimes say of a certificate; no waiting makes it another one. */
const OF_CERTIFICATE = /certificate/i;

export interface CallSettings {
  readonly brokers: readonly string[];
  readonly key: string | undefined;
  readonly fetch: typeof fetch;
  readonly forMs: number;
  readonly attemptMs: number;
  readonly baseMs: number;
  readonly mostMs: number;
  readonly concurrency: number;
}

export interface Call {
  readonly method: "GET" | "POST" | "PUT" | "PATCH" | "DELETE";
  /** With its query. */
  readonly path: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string | Uint8Array<ArrayBuffer>;
  readonly signal?: AbortSignal | undefined;
  /** Other than the settings' time for the whole call. Milliseconds. */
  readonly forMs?: number;
  /** One attempt only: the caller decides what comes next. */
  readonly once?: boolean;
  /** What its errors are about. */
  readonly device?: string;
  readonly key?: string;
}

export interface Answer {
  readonly status: number;
  readonly headers: Headers;
  readonly text: string;
  /** Attempts that it took; of more than one, an earlier one may have been carried out too. */
  readonly attempts: number;
}

export class Calls {
  readonly settings: CallSettings;
  readonly #brokers: Brokers;
  readonly #gate: Gate;

  constructor(settings: CallSettings) {
    this.settings = settings;
    this.#brokers = new Brokers(settings.brokers);
    this.#gate = new Gate(settings.concurrency, MOST_WAITING);
  }

  /** Calls that wait for their turn, and requests under way. */
  get load(): { readonly waiting: number; readonly underWay: number } {
    return { waiting: this.#gate.waiting, underWay: this.#gate.inside };
  }

  /** @throws BellhopError when it is refused for good, aborted, or its time is over (`timed_out`, whose cause is the last failure) */
  async call(call: Call): Promise<Answer> {
    const { baseMs, mostMs } = this.settings;
    const forMs = call.forMs ?? this.settings.forMs;
    let last: BellhopError | undefined;
    let attempts = 0;
    const overdue = (): BellhopError => {
      const detail = `${forMs} ms, ${attempts} ${attempts === 1 ? "attempt" : "attempts"}${last === undefined ? "." : `; the last one: ${last.message}`}`;
      return clientError("timed_out", detail, { attempts, cause: last });
    };
    const whole = limited(call.signal, forMs, overdue);
    const endsAt = performance.now() + forMs;
    try {
      for (;;) {
        await this.#gate.enter(whole.signal);
        attempts += 1;
        try {
          return { ...(await this.#attempt(call, whole.signal)), attempts };
        } catch (error) {
          last = (error as BellhopError).with({ attempts });
        } finally {
          this.#gate.leave();
        }
        if (whole.signal.aborted || !last.retryable || call.once === true) throw last;
        const waitMs = Math.max(jitter(baseMs, attempts - 1, mostMs), last.retryAfterMs);
        if (performance.now() + waitMs >= endsAt) throw overdue();
        await pause(waitMs, whole.signal);
      }
    } catch (error) {
      throw errorOf(error, call, whole.signal);
    } finally {
      whole.done();
    }
  }

  /**
   * One attempt whose body is the caller's to read, as long as `connection` lasts; the time of an attempt ends it only before the headers are there.
   * @throws BellhopError
   */
  async open(call: Call, connection: Limited): Promise<ReadableStream<Uint8Array<ArrayBuffer>>> {
    const broker = this.#brokers.next(performance.now());
    const { attemptMs } = this.settings;
    const timer = setTimeout(() => connection.end(noAnswer(attemptMs, broker)), attemptMs);
    try {
      const response = await this.#send(broker, call, connection.signal);
      const type = response.headers.get("content-type") ?? "";
      if (!type.startsWith("text/event-stream") || response.body === null) {
        void response.body?.cancel();
        throw clientError("bad_answer", `${broker.url} answered with content type ${JSON.stringify(type)}.`, { status: response.status });
      }
      this.#brokers.worked(broker);
      return response.body;
    } catch (error) {
      throw this.#failed(broker, errorOf(error, call, connection.signal));
    } finally {
      clearTimeout(timer);
    }
  }

  async #attempt(call: Call, whole: AbortSignal): Promise<Omit<Answer, "attempts">> {
    const broker = this.#brokers.next(performance.now());
    const { attemptMs } = this.settings;
    const time = limited(whole, attemptMs, () => noAnswer(attemptMs, broker));
    try {
      const response = await this.#send(broker, call, time.signal);
      const text = await textOf(response, MOST_ANSWER_BYTES);
      const type = response.headers.get("content-type") ?? "";
      if (text !== "" && !JSON_TYPE.test(type)) throw clientError("bad_answer", `${broker.url} answered with content type ${JSON.stringify(type)}.`);
      this.#brokers.worked(broker);
      return { status: response.status, headers: response.headers, text };
    } catch (error) {
      throw this.#failed(broker, errorOf(error, call, time.signal));
    } finally {
      time.done();
    }
  }

  /** Rejects for every answer but success. */
  async #send(broker: Broker, call: Call, signal: AbortSignal): Promise<Response> {
    const { key, fetch: send } = this.settings;
    const headers = { ...call.headers, ...(key === undefined ? {} : { authorization: `Bearer ${key}` }) };
    const body = call.body === undefined ? {} : { body: call.body };
    const response = await send(broker.url + call.path, { method: call.method, headers, signal, redirect: "manual", ...body });
    if (response.ok) return response;
    this.#brokers.prefer(response.headers.get(LEADER_HEADER) ?? "");
    throw await problemOf(response);
  }

  #failed(broker: Broker, error: BellhopError): BellhopError {
    if (BROKER_ILL.has(error.code)) this.#brokers.failed(broker, performance.now());
    if (error.code !== "untrusted") return error;
    return error.with({ retryable: !this.#brokers.distrust(broker) });
  }
}

function noAnswer(ms: number, broker: Broker): BellhopError {
  return clientError("no_answer", `${broker.url} had ${ms} ms.`);
}

/** Whatever ended an attempt, as an error that says what it was about. */
function errorOf(error: unknown, { device, key }: Call, signal: AbortSignal): BellhopError {
  const reason: unknown = signal.aborted ? signal.reason : error;
  if (reason instanceof BellhopError) return reason.with({ device, key });
  const why = innermost(reason);
  return clientError(OF_CERTIFICATE.test(why) ? "untrusted" : "unreachable", why, { device, key, cause: reason });
}

/** fetch says "fetch failed" and hides why in the cause. */
function innermost(error: unknown): string {
  const cause = error instanceof Error ? error.cause : undefined;
  if (cause !== undefined) return innermost(cause);
  return error instanceof Error ? error.message : String(error);
}

async function problemOf(response: Response): Promise<BellhopError> {
  const { status, headers } = response;
  const facts = { status, retryAfterMs: retryAfterMs(headers.get("retry-after"), Date.now()) };
  const text = await textOf(response, MOST_PROBLEM_BYTES).catch(() => "");
  const problem = headers.get("content-type")?.startsWith("application/problem+json") === true ? objectOf(text) : {};
  // Else it is not a broker: a proxy in front of it, or something else altogether.
  const mayPass = status >= 500 || status === 429 || status === 408;
  return problemError(problem, facts) ?? clientError("bad_answer", `Status ${status}.`, { ...facts, retryable: mayPass });
}

function objectOf(text: string): Readonly<Record<string, unknown>> {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === "object" && value !== null ? (value as Record<string, unknown>) : {};
  } catch {
    return {};
  }
}

/** @throws BellhopError `bad_answer` when it is longer than `mostBytes` */
async function textOf(response: Response, mostBytes: number): Promise<string> {
  if (response.body === null) return "";
  const reader = response.body.getReader();
  const decoder = new TextDecoder();
  let text = "";
  let bytes = 0;
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return text + decoder.decode();
    bytes += value.length;
    if (bytes > mostBytes) {
      void reader.cancel();
      throw clientError("bad_answer", `It is longer than ${mostBytes} bytes.`);
    }
    text += decoder.decode(value, { stream: true });
  }
}

// Publishes: one message, or many in batches. Each has one key for all its attempts, and where the time is over the broker is asked what became of it (A6, A12).

import { jitter, pause } from "./backoff.ts";
import type { Calls } from "./calls.ts";
import { parseJson, recordOf } from "./entries.ts";
import { BellhopError, clientError, type Outcome, problemError } from "./errors.ts";
import { limited } from "./limit.ts";
import { expiryText, lineOf, type Message, type MessageOptions, packed, type Payload, type Stored } from "./messages.ts";
import { devicePath } from "./path.ts";

/** Asking what became of a publish takes at most so long, and no longer than the client's time for a call. Milliseconds. */
const SETTLE_MS = 5000;
/** A batch ends before either would be passed; one line alone may be longer. */
const BATCH_LINES = 1000;
const BATCH_CHARS = 256 * 1024;

export interface PublishOptions extends MessageOptions {
  readonly signal?: AbortSignal;
  /** Time for the whole call, all attempts together, instead of the client's. Milliseconds. */
  readonly forMs?: number;
}

export type Result = ({ readonly ok: true } & Stored) | { readonly ok: false; readonly device: string; readonly key: string; readonly error: BellhopError };

/** @throws BellhopError */
export async function publish(calls: Calls, device: string, payload: Payload, options: PublishOptions): Promise<Stored> {
  const key = options.key ?? crypto.randomUUID();
  if (options.headers !== undefined && Object.keys(options.headers).length > 0) {
    // A request's own headers are not the message's: a batch of one line carries these.
    const [result] = await publishMany(calls, [{ ...options, device, payload, key }], options);
    if (result!.ok) return result!;
    throw result!.error;
  }
  const { body, contentType } = packed(payload, options.contentType);
  const expires = options.expires === undefined ? undefined : { "bellhop-expires": expiryText(options.expires) };
  try {
    const answer = await calls.call({
      method: "POST",
      path: `${devicePath(device)}/messages`,
      headers: { "content-type": contentType, "idempotency-key": key, ...expires },
      body,
      device,
      key,
      signal: options.signal,
      ...(options.forMs === undefined ? {} : { forMs: options.forMs }),
    });
    const { offset, duplicate } = recordOf(parseJson(answer.text));
    return { device, offset: String(offset), duplicate: duplicate === true, key };
  } catch (error) {
    if (!(error instanceof BellhopError) || error.code !== "timed_out") throw error;
    return await settled(calls, device, key, error, options.signal);
  }
}

/**
 * A result for each message, in their order. Those that are refused with "not now" are sent again with their keys, for as long as the call may take.
 * A message that is sent again may come behind later ones: where the order matters, take a publisher.
 * @throws BellhopError only when it is aborted
 */
export async function publishMany(calls: Calls, messages: Iterable<Message>, options: { readonly signal?: AbortSignal; readonly forMs?: number }): Promise<Result[]> {
  const { forMs = calls.settings.forMs, signal } = options;
  const lines = Array.from(messages, (message) => {
    const key = message.key ?? crypto.randomUUID();
    return { device: message.device, key, text: lineOf(message, key) };
  });
  const results = new Array<Result | undefined>(lines.length);
  const whole = limited(signal, forMs, () => clientError("timed_out", `${forMs} ms.`));
  try {
    let open = lines.map((_, place) => place);
    for (let round = 0; open.length > 0; round += 1) {
      let waitMs = 0;
      for (const batch of batchesOf(open, lines)) {
        for (const { place, result } of await sendBatch(calls, batch, lines, whole.signal)) {
          results[place] = result;
          if (!result.ok) waitMs = Math.max(waitMs, result.error.retryAfterMs);
        }
      }
      open = open.filter((place) => mayTryAgain(results[place]!));
      if (open.length === 0 || whole.signal.aborted) break;
      await pause(Math.max(waitMs, jitter(calls.settings.baseMs, round, calls.settings.mostMs)), whole.signal).catch(() => undefined);
      if (whole.signal.aborted) break;
    }
  } finally {
    whole.done();
  }
  if (signal?.aborted === true) throw clientError("aborted", "", { cause: signal.reason });
  return await Promise.all(results.map((result) => lastWord(calls, result!, signal)));
}

interface Line {
  readonly device: string;
  readonly key: string;
  readonly text: string;
}

function mayTryAgain(result: Result): boolean {
  return !result.ok && result.error.retryable;
}

function* batchesOf(open: readonly number[], lines: readonly Line[]): Generator<number[]> {
  let batch: number[] = [];
  let chars = 0;
  for (const place of open) {
    const { length } = lines[place]!.text;
    if (batch.length > 0 && (batch.length === BATCH_LINES || chars + length > BATCH_CHARS)) {
      yield batch;
      batch = [];
      chars = 0;
    }
    batch.push(place);
    chars += length + 1;
  }
  if (batch.length > 0) yield batch;
}

/** One attempt. What fails as a whole fails for each of its lines; a batch that is too large goes in halves. */
async function sendBatch(calls: Calls, batch: readonly number[], lines: readonly Line[], signal: AbortSignal): Promise<{ readonly place: number; readonly result: Result }[]> {
  const body = batch.map((place) => lines[place]!.text).join("\n") + "\n";
  try {
    const answer = await calls.call({ method: "POST", path: "/v1/messages", headers: { "content-type": "application/x-ndjson" }, body, signal, once: true });
    const answers = answer.text.split("\n").filter((line) => line !== "");
    if (answers.length !== batch.length) throw clientError("bad_answer", `${answers.length} lines for ${batch.length}.`);
    return batch.map((place, line) => ({ place, result: resultOf(lines[place]!, recordOf(parseJson(answers[line]!))) }));
  } catch (thrown) {
    if (!(thrown instanceof BellhopError)) throw thrown;
    if (thrown.code === "too_large" && batch.length > 1) {
      const half = batch.length >> 1;
      const first = await sendBatch(calls, batch.slice(0, half), lines, signal);
      return [...first, ...(await sendBatch(calls, batch.slice(half), lines, signal))];
    }
    return batch.map((place) => ({ place, result: failure(lines[place]!, thrown) }));
  }
}

function resultOf(line: Line, answer: Readonly<Record<string, unknown>>): Result {
  const { offset, duplicate } = answer;
  const { device, key } = line;
  if (typeof offset === "string") return { ok: true, device, key, offset, duplicate: duplicate === true };
  return failure(line, problemError(answer) ?? clientError("bad_answer", "A line is neither stored nor refused."));
}

function failure({ device, key }: Line, error: BellhopError): Result {
  return { ok: false, device, key, error: error.with({ device, key }) };
}

/** Where the time was over: what the broker says of it. */
async function lastWord(calls: Calls, result: Result, signal: AbortSignal | undefined): Promise<Result> {
  if (result.ok || !result.error.retryable) return result;
  const { device, key, error } = result;
  try {
    const timedOut = error.code === "timed_out" ? error : clientError("timed_out", `The last answer: ${error.message}`, { device, key, cause: error });
    return { ok: true, ...(await settled(calls, device, key, timedOut, signal)) };
  } catch (thrown) {
    if (!(thrown instanceof BellhopError)) throw thrown;
    return { ok: false, device, key, error: thrown };
  }
}

/** Stored is no error. @throws the error, with what the broker says */
async function settled(calls: Calls, device: string, key: string, timedOut: BellhopError, signal: AbortSignal | undefined): Promise<Stored> {
  const path = `${devicePath(device)}/messages?key=${encodeURIComponent(key)}`;
  const told = await askedFor(calls, path, device, signal);
  if (told.is === "stored") return { device, offset: told.offset!, duplicate: true, key };
  throw timedOut.with({ outcome: told });
}

/** The offset of a number is not kept. */
type Told = Outcome | { readonly is: "stored"; readonly offset: string | undefined };

/** What the broker says of a key or a number (A6). */
export async function askedFor(calls: Calls, path: string, device: string, signal: AbortSignal | undefined): Promise<Told> {
  try {
    const answer = await calls.call({ method: "GET", path, device, signal, forMs: Math.min(SETTLE_MS, calls.settings.forMs) });
    const { is, offset, position } = recordOf(parseJson(answer.text));
    if (is === "stored") return { is, offset: typeof offset === "string" ? offset : undefined };
    if (is === "absent") return { is, position: String(position) };
    return { is: is === "forgotten" || is === "void" ? is : "unknown" };
  } catch (error) {
    if (error instanceof BellhopError && error.code !== "aborted") return { is: "unknown" };
    throw error;
  }
}

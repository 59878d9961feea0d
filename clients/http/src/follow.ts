// Follows server-sent events over any number of connections: after each cut it goes on behind the last event that was handed over.

import { jitter, pause } from "./backoff.ts";
import type { Call, Calls } from "./calls.ts";
import { BellhopError, clientError, problemError } from "./errors.ts";
import { parseJson, recordOf } from "./entries.ts";
import { type Limited, limited } from "./limit.ts";
import { EventReader, type ServerEvent } from "./sse.ts";

/** The broker sends something at least every 15 s: after so long without a byte the connection is taken for dead. Milliseconds. */
const SILENT_MS = 45_000;

export interface Interruption {
  readonly error: BellhopError;
  /** When the next attempt is made. Milliseconds. */
  readonly againInMs: number;
  /** Attempts in a row that brought no event. */
  readonly failures: number;
}

export interface FollowSettings {
  readonly signal?: AbortSignal | undefined;
  /** Told of every lost connection and every refusal that may pass. */
  readonly onInterruption?: ((interruption: Interruption) => void) | undefined;
  /** So long without a byte is taken for a dead connection, instead of 45,000. Milliseconds. */
  readonly silentMs?: number | undefined;
}

/**
 * Yields each event once, comments and mere ids too. Nothing is read ahead but what the runtime buffers: who takes nothing gets nothing sent.
 * Ends when the signal aborts; otherwise goes on for ever. `callFrom` makes the request that goes on behind a position, "" for the beginning.
 * @throws BellhopError that is not retryable
 */
export async function* followEvents(calls: Calls, callFrom: (position: string) => Call, settings: FollowSettings): AsyncGenerator<ServerEvent> {
  const { signal, onInterruption, silentMs = SILENT_MS } = settings;
  const { baseMs, mostMs } = calls.settings;
  const whole = limited(signal, Infinity, () => clientError("aborted"));
  let position = "";
  let failures = 0;
  let retryMs = baseMs;
  try {
    for (;;) {
      const connection = limited(whole.signal, Infinity, () => clientError("aborted"));
      const reader = new EventReader();
      let error: BellhopError;
      try {
        for await (const event of eventsOf(calls, callFrom(position), connection, reader, silentMs)) {
          failures = 0;
          if (event.event === "error") throw problemError(recordOf(parseJson(event.data))) ?? clientError("bad_answer", event.data);
          yield event;
          if (event.id !== "") position = event.id;
        }
        error = clientError("unreachable", "The broker ended the stream.");
      } catch (thrown) {
        if (!(thrown instanceof BellhopError)) throw thrown;
        error = thrown;
      } finally {
        connection.end(clientError("aborted"));
        connection.done();
      }
      if (whole.signal.aborted) return;
      if (!error.retryable) throw error;
      retryMs = reader.retryMs ?? retryMs;
      const againInMs = Math.max(jitter(retryMs, failures, mostMs), error.retryAfterMs);
      failures += 1;
      onInterruption?.({ error, againInMs, failures });
      await pause(againInMs, whole.signal).catch(() => undefined); // aborted: the loop's next look ends it
      if (whole.signal.aborted) return;
    }
  } finally {
    whole.done();
  }
}

/** The events of one connection, comments included. */
async function* eventsOf(calls: Calls, call: Call, connection: Limited, events: EventReader, silentMs: number): AsyncGenerator<ServerEvent> {
  const body = (await calls.open(call, connection)).getReader();
  const decoder = new TextDecoder();
  for (;;) {
    const { value, done } = await heard(body, connection, silentMs);
    if (done) return; // an event that was cut in half is left: it comes again
    yield* events.read(decoder.decode(value, { stream: true }));
  }
}

/** The next piece. The time counts only while one is waited for: an application may take as long as it likes. */
async function heard(body: ReadableStreamDefaultReader<Uint8Array>, connection: Limited, silentMs: number) {
  const timer = setTimeout(() => connection.end(clientError("no_answer", `Nothing came for ${silentMs} ms.`)), silentMs);
  try {
    return await body.read();
  } catch (error) {
    if (connection.signal.aborted) throw connection.signal.reason;
    throw clientError("unreachable", (error as Error).message, { cause: error });
  } finally {
    clearTimeout(timer);
  }
}

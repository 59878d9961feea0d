// Follows a stream as server-sent events: reads a page, writes it, waits until its reader has taken it, and then for what comes next.

import type { ServerResponse } from "node:http";
import { setImmediate as nextTurn } from "node:timers/promises";
import { BrokenInvariant } from "../base/assert.ts";
import { BellhopError } from "../base/errors.ts";
import type { EntryType } from "../node/api.ts";
import { READ_AGAIN_MS, type Arrival } from "./arrival.ts";
import type { HttpContext } from "./context.ts";
import { problemOf } from "./answers.ts";
import { beginEvents, COMMENT_MS, drained, RETRY_MS } from "./events.ts";

const NOTHING = Buffer.alloc(0);

export interface Followed {
  readonly device: string;
  readonly after: number;
  readonly types: readonly EntryType[] | undefined;
  /** Watches the stream already; closed at the end. */
  readonly arrival: Arrival;
  /** The key it was asked for with is revoked or has expired. */
  readonly ended: AbortSignal;
}

/** Resolves when the client has gone, reads too slowly, or the server stops. At most one page and the socket's own buffer wait unsent. */
export async function follow(context: HttpContext, response: ServerResponse, { device, after, types, arrival, ended }: Followed): Promise<void> {
  const gone = new AbortController();
  const leave = (): void => {
    gone.abort();
    arrival.stop();
  };
  response.on("close", leave);
  response.on("error", leave);
  const stop = (): void => arrival.stop();
  ended.addEventListener("abort", stop);
  context.stopping.addEventListener("abort", leave); // once for the follower, and not for each of its waits: a signal looks through all its listeners
  beginEvents(response);
  let position = after;
  let chunk: Buffer = Buffer.from(`retry: ${RETRY_MS}\n\n`);
  /** Where the stream ended when it was read; behind it there is nothing before the next arrival. undefined: it is to be read on. */
  let readTo: number | undefined;
  try {
    while (!gone.signal.aborted && !context.stopping.aborted) {
      if (ended.aborted) throw new BellhopError("unauthenticated", "The key was revoked or has expired.");
      if (chunk.length > 0 && !response.write(chunk) && !(await drained(response, gone.signal, ended))) break;
      chunk = NOTHING;
      if (readTo !== undefined) {
        // What is there but could not be read just now is read again soon.
        const quietMs = position < readTo ? READ_AGAIN_MS : COMMENT_MS;
        const came = await arrival.past(readTo, quietMs);
        if (!came && quietMs === COMMENT_MS) {
          if (!ended.aborted) chunk = Buffer.from(`: nothing for ${COMMENT_MS / 1000} s\nid: ${position}\n\n`);
          continue;
        }
      }
      const read = context.eventPages.read(device, position, types);
      const page = read instanceof Promise ? await read : read;
      const moved = page.next !== position;
      position = page.next;
      chunk = page.events;
      const isBehind = position < page.end || chunk.length === 0;
      readTo = moved && isBehind ? undefined : page.end;
      if (chunk.length === 0 && moved) await nextTurn(); // entries of other types were passed over, perhaps many
    }
  } catch (error) {
    const known = error instanceof BellhopError;
    if (error instanceof BrokenInvariant) context.node.fail(error);
    else if (!known) context.log.error({ err: error, device }, "follower failed");
    const problem = known ? problemOf(error.code, error.detail) : problemOf("internal", "");
    response.write(`event: error\ndata: ${JSON.stringify(problem)}\n\n`);
  } finally {
    context.stopping.removeEventListener("abort", leave);
    ended.removeEventListener("abort", stop);
    arrival.close();
    response.end();
  }
}

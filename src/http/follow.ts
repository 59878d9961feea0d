// Follows a stream as server-sent events: reads a page, writes it, waits until its reader has taken it, and then for what comes next.

import type { ServerResponse } from "node:http";
import { setImmediate as nextTurn } from "node:timers/promises";
import { BrokenInvariant } from "../base/assert.ts";
import { BellhopError } from "../base/errors.ts";
import type { EntryType, StreamPage } from "../node/api.ts";
import { READ_AGAIN_MS, type Arrival } from "./arrival.ts";
import type { HttpContext } from "./context.ts";
import { entryJson } from "./entry.ts";
import { problemOf } from "./answers.ts";
import { asLines, COMMENT_MS, drained, EVENT_HEADERS, RETRY_MS } from "./events.ts";

const PAGE_ENTRIES = 256;

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
  response.on("close", () => gone.abort());
  response.on("error", () => gone.abort());
  response.writeHead(200, EVENT_HEADERS);
  const select = { limit: PAGE_ENTRIES, maxBytes: context.settings.followerBytes, ...(types === undefined ? {} : { types }) };
  let position = after;
  let text = `retry: ${RETRY_MS}\n\n`;
  try {
    while (!gone.signal.aborted && !context.stopping.aborted) {
      if (ended.aborted) throw new BellhopError("unauthenticated", "The key was revoked or has expired.");
      if (text !== "" && !response.write(text) && !(await drained(response, gone.signal, ended))) break;
      const page = await context.node.read(device, { after: position, ...select });
      text = events(page);
      const moved = page.next !== position;
      position = page.next;
      if (text !== "") continue;
      if (moved) {
        await nextTurn(); // entries of other types were passed over, perhaps many
        continue;
      }
      // What is there but could not be read just now is read again soon.
      const quietMs = position < page.end ? READ_AGAIN_MS : COMMENT_MS;
      const came = await arrival.past(page.end, quietMs, gone.signal, context.stopping, ended);
      if (!came && !ended.aborted && quietMs === COMMENT_MS) text = `: nothing for ${COMMENT_MS / 1000} s\nid: ${position}\n\n`;
    }
  } catch (error) {
    const known = error instanceof BellhopError;
    if (error instanceof BrokenInvariant) context.node.fail(error);
    else if (!known) context.log.error({ err: error, device }, "follower failed");
    const problem = known ? problemOf(error.code, error.detail) : problemOf("internal", "");
    response.write(`event: error\ndata: ${JSON.stringify(problem)}\n\n`);
  } finally {
    arrival.close();
    response.end();
  }
}

function events(page: StreamPage): string {
  const { gap } = page;
  let text = gap === undefined ? "" : `id: ${gap.to}\nevent: gap\ndata: {"from":"${gap.from}","to":"${gap.to}"}\n\n`;
  for (const entry of page.entries) text += `id: ${entry.offset}\ndata: ${asLines(entryJson(entry))}\n\n`;
  return text;
}

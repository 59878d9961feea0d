// A device's whole stream as NDJSON: an entry a line, as fast as its reader takes them, up to the end as it was when it began.

import type { ServerResponse } from "node:http";
import { setTimeout as sleep } from "node:timers/promises";
import type { EntryType, StreamPage } from "../node/api.ts";
import { READ_AGAIN_MS } from "./arrival.ts";
import type { HttpContext } from "./context.ts";
import { entryJson } from "./entry.ts";
import { drained } from "./events.ts";

export const NDJSON_TYPE = "application/x-ndjson";
const PAGE_ENTRIES = 256;
/** Reads in a row that bring nothing before the export is given up. */
const STUCK_MAX = 50;

export interface Exported {
  readonly device: string;
  readonly after: number;
  readonly types: readonly EntryType[] | undefined;
  /** Read already, so that what is wrong can still be answered as a problem. */
  readonly first: StreamPage;
  /** The key it was asked for with is revoked or has expired. */
  readonly ended: AbortSignal;
}

/** Resolves when all is written or the client has gone; at most one page and the socket's buffer wait unsent. A failure cuts the connection: the last chunk is missing. */
export async function exportStream(context: HttpContext, response: ServerResponse, { device, after, types, first, ended }: Exported): Promise<void> {
  const { node, settings, log, followers, stopping } = context;
  const gone = new AbortController();
  response.on("close", () => gone.abort());
  response.on("error", () => gone.abort());
  response.writeHead(200, { "content-type": NDJSON_TYPE, "cache-control": "no-store" });
  const select = { limit: PAGE_ENTRIES, maxBytes: settings.followerBytes, ...(types === undefined ? {} : { types }) };
  const { end } = first;
  try {
    let page = first;
    let stuck = 0;
    for (let position = after; ; page = await node.read(device, { after: position, ...select })) {
      const text = lines(page, end);
      if (text !== "" && !response.write(text) && !(await drained(response, gone.signal, ended)) && !ended.aborted) return;
      if (gone.signal.aborted) return;
      if (ended.aborted) throw new Error("the key was revoked or has expired");
      if (stopping.aborted) throw new Error("the server stops");
      if (page.next >= end) break;
      stuck = page.next === position ? stuck + 1 : 0;
      if (page.end < end || stuck > STUCK_MAX) throw new Error(`the stream cannot be read on behind ${position}`); // removed meanwhile
      if (stuck > 0) await sleep(READ_AGAIN_MS);
      position = page.next;
    }
    response.end();
  } catch (error) {
    if (!stopping.aborted) log.error({ err: error, device }, "export failed");
    response.destroy();
  } finally {
    followers.release();
  }
}

/** What came after the export began is left for the next one. */
function lines(page: StreamPage, end: number): string {
  const { gap } = page;
  let text = gap === undefined ? "" : `{"gap":{"from":"${gap.from}","to":"${gap.to}"}}\n`;
  for (const entry of page.entries) if (entry.offset <= end) text += `${entryJson(entry).replace(/\r\n|\r|\n/g, " ")}\n`;
  return text;
}

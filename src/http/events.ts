// Server-sent events: their headers, how data is written, and waiting for a reader to take what it was sent.

import type { ServerResponse } from "node:http";

const EVENT_HEADERS = { "content-type": "text/event-stream; charset=utf-8", "cache-control": "no-store", "x-accel-buffering": "no", connection: "close" };
/** A comment at least this often keeps proxies from closing the connection and shows a dead one. */
export const COMMENT_MS = 15_000;
/** What a client that lost its connection waits before it comes back. */
export const RETRY_MS = 2000;
/** A reader that takes nothing for so long is let go; it comes back with Last-Event-ID. */
const SLOW_READER_MS = 30_000;

/** The head of events. They end with the connection: in chunks, each event would be four writes. */
export function beginEvents(response: ServerResponse): void {
  response.removeHeader("transfer-encoding");
  response.writeHead(200, EVENT_HEADERS);
}

/** Data of more than one line is written as several. */
export function asLines(data: string): string {
  if (!data.includes("\n") && !data.includes("\r")) return data;
  return data.replace(/\r\n|\r|\n/g, "\ndata: ");
}

/** True once the socket's buffer is empty again; false when a signal aborts or the reader is too slow, which destroys the connection. */
export function drained(response: ServerResponse, ...signals: readonly AbortSignal[]): Promise<boolean> {
  return new Promise((resolve) => {
    const settle = (ok: boolean): void => {
      clearTimeout(timer);
      response.off("drain", onDrain);
      for (const signal of signals) signal.removeEventListener("abort", onGone);
      resolve(ok);
    };
    const onDrain = (): void => settle(true);
    const onGone = (): void => settle(false);
    const timer = setTimeout(() => {
      response.destroy();
      settle(false);
    }, SLOW_READER_MS);
    response.on("drain", onDrain);
    for (const signal of signals) signal.addEventListener("abort", onGone);
  });
}

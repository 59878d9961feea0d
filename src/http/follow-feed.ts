// Follows the feed of all devices as server-sent events, as fast as its reader takes them. Also the wait of a long poll.

import type { ServerResponse } from "node:http";
import { setImmediate as nextTurn } from "node:timers/promises";
import { BrokenInvariant } from "../base/assert.ts";
import { BellhopError } from "../base/errors.ts";
import type { EntryType } from "../node/api.ts";
import type { Feed, FeedItem, FeedPosition } from "../node/feed.ts";
import { problemOf } from "./answers.ts";
import type { HttpContext } from "./context.ts";
import { entryJson } from "./entry.ts";
import { asLines, beginEvents, COMMENT_MS, drained, RETRY_MS } from "./events.ts";
import { positionText } from "./position.ts";

/** Whole positions are long where there are many buckets: one goes out at most so long after the last, and at the end of every burst. */
const POSITION_MS = 1000;
const PAGE_ITEMS = 256;

export interface FollowedFeed {
  readonly position: FeedPosition;
  readonly types: readonly EntryType[] | undefined;
  /** Watches already. */
  readonly arrival: FeedArrival;
  /** The key it was asked for with is revoked or has expired. */
  readonly ended: AbortSignal;
}

/** Resolves when the client has gone, reads too slowly, or the server stops. At most one page and the socket's own buffer wait unsent. */
export async function followFeed(context: HttpContext, response: ServerResponse, { position, types, arrival, ended }: FollowedFeed): Promise<void> {
  const gone = new AbortController();
  response.on("close", () => gone.abort());
  response.on("error", () => gone.abort());
  beginEvents(response);
  const { feed } = context.node;
  const limits = { items: PAGE_ITEMS, bytes: context.settings.followerBytes, types };
  let text = `retry: ${RETRY_MS}\nid: ${positionText(position)}\n\n`;
  let toldAt = performance.now();
  let isTold = true;
  try {
    while (!gone.signal.aborted && !context.stopping.aborted) {
      if (ended.aborted) throw new BellhopError("unauthenticated", "The key was revoked or has expired.");
      if (text !== "" && !response.write(text) && !(await drained(response, gone.signal, ended))) break;
      text = events(await feed.read(position, limits));
      if (text !== "") isTold = false;
      const atEnd = feed.isAtEnd(position);
      if (!isTold && (atEnd || performance.now() - toldAt >= POSITION_MS)) {
        text += `id: ${positionText(position)}\n\n`;
        toldAt = performance.now();
        isTold = true;
      }
      if (text !== "") continue;
      if (!atEnd) await nextTurn(); // what is not wanted was passed over, perhaps much
      else if (!(await arrival.next(feed, position, COMMENT_MS, gone.signal, context.stopping, ended)) && !ended.aborted) {
        text = `: nothing for ${COMMENT_MS / 1000} s\nid: ${positionText(position)}\n\n`;
      }
    }
  } catch (error) {
    const known = error instanceof BellhopError;
    if (error instanceof BrokenInvariant) context.node.fail(error);
    else if (!known) context.log.error({ err: error }, "feed failed");
    response.write(`event: error\ndata: ${JSON.stringify(known ? problemOf(error.code, error.detail) : problemOf("internal", ""))}\n\n`);
  } finally {
    arrival.close();
    response.end();
  }
}

/** Wakes one reader of the feed; takes a follower's place. */
export class FeedArrival {
  readonly #context: HttpContext;
  readonly #unwatch: () => void;
  #wake: (() => void) | undefined;

  /** Throws `overloaded` when there is no place. */
  constructor(context: HttpContext) {
    context.followers.take();
    this.#context = context;
    this.#unwatch = context.node.feed.watch(() => this.#wake?.());
  }

  /** Resolves with true when something stands behind the position, with false after `ms` or when a signal aborts. */
  async next(feed: Feed, position: FeedPosition, ms: number, ...signals: readonly AbortSignal[]): Promise<boolean> {
    if (!feed.isAtEnd(position)) return true;
    if (signals.some((signal) => signal.aborted)) return false;
    await new Promise<void>((resolve) => {
      const settle = (): void => {
        clearTimeout(timer);
        for (const signal of signals) signal.removeEventListener("abort", settle);
        this.#wake = undefined;
        resolve();
      };
      const timer = setTimeout(settle, ms);
      for (const signal of signals) signal.addEventListener("abort", settle, { once: true });
      this.#wake = settle;
    });
    return !feed.isAtEnd(position);
  }

  close(): void {
    this.#unwatch();
    this.#context.followers.release();
  }
}

function events(items: readonly FeedItem[]): string {
  let text = "";
  for (const item of items) {
    if (item.type === "entry") text += `data: ${asLines(feedEntryJson(item))}\n\n`;
    else text += `event: gap\ndata: ${JSON.stringify(gapOf(item))}\n\n`;
  }
  return text;
}

/** The entry as in a stream, with its device in front. */
export function feedEntryJson({ device, entry }: Extract<FeedItem, { type: "entry" }>): string {
  return `{"device":${JSON.stringify(device)},${entryJson(entry).slice(1)}`;
}

export function gapOf(item: Exclude<FeedItem, { type: "entry" }>) {
  return item.type === "bucketGap" ? { bucket: item.bucket, entries: item.entries } : { device: item.device, from: String(item.from), to: String(item.to) };
}

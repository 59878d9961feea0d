// GET /v1/feed: the entries of all devices, in order within each, from now or from a position; a page, a long poll, or all that come.

import { setImmediate as nextTurn } from "node:timers/promises";
import { Type } from "@fastify/type-provider-typebox";
import { BellhopError } from "../../base/errors.ts";
import type { FeedItem, FeedPosition } from "../../node/feed.ts";
import { sendJson } from "../answers.ts";
import type { HttpContext } from "../context.ts";
import { FeedArrival, feedEntryJson, followFeed, gapOf } from "../follow-feed.ts";
import { accepts } from "../headers.ts";
import { limitOf, PAGE_QUERY, typesOf, waitOf } from "../paging.ts";
import { positionOf, positionText } from "../position.ts";
import { FeedPage, PROBLEMS } from "../schemas.ts";
import type { Server } from "../server.ts";

export function feedRoutes(server: Server, context: HttpContext): void {
  const { node, settings, stopping, handlerTimeout } = context;
  const { feed } = node;

  server.get(
    "/v1/feed",
    {
      config: { role: "read" },
      handlerTimeout,
      schema: {
        operationId: "readFeed",
        summary: "Read or follow the entries of all devices",
        description:
          "In order within each device. With `Accept: text/event-stream` it follows. A position goes out at the end of every burst and at least once a second: " +
          "who comes back with Last-Event-ID gets again what came since, and misses nothing.",
        tags: ["streams"],
        produces: ["application/json", "text/event-stream"],
        querystring: Type.Object({
          after: Type.Optional(
            Type.String({ pattern: "^[\\w-]{1,15000}$", description: "A position: `next` of a page, the id of an event; `end` for what is still to come, `start` for all that is kept. Default `end`.", examples: ["start"] }),
          ),
          ...PAGE_QUERY,
        }),
        response: { 200: FeedPage, ...PROBLEMS },
      },
    },
    async (request, reply) => {
      const { query } = request;
      const types = typesOf(query.type);
      const wantsEvents = request.method === "GET" && accepts("text/event-stream", request.headers.accept);
      const position = start(wantsEvents ? lastEventId(request.headers["last-event-id"]) ?? query.after : query.after);
      if (wantsEvents) {
        const arrival = new FeedArrival(context);
        reply.hijack();
        void followFeed(context, reply.raw, { position, types, arrival, ended: request.access.ended });
        return reply;
      }

      const limits = { items: limitOf(query.limit, settings), bytes: settings.pageBytes, types };
      const waitMs = waitOf(query.wait, settings) * 1000;
      let items = await feed.read(position, limits);
      if (items.length === 0) items = await later(position, limits, waitMs, request.signal, request.access.ended);
      if (request.access.ended.aborted) throw new BellhopError("unauthenticated", "The key was revoked or has expired.");
      return sendJson(reply, pageJson(items, position));
    },
  );

  function start(after: string | undefined): FeedPosition {
    if (after === undefined || after === "end") return feed.end();
    if (after === "start") return feed.start();
    const position = positionOf(after);
    feed.check(position);
    return position;
  }

  /** Reads on until there is something, the time is over, the client has gone or the server stops. */
  async function later(position: FeedPosition, limits: Parameters<typeof feed.read>[1], waitMs: number, gone: AbortSignal, ended: AbortSignal): Promise<FeedItem[]> {
    const deadline = performance.now() + waitMs;
    const arrival = waitMs > 0 ? new FeedArrival(context) : undefined;
    try {
      for (;;) {
        const items = await feed.read(position, limits);
        const left = deadline - performance.now();
        if (items.length > 0 || gone.aborted || stopping.aborted || ended.aborted) return items;
        if (!feed.isAtEnd(position)) await nextTurn(); // what is not wanted was passed over, perhaps much
        else if (left <= 0 || arrival === undefined) return items;
        else await arrival.next(feed, position, left, gone, stopping, ended);
      }
    } finally {
      arrival?.close();
    }
  }
}

function lastEventId(header: string | string[] | undefined): string | undefined {
  if (header === undefined || header === "") return undefined;
  if (typeof header !== "string") throw new BellhopError("bad_request", "Last-Event-ID must be the id of an event of the feed.");
  return header;
}

function pageJson(items: readonly FeedItem[], position: FeedPosition): string {
  const entries = items.flatMap((item) => (item.type === "entry" ? feedEntryJson(item) : []));
  const gaps = items.flatMap((item) => (item.type === "entry" ? [] : gapOf(item)));
  return `{"entries":[${entries.join(",")}],${JSON.stringify({ gaps, next: positionText(position) }).slice(1)}`;
}

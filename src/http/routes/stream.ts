// GET /v1/devices/{device}/stream: a page of entries, a long poll for the next ones, or with `Accept: text/event-stream` all that come.

import { setImmediate as nextTurn } from "node:timers/promises";
import { Type } from "@fastify/type-provider-typebox";
import { BellhopError } from "../../base/errors.ts";
import type { ReadOptions, StreamPage } from "../../node/api.ts";
import { sendJson } from "../answers.ts";
import { Arrival, READ_AGAIN_MS } from "../arrival.ts";
import type { HttpContext } from "../context.ts";
import { entryJson } from "../entry.ts";
import { exportStream, NDJSON_TYPE } from "../export.ts";
import { follow } from "../follow.ts";
import { accepts } from "../headers.ts";
import { limitOf, PAGE_QUERY, typesOf, waitOf } from "../paging.ts";
import { DeviceParams, Page, PROBLEMS } from "../schemas.ts";
import type { Server } from "../server.ts";

const StreamQuery = Type.Object({
  after: Type.Optional(
    Type.String({ pattern: "^(?:\\d{1,15}|end)$", description: "Entries behind this offset; `end` for those still to come. Default 0.", examples: ["41"] }),
  ),
  ...PAGE_QUERY,
});

export function streamRoutes(server: Server, context: HttpContext): void {
  const { node, settings, stopping, followers, handlerTimeout } = context;

  /** Reads on from an empty page until there is something, the time is over, the client has gone or the server stops. */
  async function waitFor(first: StreamPage, device: string, options: ReadOptions, ms: number, ...gone: readonly AbortSignal[]): Promise<StreamPage> {
    const deadline = performance.now() + ms;
    const arrival = new Arrival(node, followers, device, options.types);
    try {
      let page = first;
      for (;;) {
        const after = page.next;
        page = await node.read(device, { ...options, after });
        const left = deadline - performance.now();
        if (!isEmpty(page) || left <= 0 || stopping.aborted || gone.some((signal) => signal.aborted)) return page;
        if (page.next > after) await nextTurn(); // entries of other types were passed over, perhaps many
        else await arrival.past(page.end, after < page.end ? Math.min(left, READ_AGAIN_MS) : left, stopping, ...gone);
      }
    } finally {
      arrival.close();
    }
  }

  server.get(
    "/v1/devices/:device/stream",
    {
      config: { role: "read" },
      handlerTimeout,
      schema: {
        operationId: "readStream",
        summary: "Read or follow a device's stream",
        description:
          "Entries in order. With `Accept: text/event-stream` it follows: `id` is a position for Last-Event-ID, " +
          "a `gap` event tells what is missing, a comment comes every 15 s. With `Accept: application/x-ndjson` the whole stream " +
          "comes, an entry a line, up to its end as it was.",
        tags: ["streams"],
        produces: ["application/json", "text/event-stream", NDJSON_TYPE],
        params: DeviceParams,
        querystring: StreamQuery,
        response: { 200: Page, ...PROBLEMS },
      },
    },
    async (request, reply) => {
      const { device } = request.params;
      const { query } = request;
      const types = typesOf(query.type);
      const { accept } = request.headers;
      if (request.method === "GET" && accepts("text/event-stream", accept)) {
        const after = await positionOf(context, device, lastEventId(request.headers["last-event-id"]) ?? query.after);
        const arrival = new Arrival(node, followers, device, types);
        reply.hijack();
        void follow(context, reply.raw, { device, after, types, arrival, ended: request.access.ended });
        return reply;
      }

      const after = await positionOf(context, device, query.after);
      if (request.method === "GET" && accepts(NDJSON_TYPE, accept)) {
        const first = await node.read(device, { after, limit: 1, maxBytes: settings.pageBytes, ...(types === undefined ? {} : { types }) });
        followers.take();
        reply.hijack();
        void exportStream(context, reply.raw, { device, after, types, first, ended: request.access.ended });
        return reply;
      }
      const limit = limitOf(query.limit, settings);
      const options = { after, limit, maxBytes: settings.pageBytes, ...(types === undefined ? {} : { types }) };
      const waitSeconds = waitOf(query.wait, settings);
      let page = await node.read(device, options);
      if (waitSeconds > 0 && isEmpty(page)) page = await waitFor(page, device, options, waitSeconds * 1000, request.signal, request.access.ended);
      if (request.access.ended.aborted) throw new BellhopError("unauthenticated", "The key was revoked or has expired.");
      return sendJson(reply, pageJson(page));
    },
  );
}

function isEmpty(page: StreamPage): boolean {
  return page.entries.length === 0 && page.gap === undefined;
}

async function positionOf(context: HttpContext, device: string, after: string | undefined): Promise<number> {
  return after === "end" ? ((await context.node.device(device))?.end ?? 0) : Number(after ?? 0);
}

function lastEventId(header: string | string[] | undefined): string | undefined {
  if (header === undefined || header === "") return undefined;
  if (typeof header !== "string" || !/^\d{1,15}$/.test(header)) {
    throw new BellhopError("bad_request", "Last-Event-ID must be the id of an event of this stream.");
  }
  return header;
}

function pageJson(page: StreamPage): string {
  const rest = {
    next: String(page.next),
    earliest: String(page.earliest),
    ...(page.gap === undefined ? {} : { gap: { from: String(page.gap.from), to: String(page.gap.to) } }),
  };
  return `{"entries":[${page.entries.map(entryJson).join(",")}],${JSON.stringify(rest).slice(1)}`;
}

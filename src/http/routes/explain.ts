// GET /v1/devices/{device}/explain: where a device's stream is, what waits for it and why, and what became of one offset or key.

import { Type } from "@fastify/type-provider-typebox";
import { BellhopError } from "../../base/errors.ts";
import type { DeviceView, StreamEntry } from "../../node/api.ts";
import { decodeBody } from "../../wire/body.ts";
import { sendJson } from "../answers.ts";
import { ask } from "../ask.ts";
import type { HttpContext } from "../context.ts";
import { entryJson } from "../entry.ts";
import { keyOf } from "../headers.ts";
import { DeviceParams, Explanation, PROBLEMS } from "../schemas.ts";
import type { Server } from "../server.ts";
import { deviceJson } from "./devices.ts";

export function explainRoutes(server: Server, context: HttpContext): void {
  const { node, settings, handlerTimeout } = context;

  server.get(
    "/v1/devices/:device/explain",
    {
      config: { role: "read" },
      handlerTimeout,
      schema: {
        operationId: "explainDevice",
        summary: "Where a device's stream is, who leads it, and what waits for it and why",
        tags: ["devices"],
        params: DeviceParams,
        querystring: Type.Object({
          offset: Type.Optional(Type.String({ pattern: "^[1-9]\\d{0,14}$", description: "Also explain this offset.", examples: ["17"] })),
          key: Type.Optional(Type.String({ description: "Also ask whether this idempotency key is stored; as in Idempotency-Key." })),
        }),
        response: { 200: Explanation, ...PROBLEMS },
      },
    },
    async (request, reply) => {
      const { device } = request.params;
      const { offset } = request.query;
      const key = request.query.key === undefined ? undefined : keyOf(request.query.key, "key");
      const view = await node.explain(device);
      if (view === undefined) throw new BellhopError("unknown_device");
      const { bucket, leader, epoch, members, window, followers, waits } = view;
      const positions = { commit: String(view.commit), applied: String(view.applied) };
      const parts = [JSON.stringify({ ...deviceJson(view), bucket, leader, epoch, members, window, followers, waits: waits ?? null, ...positions }).slice(1, -1)];
      if (offset !== undefined) parts.push(`"offset":${await explainedOffset(context, view, Number(offset))}`);
      if (key !== undefined) {
        const answer = await ask(node, { type: "askKey", device, key }, settings.publishSeconds * 1000);
        if (answer.type !== "told") throw new BellhopError("internal");
        parts.push(`"key":${JSON.stringify({ key, is: answer.is, offset: String(answer.offset), position: String(answer.position) })}`);
        if (offset === undefined && answer.is === "stored" && answer.offset > 0) parts.push(`"offset":${await explainedOffset(context, view, answer.offset)}`);
      }
      return sendJson(reply, `{${parts.join(",")}}`);
    },
  );
}

/** `stored` with its entry, its place in the log and what became of it, `forgotten` by retention, or `absent` so far. */
async function explainedOffset({ node, settings }: HttpContext, view: DeviceView, offset: number): Promise<string> {
  const { device } = view;
  const page = await node.read(device, { after: offset - 1, limit: 1, maxBytes: settings.pageBytes });
  const entry = page.entries[0];
  if (entry?.offset !== offset) return JSON.stringify({ offset: String(offset), is: offset > page.end ? "absent" : "forgotten" });
  const place = await node.place(device, offset);
  const became = entry.type === "downlink" ? downlinkBecame(view, entry) : {};
  const about = { offset: String(offset), is: "stored", ...(place === undefined ? {} : { bucket: place.bucket, index: String(place.index) }), ...became };
  return `${JSON.stringify(about).slice(0, -1)},"entry":${entryJson(entry)}}`;
}

/** The receive cursor is cumulative: what it has passed was delivered, or had expired before it could be. */
function downlinkBecame(view: DeviceView, { offset, body }: StreamEntry) {
  const { expires } = decodeBody(body);
  const delivered = offset <= view.delivered;
  const handled = offset <= view.handled;
  const expired = expires !== 0 && expires <= Date.now();
  const waits = delivered || expired ? null : view.connected ? "not_acknowledged" : "not_connected";
  return { delivered, handled, expired, waits };
}

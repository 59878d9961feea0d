// GET /v1/devices, /v1/devices/{device} and its explain: what the broker knows of a device, and what it waits for.

import { Type } from "@fastify/type-provider-typebox";
import { BellhopError } from "../../base/errors.ts";
import type { DeviceView } from "../../node/api.ts";
import { sendJson } from "../answers.ts";
import { ask } from "../ask.ts";
import type { HttpContext } from "../context.ts";
import { entryJson } from "../entry.ts";
import { keyOf } from "../headers.ts";
import { Device, DeviceParams, Explanation, PROBLEMS } from "../schemas.ts";
import { MAX_DEVICE_BYTES } from "../../wire/device.ts";
import type { Server } from "../server.ts";

const DEFAULT_LIMIT = 100;

export function deviceRoutes(server: Server, context: HttpContext): void {
  const { node, settings, handlerTimeout } = context;

  server.get(
    "/v1/devices",
    {
      config: { role: "read" },
      handlerTimeout,
      schema: {
        summary: "List the known devices by page",
        tags: ["devices"],
        querystring: Type.Object({
          after: Type.Optional(Type.String({ maxLength: MAX_DEVICE_BYTES, description: "Devices behind this one in the list's order." })),
          limit: Type.Optional(Type.Integer({ minimum: 1, description: `Default ${DEFAULT_LIMIT}; the setting pageEntries bounds it.` })),
        }),
        response: { 200: Type.Object({ devices: Type.Array(Device), next: Type.Union([Type.String(), Type.Null()]) }), ...PROBLEMS },
      },
    },
    async (request, reply) => {
      const limit = Math.min(request.query.limit ?? DEFAULT_LIMIT, settings.pageEntries);
      const views = node.devices(request.query.after ?? "", limit);
      const next = views.length < limit ? null : (views.at(-1)?.device ?? null);
      if (next !== null) void reply.header("link", `</v1/devices?after=${encodeURIComponent(next)}&limit=${limit}>; rel="next"`);
      return reply.send({ devices: views.map(deviceJson), next });
    },
  );

  server.get(
    "/v1/devices/:device",
    {
      config: { role: "read" },
      handlerTimeout,
      schema: {
        summary: "A device: presence, positions, session",
        tags: ["devices"],
        params: DeviceParams,
        response: { 200: Device, ...PROBLEMS },
      },
    },
    async (request, reply) => {
      const view = node.device(request.params.device);
      if (view === undefined) throw new BellhopError("unknown_device");
      return reply.send(deviceJson(view));
    },
  );

  server.get(
    "/v1/devices/:device/explain",
    {
      config: { role: "read" },
      handlerTimeout,
      schema: {
        summary: "Where a device's stream is, who leads it, and what waits for it and why",
        tags: ["devices"],
        params: DeviceParams,
        querystring: Type.Object({
          offset: Type.Optional(Type.String({ pattern: "^[1-9]\\d{0,14}$", description: "Also explain this offset." })),
          key: Type.Optional(Type.String({ description: "Also ask whether this idempotency key is stored; as in Idempotency-Key." })),
        }),
        response: { 200: Explanation, ...PROBLEMS },
      },
    },
    async (request, reply) => {
      const { device } = request.params;
      const { offset } = request.query;
      const key = request.query.key === undefined ? undefined : keyOf(request.query.key, "key");
      const parts = [JSON.stringify(explained(context, device)).slice(1, -1)];
      if (offset !== undefined) parts.push(`"offset":${await explainedOffset(context, device, Number(offset))}`);
      if (key !== undefined) {
        const answer = await ask(node, { type: "askKey", device, key }, settings.publishSeconds * 1000);
        if (answer.type !== "told") throw new BellhopError("internal");
        parts.push(`"key":${JSON.stringify({ key, is: answer.is, offset: String(answer.offset), position: String(answer.position) })}`);
      }
      return sendJson(reply, `{${parts.join(",")}}`);
    },
  );
}

function deviceJson(view: DeviceView) {
  return {
    device: view.device,
    connected: view.connected,
    end: String(view.end),
    earliest: String(view.earliest),
    delivered: String(view.delivered),
    handled: String(view.handled),
    session: String(view.session),
    lastSeries: String(view.lastSeries),
    lastTime: view.lastTime === 0 ? null : new Date(view.lastTime).toISOString(),
  };
}

function explained({ node }: HttpContext, device: string) {
  const view = node.explain(device);
  if (view === undefined) throw new BellhopError("unknown_device");
  const { bucket, leader, epoch, members, window, followers, waits } = view;
  const positions = { commit: String(view.commit), applied: String(view.applied) };
  return { ...deviceJson(view), bucket, leader, epoch, members, window, followers, waits: waits ?? null, ...positions };
}

/** `stored` with its entry, `forgotten` by retention, or `absent` so far. */
async function explainedOffset({ node, settings }: HttpContext, device: string, offset: number): Promise<string> {
  const page = await node.read(device, { after: offset - 1, limit: 1, maxBytes: settings.pageBytes });
  const entry = page.entries[0];
  const head = `{"offset":"${offset}"`;
  if (entry?.offset === offset) return `${head},"is":"stored","entry":${entryJson(entry)}}`;
  return `${head},"is":"${offset > page.end ? "absent" : "forgotten"}"}`;
}

// GET /v1/devices, and GET, PUT, DELETE /v1/devices/{device}: the known devices, what the broker knows of one, how much of its stream it keeps, and its end.

import { Type } from "@fastify/type-provider-typebox";
import { BellhopError } from "../../base/errors.ts";
import type { DeviceView } from "../../node/api.ts";
import { MAX_DEVICE_BYTES } from "../../wire/device.ts";
import { ask } from "../ask.ts";
import type { HttpContext } from "../context.ts";
import { LIMIT, limitOf } from "../paging.ts";
import { Device, DeviceParams, PROBLEMS } from "../schemas.ts";
import type { Server } from "../server.ts";

const RETAIN_SECONDS_MAX = 3650 * 24 * 3600;
const RETAIN_ENTRIES_MAX = 1_000_000_000;
/** Bytes of a device's settings. */
const SETTINGS_BYTES = 4096;

const DeviceSettings = {
  retainSeconds: { max: RETAIN_SECONDS_MAX },
  retainEntries: { max: RETAIN_ENTRIES_MAX },
} as const;

export function deviceRoutes(server: Server, context: HttpContext): void {
  const { node, settings, handlerTimeout } = context;
  const deadlineMs = settings.publishSeconds * 1000;

  server.get(
    "/v1/devices",
    {
      config: { role: "read" },
      handlerTimeout,
      schema: {
        operationId: "listDevices",
        summary: "List the known devices by page",
        description: "A page may hold fewer devices than `limit`, or none, and not be the last: go on until `next` is null.",
        tags: ["devices"],
        querystring: Type.Object({
          after: Type.Optional(Type.String({ maxLength: MAX_DEVICE_BYTES, description: "Devices behind this one in the list's order." })),
          limit: LIMIT,
          prefix: Type.Optional(Type.String({ maxLength: MAX_DEVICE_BYTES, description: "Only devices whose id begins so.", examples: ["lamp-"] })),
        }),
        response: { 200: Type.Object({ devices: Type.Array(Device), next: Type.Union([Type.String(), Type.Null()]) }), ...PROBLEMS },
      },
    },
    async (request, reply) => {
      const { after = "", prefix = "" } = request.query;
      const limit = limitOf(request.query.limit, settings);
      const { devices, next = null } = await node.devices(after, limit, prefix);
      if (next !== null) {
        const query = new URLSearchParams({ after: next, limit: String(limit), ...(prefix === "" ? {} : { prefix }) });
        void reply.header("link", `</v1/devices?${query.toString()}>; rel="next"`);
      }
      return reply.send({ devices: devices.map(deviceJson), next });
    },
  );

  server.get(
    "/v1/devices/:device",
    {
      config: { role: "read" },
      handlerTimeout,
      schema: {
        operationId: "getDevice",
        summary: "A device: presence, positions, session, retention",
        tags: ["devices"],
        params: DeviceParams,
        response: { 200: Device, ...PROBLEMS },
      },
    },
    async (request, reply) => reply.send(await known(context, request.params.device)),
  );

  server.put(
    "/v1/devices/:device",
    {
      config: { role: "admin" },
      handlerTimeout,
      bodyLimit: SETTINGS_BYTES,
      schema: {
        operationId: "putDevice",
        summary: "Make a device known, and say how much of its stream is kept",
        description: "Body: a JSON object with `retainSeconds` and `retainEntries`; one that is absent or null is the broker's. Without a body a known device keeps what it has.",
        tags: ["devices"],
        consumes: ["application/json"],
        params: DeviceParams,
        body: Type.Unknown({ description: "`{\"retainSeconds\": 86400, \"retainEntries\": 1000}`, or nothing.", examples: [{ retainSeconds: 86_400, retainEntries: 1000 }] }),
        response: { 200: Device, 201: Device, ...PROBLEMS },
      },
    },
    async (request, reply) => {
      const { device } = request.params;
      const retain = retainOf(request.body);
      const isNew = (await node.device(device)) === undefined;
      await ask(node, { type: "create", device, ...(retain === undefined ? {} : { retain }) }, deadlineMs);
      return reply.code(isNew ? 201 : 200).send(await known(context, device));
    },
  );

  server.delete(
    "/v1/devices/:device",
    {
      config: { role: "admin" },
      handlerTimeout,
      schema: {
        operationId: "removeDevice",
        summary: "Remove a device with its stream, state, sessions and keys",
        description: "Its connection and followers are told `removed`. Its bytes leave the log's files soon after; a device of its name begins anew at offset 1.",
        tags: ["devices"],
        params: DeviceParams,
        response: { 204: Type.Null({ description: "It is gone." }), ...PROBLEMS },
      },
    },
    async (request, reply) => {
      await ask(node, { type: "remove", device: request.params.device }, deadlineMs);
      return reply.code(204).send(null);
    },
  );
}

async function known({ node }: HttpContext, device: string) {
  const view = await node.device(device);
  if (view === undefined) throw new BellhopError("unknown_device");
  return deviceJson(view);
}

export function deviceJson(view: DeviceView) {
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
    retainSeconds: view.retain.seconds === 0 ? null : view.retain.seconds,
    retainEntries: view.retain.entries === 0 ? null : view.retain.entries,
  };
}

/** undefined without a body. @throws BellhopError `bad_request` */
function retainOf(body: unknown): { readonly seconds: number; readonly entries: number } | undefined {
  if (!Buffer.isBuffer(body) || body.length === 0) return undefined;
  let value: unknown;
  try {
    value = JSON.parse(body.toString("utf8"));
  } catch (error) {
    throw new BellhopError("bad_request", `The body is not JSON: ${(error as Error).message}.`);
  }
  if (typeof value !== "object" || value === null || Array.isArray(value)) throw new BellhopError("bad_request", "The body must be a JSON object.");
  for (const name of Object.keys(value)) {
    if (!Object.hasOwn(DeviceSettings, name)) throw new BellhopError("bad_request", `${JSON.stringify(name)} is no setting of a device; there are ${Object.keys(DeviceSettings).join(", ")}.`);
  }
  const settings = value as Partial<Record<keyof typeof DeviceSettings, unknown>>;
  return { seconds: numberOf(settings, "retainSeconds"), entries: numberOf(settings, "retainEntries") };
}

function numberOf(settings: Partial<Record<keyof typeof DeviceSettings, unknown>>, name: keyof typeof DeviceSettings): number {
  const value = settings[name] ?? 0;
  const { max } = DeviceSettings[name];
  if (value === 0 && settings[name] !== 0) return 0;
  if (typeof value !== "number" || !Number.isInteger(value) || value < 1 || value > max) {
    throw new BellhopError("bad_request", `${name} must be a whole number from 1 to ${max}, or null for the broker's.`);
  }
  return value;
}

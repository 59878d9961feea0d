// /v1/keys: the API keys; each is shown once, when it is made.

import { randomBytes } from "node:crypto";
import { Type } from "@fastify/type-provider-typebox";
import { BellhopError } from "../../base/errors.ts";
import { SECRET_BYTES, writeSecret } from "../../base/secret.ts";
import { MOST_KEYS, type ApiKey } from "../../core/table/keys.ts";
import { sha256 } from "../auth.ts";
import { membersOf } from "../body.ts";
import type { HttpContext } from "../context.ts";
import type { Role } from "../roles.ts";
import { Named, NAME, PROBLEMS } from "../schemas.ts";
import type { Server } from "../server.ts";

const ROLES: readonly Role[] = ["read", "publish", "admin"];
const MEMBERS = ["name", "role", "devices", "expires"];
const PREFIX_BYTES = 128;

const Key = Type.Object({
  name: Type.String(),
  role: Type.Union([Type.Literal("read"), Type.Literal("publish"), Type.Literal("admin")]),
  devices: Type.String({ description: "Only devices whose id begins with this, and calls that name one; empty: all." }),
  created: Type.String({ format: "date-time" }),
  expires: Type.Union([Type.String({ format: "date-time" }), Type.Null()]),
});

export function keyRoutes(server: Server, { node, log, handlerTimeout }: HttpContext): void {
  server.post(
    "/v1/keys",
    {
      config: { role: "admin" },
      handlerTimeout,
      schema: {
        operationId: "makeKey",
        summary: "Make an API key",
        description:
          `The answer shows the key; afterwards only its SHA-256 is known. There are ${MOST_KEYS} at most. Body: ` +
          "`{\"name\": \"billing\", \"role\": \"read\", \"devices\": \"lamp-\", \"expires\": \"2030-01-31T12:00:00Z\"}`; the last two may be left out.",
        tags: ["credentials"],
        body: Type.Unknown({ description: "`name`; `role`: read, publish (may read too) or admin; `devices`: a prefix of device ids; `expires`: a time.", examples: [{ name: "billing", role: "read", devices: "lamp-", expires: "2030-01-31T12:00:00Z" }] }),
        response: { 201: Type.Object({ ...Key.properties, key: Type.String() }), ...PROBLEMS },
      },
    },
    async (request, reply) => {
      const secret = writeSecret("bhk", randomBytes(SECRET_BYTES));
      const key = keyIn(request.body, sha256(secret));
      await node.keys.put(key);
      log.info({ code: "key_made", name: key.name, role: key.role, by: request.access.name }, "an API key was made");
      return reply.code(201).header("cache-control", "no-store").send({ ...told(key), key: secret });
    },
  );

  server.get(
    "/v1/keys",
    {
      config: { role: "admin" },
      handlerTimeout,
      schema: { operationId: "listKeys", summary: "List the API keys, by name", tags: ["credentials"], response: { 200: Type.Object({ keys: Type.Array(Key) }), ...PROBLEMS } },
    },
    async (_request, reply) => reply.send({ keys: [...node.keys.all.values()].map(told).sort((a, b) => (a.name < b.name ? -1 : 1)) }),
  );

  server.delete(
    "/v1/keys/:name",
    {
      config: { role: "admin" },
      handlerTimeout,
      schema: {
        operationId: "revokeKey",
        summary: "Revoke an API key: what lives by it ends",
        tags: ["credentials"],
        params: Type.Object({ name: Named }),
        response: { 204: Type.Null({ description: "It is revoked." }), ...PROBLEMS },
      },
    },
    async (request, reply) => {
      const { name } = request.params;
      await node.keys.remove(name);
      log.info({ code: "key_revoked", name, by: request.access.name }, "an API key was revoked");
      return reply.code(204).send(null);
    },
  );
}

function keyIn(body: unknown, digest: string): ApiKey {
  const { name, role, devices = "", expires } = membersOf(body, MEMBERS);
  if (typeof name !== "string" || !NAME.test(name)) throw new BellhopError("bad_request", "name has 1 to 63 of a–z, 0–9, . _ and -, and begins with a letter or digit.");
  if (!ROLES.some((known) => known === role)) throw new BellhopError("bad_request", `role is one of ${ROLES.join(", ")}.`);
  if (typeof devices !== "string" || Buffer.byteLength(devices) > PREFIX_BYTES) throw new BellhopError("bad_request", `devices is a prefix of at most ${PREFIX_BYTES} bytes.`);
  return { name, digest, role: role as Role, devices, created: Date.now(), expires: expiryIn(expires) };
}

function expiryIn(expires: unknown): number {
  if (expires === undefined || expires === null) return 0;
  const time = typeof expires === "string" && /^\d{4}-\d\d-\d\dT.*(?:Z|[+-]\d\d:\d\d)$/.test(expires) ? Date.parse(expires) : NaN;
  if (!(time > Date.now())) throw new BellhopError("bad_request", "expires is a time to come with its zone, such as 2030-01-31T12:00:00Z.");
  return time;
}

function told({ name, role, devices, created, expires }: ApiKey) {
  return { name, role, devices, created: new Date(created).toISOString(), expires: expires === 0 ? null : new Date(expires).toISOString() };
}

// /v1/devices/{device}/credentials: the tokens of a device; each is shown once, when it is made.

import { createHash, randomBytes } from "node:crypto";
import { Type } from "@fastify/type-provider-typebox";
import { BellhopError } from "../../base/errors.ts";
import { SECRET_BYTES, writeSecret } from "../../base/secret.ts";
import { MOST_CREDENTIALS } from "../../core/stream/credentials.ts";
import type { NodeApi } from "../../node/api.ts";
import { ask } from "../ask.ts";
import { membersOf } from "../body.ts";
import type { HttpContext } from "../context.ts";
import { DeviceParams, Named, NAME, PROBLEMS } from "../schemas.ts";
import type { Server } from "../server.ts";

const Credential = Type.Object({ name: Type.String(), created: Type.String({ format: "date-time" }) });
const NamedParams = Type.Object({ ...DeviceParams.properties, name: Named });
const DEFAULT_NAME = "default";

export function credentialRoutes(server: Server, context: HttpContext): void {
  const { node, settings, handlerTimeout } = context;
  const deadlineMs = settings.publishSeconds * 1000;

  server.post(
    "/v1/devices/:device/credentials",
    {
      config: { role: "admin" },
      handlerTimeout,
      schema: {
        operationId: "makeCredential",
        summary: "Make a token for a device",
        description:
          `The answer shows the token; afterwards only its SHA-256 is known. A device that is not known yet is made known. A device has ${MOST_CREDENTIALS} at most: ` +
          "make a second, give it to the device, remove the first. Body: `{\"name\": \"factory\"}`, or none.",
        tags: ["credentials"],
        params: DeviceParams,
        body: Type.Unknown({ description: `\`name\`: what it is listed under; \`${DEFAULT_NAME}\` if not said.`, examples: [{ name: "2027" }] }),
        response: { 201: Type.Object({ device: Type.String(), name: Type.String(), token: Type.String() }), ...PROBLEMS },
      },
    },
    async (request, reply) => {
      const { device } = request.params;
      const name = nameIn(request.body);
      const token = writeSecret("bhd", randomBytes(SECRET_BYTES));
      await ask(node, { type: "putCredential", device, name, digest: createHash("sha256").update(token).digest() }, deadlineMs);
      return reply.code(201).header("cache-control", "no-store").send({ device, name, token });
    },
  );

  server.get(
    "/v1/devices/:device/credentials",
    {
      config: { role: "admin" },
      handlerTimeout,
      schema: {
        operationId: "listCredentials",
        summary: "List a device's credentials, by name",
        tags: ["credentials"],
        params: DeviceParams,
        response: { 200: Type.Object({ device: Type.String(), credentials: Type.Array(Credential) }), ...PROBLEMS },
      },
    },
    async (request, reply) => reply.send({ device: request.params.device, credentials: await credentialsOf(node, request.params.device) }),
  );

  server.delete(
    "/v1/devices/:device/credentials/:name",
    {
      config: { role: "admin" },
      handlerTimeout,
      schema: {
        operationId: "revokeCredential",
        summary: "Revoke a credential: connections that came by it end",
        tags: ["credentials"],
        params: NamedParams,
        response: { 204: Type.Null({ description: "It is revoked." }), ...PROBLEMS },
      },
    },
    async (request, reply) => {
      const { device, name } = request.params;
      await ask(node, { type: "removeCredential", device, name }, deadlineMs);
      return reply.code(204).send(null);
    },
  );
}

/** What may be told of a device's credentials. @throws BellhopError `unknown_device` */
export async function credentialsOf(node: NodeApi, device: string): Promise<{ readonly name: string; readonly created: string }[]> {
  const credentials = await node.credentials(device);
  if (credentials === undefined) throw new BellhopError("unknown_device");
  return credentials.map(({ name, created }) => ({ name, created: new Date(created).toISOString() }));
}

function nameIn(body: unknown): string {
  if (!Buffer.isBuffer(body) || body.length === 0) return DEFAULT_NAME;
  const { name = DEFAULT_NAME } = membersOf(body, ["name"]);
  if (typeof name !== "string" || !NAME.test(name)) throw new BellhopError("bad_request", "name has 1 to 63 of a–z, 0–9, . _ and -, and begins with a letter or digit.");
  return name;
}

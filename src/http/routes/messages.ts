// POST /v1/devices/{device}/messages: a message to a device, answered once it is on the disk of every member.

import { createHash, randomUUID } from "node:crypto";
import { Type } from "@fastify/type-provider-typebox";
import { BellhopError } from "../../base/errors.ts";
import { MAX_HEADER_VALUE_BYTES } from "../../wire/body.ts";
import type { HttpContext } from "../context.ts";
import { messageBody } from "../entry.ts";
import { ask } from "../ask.ts";
import { expiryOf, keyOf } from "../headers.ts";
import { DeviceParams, PROBLEMS, Stored } from "../schemas.ts";
import type { Server } from "../server.ts";
import { traceOf } from "../trace.ts";

export function messageRoutes(server: Server, context: HttpContext): void {
  const deadlineMs = context.settings.publishSeconds * 1000;

  server.post(
    "/v1/devices/:device/messages",
    {
      bodyLimit: context.settings.maxPayloadBytes,
      schema: {
        summary: "Publish a message to a device",
        description:
          "The body is the payload, of any content type. Answered with 201 once it is on the disk of every member; " +
          "the same Idempotency-Key again gets 200 and the first offset.",
        tags: ["messages"],
        consumes: ["application/json", "text/plain", "application/octet-stream"],
        params: DeviceParams,
        body: Type.Unknown({ description: "The payload, as it is." }),
        headers: Type.Object({
          "idempotency-key": Type.Optional(
            Type.String({ description: "1 to 255 visible characters; without one a retry may be stored twice." }),
          ),
          "bellhop-expires": Type.Optional(
            Type.String({ description: "Seconds from now, or a time with its zone (RFC 3339): after it the message is skipped." }),
          ),
        }),
        response: { 200: Stored, 201: Stored, ...PROBLEMS },
      },
    },
    async (request, reply) => {
      const { device } = request.params;
      const contentType = request.headers["content-type"];
      const expiry = request.headers["bellhop-expires"];
      const payload = Buffer.isBuffer(request.body) ? request.body : Buffer.alloc(0);
      const given = { "content-type": contentType, traceparent: traceOf(request) };
      const headers = carried(given, context.settings.maxHeadersBytes);
      const expires = expiryOf(expiry, Date.now()); // what is over is refused by the leader, who first looks whether it is a duplicate (A6)
      const key = request.headers["idempotency-key"];
      const answer = await ask(
        context.node,
        {
          type: "keyed",
          device,
          key: key === undefined ? randomUUID() : keyOf(key, "Idempotency-Key"), // R30: the cluster's own resends need one
          fingerprint: fingerprintOf(payload, contentType, expiry),
          body: messageBody(payload, headers, expires),
          expires,
        },
        deadlineMs,
      );
      if (answer.type !== "stored") throw new BellhopError("internal");
      return await reply.code(answer.duplicate ? 200 : 201).send({ device, offset: String(answer.offset), duplicate: answer.duplicate });
    },
  );
}

/** The headers that travel with the message, within the limits of its body. */
function carried(given: Readonly<Record<string, string | string[] | undefined>>, maxBytes: number): Record<string, string> {
  const headers: Record<string, string> = {};
  let total = 0;
  for (const [name, value] of Object.entries(given)) {
    if (typeof value !== "string") continue;
    const bytes = Buffer.byteLength(value);
    total += name.length + bytes;
    if (bytes > MAX_HEADER_VALUE_BYTES) {
      throw new BellhopError("too_large", `The header ${name} has ${bytes} bytes, the limit is ${MAX_HEADER_VALUE_BYTES}.`);
    }
    if (total > maxBytes) throw new BellhopError("too_large", `The headers have more than ${maxBytes} bytes (maxHeadersBytes).`);
    headers[name] = value;
  }
  return headers;
}

/** 128 bits over what makes two requests the same message (R31). The trace is not part of it: a retry has another. */
function fingerprintOf(payload: Buffer, contentType: string | undefined, expiry: string | undefined): string {
  const hash = createHash("sha256").update(JSON.stringify([contentType ?? null, expiry ?? null])).update(payload);
  return hash.digest("hex").slice(0, 32);
}

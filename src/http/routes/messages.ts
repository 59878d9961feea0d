// POST /v1/devices/{device}/messages: a message to a device, answered once it is on the disk of every member.

import { createHash, randomUUID } from "node:crypto";
import { Type } from "@fastify/type-provider-typebox";
import { BellhopError } from "../../base/errors.ts";
import { MAX_HEADER_VALUE_BYTES } from "../../wire/body.ts";
import type { HttpContext } from "../context.ts";
import { messageBody } from "../entry.ts";
import { ask } from "../ask.ts";
import { DeviceParams, KEY_PATTERN, PROBLEMS, Stored } from "../schemas.ts";
import type { Server } from "../server.ts";

const KEY = new RegExp(KEY_PATTERN);

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
        headers: Type.Object({
          "idempotency-key": Type.Optional(
            Type.String({ description: "1 to 255 visible characters; without one a retry may be stored twice." }),
          ),
          "bellhop-expires": Type.Optional(
            Type.String({ description: "Seconds from now, or a time (RFC 3339): after it the message is skipped." }),
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
      const given = { "content-type": contentType, traceparent: request.headers["traceparent"] };
      const headers = carried(given, context.settings.maxHeadersBytes);
      const expires = expiryOf(expiry, Date.now());
      const answer = await ask(
        context.node,
        {
          type: "keyed",
          device,
          key: keyOf(request.headers["idempotency-key"]) ?? randomUUID(), // R30: the cluster's own resends need one
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

/** The key as the header has it, or as a quoted string; both name the same key. */
function keyOf(header: string | undefined): string | undefined {
  if (header === undefined) return undefined;
  const key = /^".*"$/.test(header) ? header.slice(1, -1) : header;
  if (!KEY.test(key)) throw new BellhopError("bad_request", "Idempotency-Key must have 1 to 255 visible ASCII characters.");
  return key;
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

/** Milliseconds since 1970, 0 for never. What has expired is refused by the leader, who first looks whether it is a duplicate (A6). */
function expiryOf(header: string | undefined, now: number): number {
  if (header === undefined) return 0;
  if (/^[1-9]\d{0,9}$/.test(header)) return now + Number(header) * 1000;
  const time = /^\d{4}-\d\d-\d\dT/.test(header) ? Date.parse(header) : Number.NaN;
  if (Number.isNaN(time)) {
    throw new BellhopError("bad_request", "Bellhop-Expires must be seconds from now, or a time such as 2030-01-31T12:00:00Z.");
  }
  return time;
}

/** 128 bits over what makes two requests the same message (R31). The trace is not part of it: a retry has another. */
function fingerprintOf(payload: Buffer, contentType: string | undefined, expiry: string | undefined): string {
  const hash = createHash("sha256").update(JSON.stringify([contentType ?? null, expiry ?? null])).update(payload);
  return hash.digest("hex").slice(0, 32);
}

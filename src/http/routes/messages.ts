// POST /v1/devices/{device}/messages: a message to a device, answered once it is on the disk of every member.

import { randomUUID } from "node:crypto";
import { Type } from "@fastify/type-provider-typebox";
import { BellhopError } from "../../base/errors.ts";
import { ask } from "../ask.ts";
import type { HttpContext } from "../context.ts";
import { keyOf } from "../headers.ts";
import { fingerprintOf, messageOf } from "../message.ts";
import { DeviceParams, PROBLEMS, Stored } from "../schemas.ts";
import type { Server } from "../server.ts";
import { traceOf } from "../trace.ts";

export function messageRoutes(server: Server, context: HttpContext): void {
  const deadlineMs = context.settings.publishSeconds * 1000;

  server.post(
    "/v1/devices/:device/messages",
    {
      bodyLimit: context.settings.maxPayloadBytes,
      config: { role: "publish" },
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
      const payload = Buffer.isBuffer(request.body) ? request.body : Buffer.alloc(0);
      const given = { payload, contentType: request.headers["content-type"], expiry: request.headers["bellhop-expires"], trace: traceOf(request), headers: undefined };
      const { body, expires } = messageOf(given, context.settings.maxHeadersBytes); // what is over is refused by the leader, who first looks whether it is a duplicate (A6)
      const key = request.headers["idempotency-key"];
      const answer = await ask(
        context.node,
        {
          type: "keyed",
          device,
          key: key === undefined ? randomUUID() : keyOf(key, "Idempotency-Key"), // R30: the cluster's own resends need one
          fingerprint: fingerprintOf(given),
          body,
          expires,
        },
        deadlineMs,
      );
      if (answer.type !== "stored") throw new BellhopError("internal");
      return await reply.code(answer.duplicate ? 200 : 201).send({ device, offset: String(answer.offset), duplicate: answer.duplicate });
    },
  );
}

// POST /v1/devices/{device}/messages: a message to a device, answered once it is on the disk of every member.

import { Type } from "@fastify/type-provider-typebox";
import type { FastifyReply } from "fastify";
import type { GatewayRequest } from "../../core/gateway/types.ts";
import { sendJson } from "../answers.ts";
import { errorOf } from "../ask.ts";
import type { HttpContext } from "../context.ts";
import { keyOf } from "../headers.ts";
import { fingerprintOf, messageOf } from "../message.ts";
import { checkedByRoute, DeviceParams, PROBLEMS, Stored } from "../schemas.ts";
import type { Server } from "../server.ts";
import { traceOf } from "../trace.ts";

export function messageRoutes(server: Server, context: HttpContext): void {
  const deadlineMs = context.settings.publishSeconds * 1000;

  server.post(
    "/v1/devices/:device/messages",
    {
      config: { role: "publish" },
      bodyLimit: context.settings.maxPayloadBytes,
      schema: {
        operationId: "publishMessage",
        summary: "Publish a message to a device",
        description:
          "The body is the payload, of any content type. Answered with 201 once it is on the disk of every member; " +
          "the same Idempotency-Key again gets 200 and the first offset.",
        tags: ["messages"],
        consumes: ["application/json", "text/plain", "application/octet-stream"],
        params: DeviceParams,
        body: Type.Unknown({ description: "The payload, as it is.", examples: [{ valve: "open" }] }),
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
      validatorCompiler: checkedByRoute, // the device by a hook, the headers where they are read
    },
    // Without a promise: this is the call that comes by the thousand.
    (request, reply) => {
      const { device } = request.params;
      const payload = Buffer.isBuffer(request.body) ? request.body : NOTHING;
      const given = { payload, contentType: request.headers["content-type"], expiry: request.headers["bellhop-expires"], trace: traceOf(request), headers: undefined };
      const { body, expires } = messageOf(given, context.settings.maxHeadersBytes); // what is over is refused by the leader, who first looks whether it is a duplicate (A6)
      const wanted = request.headers["idempotency-key"];
      const publish: GatewayRequest =
        wanted === undefined
          ? { type: "unkeyed", device, body, expires }
          : { type: "keyed", device, key: keyOf(wanted, "Idempotency-Key"), fingerprint: fingerprintOf(given), body, expires };
      context.node.request(publish, deadlineMs, (answer) => {
        if (answer.type === "stored") sendStored(reply, device, answer.offset, answer.duplicate);
        else void (reply as FastifyReply).send(errorOf(answer));
      });
    },
  );
}

const NOTHING = Buffer.alloc(0);

function sendStored(reply: FastifyReply, device: string, offset: number, duplicate: boolean): void {
  void sendJson(reply.code(duplicate ? 200 : 201), `{"device":${JSON.stringify(device)},"offset":"${offset}","duplicate":${duplicate}}`);
}

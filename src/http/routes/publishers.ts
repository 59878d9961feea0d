// Servers that keep a series of their own to a device: open a session, publish under a number, ask whether a number or a key is stored (A4, A6, R25–R27).

import { randomBytes } from "node:crypto";
import { Type } from "@fastify/type-provider-typebox";
import type { FastifyError, FastifyReply, FastifyRequest } from "fastify";
import { BellhopError } from "../../base/errors.ts";
import { PUBLISH_KIND } from "../../core/hop.ts";
import { isDeviceId } from "../../wire/device.ts";
import { sendProblem } from "../answers.ts";
import { ask } from "../ask.ts";
import type { HttpContext } from "../context.ts";
import { keyOf } from "../headers.ts";
import { messageOf } from "../message.ts";
import { DeviceParams, Numbered, Position, PROBLEMS, Session, Told } from "../schemas.ts";
import type { Server } from "../server.ts";
import { traceOf } from "../trace.ts";

/** Shown for what a backend sends without a session. */
const TAKEN_NAME = "backend";
const NUMBER = "^[1-9]\\d{0,14}$";
const MAX_NONCE = 2n ** 64n - 1n;

const OpenBody = Type.Object(
  {
    publisher: Type.String({ pattern: "^[\\x21-\\x7e]{1,128}$", description: `Names the series: 1 to 128 visible ASCII characters, not "${TAKEN_NAME}".` }),
    nonce: Type.Optional(
      Type.String({
        pattern: "^\\d{1,20}$",
        description: "A number of 64 bits, in digits. The same one again: the same session, to go on after a restart. A greater one: a new session. Left out: greater than any before, by the clock.",
      }),
    ),
    leaves: Type.Optional(Type.String({ pattern: NUMBER, description: "The session that the publisher gives up: the answer tells what that one had taken." })),
    window: Type.Optional(Type.Integer({ minimum: 1, maximum: 65_535, description: "Numbers in flight that it would like." })),
  },
  { additionalProperties: false },
);
const SeriesParams = Type.Object({ ...DeviceParams.properties, session: Type.String({ pattern: NUMBER }), series: Type.String({ pattern: NUMBER, description: "1, 2, 3, … within the session." }) });

export function publisherRoutes(server: Server, context: HttpContext): void {
  const { node, settings, handlerTimeout } = context;
  const deadlineMs = settings.publishSeconds * 1000;

  server.post(
    "/v1/devices/:device/publishers",
    {
      handlerTimeout,
      config: { role: "publish" },
      preValidation: (request, _reply, done) => {
        request.body = jsonOf(request.body) as typeof request.body; // checked next
        done();
      },
      schema: {
        operationId: "openSession",
        summary: "Open a session for a series of one's own",
        description: "Or join on to it again: the same publisher and nonce give the same session, and `next` tells where to go on. A newer nonce takes the session over.",
        tags: ["publishers"],
        consumes: ["application/json"],
        params: DeviceParams,
        body: OpenBody,
        response: { 200: Session, ...PROBLEMS },
      },
    },
    async (request, reply) => {
      const { device } = request.params;
      const { publisher, leaves } = request.body;
      if (publisher === TAKEN_NAME) throw new BellhopError("bad_request", `The publisher's name must not be "${TAKEN_NAME}".`);
      const nonce = nonceOf(request.body.nonce);
      const window = request.body.window ?? settings.window;
      const answer = await ask(node, { type: "open", device, publisher, nonce, window, leaves: Number(leaves ?? 0), attach: false }, deadlineMs);
      if (answer.type === "broken") return sendProblem(reply, answer.code, "", answer.stored === undefined ? {} : { nonce: String(answer.stored) });
      if (answer.type !== "attached") throw new BellhopError("internal");
      return reply.send({
        device,
        publisher,
        nonce: String(nonce),
        session: String(answer.session),
        next: String(answer.last + 1),
        window: answer.window,
        wrap: "0",
        ...(leaves === undefined ? {} : { left: { session: leaves, last: String(answer.leftAt) } }),
      });
    },
  );

  /** Sends the number with its content; a content that is refused for good spends the number (A6), and is told as what it is. */
  async function publish(request: FastifyRequest, reply: FastifyReply, payload: Buffer | BellhopError): Promise<void> {
    const { device, session, series } = request.params as { device: string; session: string; series: string };
    const content = contentOf(request, payload, settings.maxHeadersBytes);
    const answer = await ask(node, { type: "numbered", device, session: Number(session), series: Number(series), ...content }, deadlineMs).catch((error: unknown) => {
      const { refusal } = content;
      throw refusal !== undefined && error instanceof BellhopError && error.code === refusal.code ? refusal : error;
    });
    if (answer.type === "gap") {
      void sendProblem(reply, "gap", "", { expected: String(answer.expected) });
      return;
    }
    if (answer.type !== "stored") throw new BellhopError("internal");
    const { offset, duplicate } = answer;
    void reply.code(duplicate ? 200 : 201).send({ device, session, series, ...(offset === 0 ? {} : { offset: String(offset) }), duplicate });
  }

  const seriesUrl = "/v1/devices/:device/publishers/:session/messages/:series";
  server.put(
    seriesUrl,
    {
      config: { role: "publish" },
      bodyLimit: settings.maxPayloadBytes,
      errorHandler: (error, request, reply) => {
        if (!isTooLarge(error) || !isSeriesPath(request)) throw error;
        publish(request, reply, new BellhopError("too_large", `The payload has more than ${settings.maxPayloadBytes} bytes (maxPayloadBytes).`)).catch((failure: unknown) => void (reply as FastifyReply).send(failure));
      },
      schema: {
        operationId: "publishNumbered",
        summary: "Publish under a number of one's own series",
        description:
          "The body is the payload, of any content type. 201 once it is on the disk of every member, 200 for a number that was stored before, 409 with `expected` where another number is the next. " +
          "A content that is refused for good (410 expired, 413) spends its number.",
        tags: ["publishers"],
        consumes: ["application/json", "text/plain", "application/octet-stream"],
        params: SeriesParams,
        body: Type.Unknown({ description: "The payload, as it is.", examples: [{ valve: "open" }] }),
        headers: Type.Object({ "bellhop-expires": Type.Optional(Type.String({ description: "As for a publish with a key." })) }),
        response: { 200: Numbered, 201: Numbered, ...PROBLEMS },
      },
    },
    (request, reply) => publish(request, reply as FastifyReply, Buffer.isBuffer(request.body) ? request.body : Buffer.alloc(0)),
  );

  server.get(
    seriesUrl,
    {
      handlerTimeout,
      config: { role: "publish" },
      schema: {
        operationId: "askNumber",
        summary: "Is this number stored?",
        description: "As of `position`, by a leader that has made sure that it still leads. `void`: the number was spent on nothing, for its content was refused.",
        tags: ["publishers"],
        params: SeriesParams,
        response: { 200: Type.Object({ session: Type.String(), series: Type.String(), ...Told.properties }), ...PROBLEMS },
      },
    },
    async (request, reply) => {
      const { device, session, series } = request.params;
      const { is, position } = told(await ask(node, { type: "askSeries", device, session: Number(session), series: Number(series) }, deadlineMs));
      return reply.send({ device, session, series, is, position: String(position) });
    },
  );

  server.get(
    "/v1/devices/:device/messages",
    {
      handlerTimeout,
      config: { role: "publish" },
      schema: {
        operationId: "askKey",
        summary: "Is this key stored?",
        description: "`absent`: not stored as of `position`, or forgotten since (keyRetentionSeconds).",
        tags: ["messages"],
        params: DeviceParams,
        querystring: Type.Object({ key: Type.String({ description: "As in Idempotency-Key." }) }),
        response: { 200: Type.Object({ key: Type.String(), ...Told.properties, offset: Type.Optional(Position) }), ...PROBLEMS },
      },
    },
    async (request, reply) => {
      const { device } = request.params;
      const key = keyOf(request.query.key, "key");
      const { is, position, offset } = told(await ask(node, { type: "askKey", device, key }, deadlineMs));
      return reply.send({ device, key, is, position: String(position), ...(offset === 0 ? {} : { offset: String(offset) }) });
    },
  );
}

type Told = Extract<Awaited<ReturnType<typeof ask>>, { type: "told" }>;

function told(answer: Awaited<ReturnType<typeof ask>>): Told {
  if (answer.type !== "told") throw new BellhopError("internal");
  return answer;
}

function contentOf(request: FastifyRequest, payload: Buffer | BellhopError, maxHeadersBytes: number) {
  try {
    if (payload instanceof BellhopError) throw payload;
    const expiry = request.headers["bellhop-expires"] as string | undefined;
    const { body, expires } = messageOf({ payload, contentType: request.headers["content-type"], expiry, trace: traceOf(request), headers: undefined }, maxHeadersBytes);
    if (expires !== 0 && expires < Date.now()) throw new BellhopError("expired");
    return { kind: PUBLISH_KIND.message, code: undefined, body, refusal: undefined };
  } catch (error) {
    if (!(error instanceof BellhopError)) throw error;
    return { kind: PUBLISH_KIND.void, code: error.code, body: NOTHING, refusal: error };
  }
}

const NOTHING = new Uint8Array(0);

/** The framework refuses a body before it looks at the path's parameters. */
function isSeriesPath({ params }: FastifyRequest): boolean {
  const { device, session, series } = params as { device: string; session: string; series: string };
  const number = new RegExp(NUMBER);
  return isDeviceId(device) && number.test(session) && number.test(series);
}

function isTooLarge(error: FastifyError): boolean {
  return error.code === "FST_ERR_CTP_BODY_TOO_LARGE";
}

/** R25: milliseconds, then random bits. */
function nonceOf(given: string | undefined): bigint {
  if (given === undefined) return (BigInt(Date.now()) << 20n) | BigInt(randomBytes(4).readUInt32BE() & 0xfffff);
  const nonce = BigInt(given);
  if (nonce > MAX_NONCE) throw new BellhopError("bad_request", "The nonce has at most 64 bits.");
  return nonce;
}

function jsonOf(body: unknown): unknown {
  try {
    return JSON.parse(Buffer.isBuffer(body) ? body.toString("utf8") : "");
  } catch (error) {
    throw new BellhopError("bad_request", `The body is not JSON: ${(error as Error).message}`);
  }
}

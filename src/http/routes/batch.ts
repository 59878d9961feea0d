// POST /v1/messages: messages to many devices, a line of result for each line. Streamed in and out; what is in flight is bounded.

import { isUtf8 } from "node:buffer";
import { PassThrough, type Readable } from "node:stream";
import { Type } from "@fastify/type-provider-typebox";
import type { FastifyReply } from "fastify";
import { BrokenInvariant } from "../../base/assert.ts";
import { BellhopError } from "../../base/errors.ts";
import { Ring } from "../../base/ring.ts";
import type { GatewayAnswer, GatewayRequest } from "../../core/gateway/types.ts";
import { problemOf } from "../answers.ts";
import { errorOf } from "../ask.ts";
import { batchLine } from "../batch-line.ts";
import type { HttpContext } from "../context.ts";
import { LineCutter } from "../lines.ts";
import { fingerprintOf, messageOf } from "../message.ts";
import { checkedByRoute, PROBLEMS } from "../schemas.ts";
import type { Server } from "../server.ts";
import { traceOf } from "../trace.ts";

const NDJSON = "application/x-ndjson";
/** Lines of one batch whose result is not written yet: beyond it no further one is taken. */
const MOST_LINES = 1024;
/** Bytes of those lines. */
const MOST_BYTES = 4 * 1024 * 1024;
/** Bytes of results that wait for a client that sends all before it reads. */
const MOST_RESULT_BYTES = 4 * 1024 * 1024;
/** A client that takes no result for so long is let go. */
const SLOW_READER_MS = 30_000;
/** A node that takes no more just now is asked again after this, in milliseconds. */
const LOOK_AGAIN_MS = 100;
/** A line's JSON may be so much larger than its payload and headers: escapes, base64, the names of its fields. */
const LINE_TO_CONTENT = 2;
const LINE_FIELDS_BYTES = 4096;

const Line = Type.Object(
  {
    device: Type.String(),
    payload: Type.Optional(Type.Unknown({ description: "A string is text. Any other JSON value is JSON; so is a string where contentType says JSON." })),
    payloadBase64: Type.Optional(Type.String({ description: "Instead of `payload`: bytes." })),
    key: Type.Optional(Type.String({ description: "As Idempotency-Key." })),
    contentType: Type.Optional(Type.String()),
    headers: Type.Optional(Type.Record(Type.String(), Type.String())),
    expires: Type.Optional(Type.Union([Type.Integer(), Type.String()], { description: "As Bellhop-Expires." })),
  },
  { description: "One line of the body." },
);
const LineResult = Type.Object(
  {
    line: Type.Integer({ description: "1, 2, 3, …: which line of the body." }),
    status: Type.Integer({ description: "As POST /v1/devices/{device}/messages would answer it." }),
    device: Type.Optional(Type.String()),
    offset: Type.Optional(Type.String()),
    duplicate: Type.Optional(Type.Boolean()),
    code: Type.Optional(Type.String({ description: "With title, detail and retryable: why it was refused." })),
  },
  { description: "One line of the answer." },
);

export function batchRoutes(server: Server, context: HttpContext): void {
  void server.register((routes, _options, registered) => {
    routes.removeAllContentTypeParsers();
    routes.addContentTypeParser(NDJSON, (_request, body, done) => done(null, body));
    routes.post(
      "/v1/messages",
      {
        config: { role: "publish" },
        schema: {
          operationId: "publishMessages",
          summary: "Publish many messages",
          description:
            "NDJSON: a message a line, a result a line, in order; one line's failure stops no other. Results come while the batch is still being sent: read them meanwhile. " +
            "Lines with nothing in them are counted and have no result.",
          tags: ["messages"],
          consumes: [NDJSON],
          body: Line,
          response: { 200: { description: "A result for each line, in order.", content: { [NDJSON]: { schema: LineResult } } }, ...PROBLEMS },
        },
        validatorCompiler: checkedByRoute, // the body is a stream; its lines are checked one by one
      },
      (request, reply) => {
        const body = (request.body as Readable | undefined) ?? request.raw; // without a body there is no content type, and no parser
        void (reply as FastifyReply).type(NDJSON).send(new Batch(context, body, traceOf(request)).results);
      },
    );
    registered();
  });
}

/** A line whose result is not written yet; `result` once there is one. */
interface Slot {
  readonly line: number;
  readonly bytes: number;
  result: string | undefined;
}

const NOTHING = Buffer.alloc(0);

class Batch {
  readonly results = new PassThrough({ highWaterMark: MOST_RESULT_BYTES });
  readonly #context: HttpContext;
  readonly #body: Readable;
  readonly #trace: string | undefined;
  readonly #cutter: LineCutter;
  readonly #slots = new Ring<Slot>();
  #bytes = 0;
  #line = 0;
  /** What was read of the body and not taken yet. */
  #unread: Buffer = NOTHING;
  /** The body has ended; so has the batch, once its last line is taken. */
  #read = false;
  #ended = false;
  #writing = false;
  #slow: NodeJS.Timeout | undefined;
  /** Since when the next line waits for the node, milliseconds of the monotonic clock. */
  #waitsSince: number | undefined;
  #lookAgain: NodeJS.Timeout | undefined;

  constructor(context: HttpContext, body: Readable, trace: string | undefined) {
    this.#context = context;
    this.#body = body;
    this.#trace = trace;
    const { maxPayloadBytes, maxHeadersBytes } = context.settings;
    this.#cutter = new LineCutter(LINE_TO_CONTENT * (maxPayloadBytes + maxHeadersBytes) + LINE_FIELDS_BYTES);
    body.on("data", (chunk: Buffer) => {
      this.#unread = chunk; // one at a time: the body is paused while something is left
      this.#goOn();
    });
    body.on("end", () => {
      this.#read = true;
      this.#goOn();
    });
    body.on("error", () => this.results.destroy()); // cut off: what was read is stored or not, nobody hears it
    this.results.on("drain", () => this.#goOn());
    this.results.on("close", () => {
      clearTimeout(this.#slow);
      clearTimeout(this.#lookAgain);
    });
  }

  /** Takes lines and reads on, where there is room: in flight, in the node, and at a client that takes its results. */
  readonly #goOn = (): void => {
    if (this.results.destroyed) return;
    this.#watchReader();
    while (!this.#ended && this.#mayTake()) {
      if (this.#unread.length > 0) this.#unread = this.#unread.subarray(this.#cutter.push(this.#unread, this.#take));
      else if (!this.#read) return void this.#body.resume();
      else {
        this.#cutter.end(this.#take);
        this.#ended = true;
        this.#writeSoon();
      }
    }
    this.#body.pause();
  };

  #mayTake(): boolean {
    return this.#hasRoom() && !this.results.writableNeedDrain && !this.#waits();
  }

  #hasRoom(): boolean {
    return this.#slots.size < MOST_LINES && this.#bytes < MOST_BYTES;
  }

  #watchReader(): void {
    if (this.results.writableNeedDrain) {
      this.#slow ??= setTimeout(() => this.results.destroy(), SLOW_READER_MS);
      return;
    }
    clearTimeout(this.#slow);
    this.#slow = undefined;
  }

  /** While the node takes no more, the next line waits as long as a publish may; then it is refused like any other, and so are those behind it. */
  #waits(): boolean {
    const { node, settings } = this.#context;
    if (node.takesMore) {
      this.#waitsSince = undefined;
      return false;
    }
    const now = performance.now();
    this.#waitsSince ??= now;
    if (now - this.#waitsSince >= settings.publishSeconds * 1000) return false;
    this.#lookAgain ??= setTimeout(() => {
      this.#lookAgain = undefined;
      this.#goOn();
    }, LOOK_AGAIN_MS);
    return true;
  }

  readonly #take = (bytes: Buffer | undefined): boolean => {
    this.#line += 1;
    const isFirst = this.#line === 1;
    if (bytes !== undefined && isBlank(bytes, isFirst)) return true;
    const slot: Slot = { line: this.#line, bytes: bytes?.length ?? 0, result: undefined };
    this.#slots.push(slot);
    this.#bytes += slot.bytes;
    try {
      this.#publish(slot, textOf(bytes, isFirst));
    } catch (error) {
      if (error instanceof BellhopError) this.#settle(slot, refusal(slot.line, error));
      else this.#broken(error as Error);
    }
    return this.#hasRoom() && !this.results.destroyed;
  };

  #publish(slot: Slot, text: string): void {
    const { node, settings } = this.#context;
    const given = batchLine(text, this.#trace);
    if (given.payload.length > settings.maxPayloadBytes) throw new BellhopError("too_large", `The payload has more than ${settings.maxPayloadBytes} bytes (maxPayloadBytes).`);
    const { body, expires } = messageOf(given, settings.maxHeadersBytes);
    const { device, key } = given;
    const request: GatewayRequest = key === undefined ? { type: "unkeyed", device, body, expires } : { type: "keyed", device, key, fingerprint: fingerprintOf(given), body, expires };
    node.request(request, settings.publishSeconds * 1000, (answer) => this.#settle(slot, resultOf(slot.line, device, answer)));
  }

  #settle(slot: Slot, result: string): void {
    slot.result = result;
    this.#writeSoon();
  }

  /** Results that come in one turn go out in one write. */
  #writeSoon(): void {
    if (this.#writing) return;
    this.#writing = true;
    setImmediate(this.#write);
  }

  readonly #write = (): void => {
    this.#writing = false;
    if (this.results.destroyed) return;
    let text = "";
    for (let slot = this.#slots.first(); slot?.result !== undefined; slot = this.#slots.first()) {
      this.#slots.shift();
      this.#bytes -= slot.bytes;
      text += slot.result;
    }
    if (text !== "") this.results.write(text);
    if (this.#ended && this.#slots.size === 0) this.results.end();
    else this.#goOn();
  };

  #broken(error: Error): void {
    if (error instanceof BrokenInvariant) this.#context.node.fail(error);
    else this.#context.log.error({ err: error }, "batch failed");
    this.results.destroy(error);
  }
}

function isBlank(bytes: Buffer, isFirst: boolean): boolean {
  return withoutMark(bytes, isFirst).every((byte) => byte === 0x20 || byte === 0x09 || byte === 0x0d);
}

/** A byte order mark in front of the first line says nothing. */
function withoutMark(bytes: Buffer, isFirst: boolean): Buffer {
  return isFirst && bytes[0] === 0xef && bytes[1] === 0xbb && bytes[2] === 0xbf ? bytes.subarray(3) : bytes;
}

function textOf(bytes: Buffer | undefined, isFirst: boolean): string {
  if (bytes === undefined) throw new BellhopError("too_large", "The line is longer than any message needs (maxPayloadBytes).");
  if (!isUtf8(bytes)) throw new BellhopError("bad_request", "The line is not UTF-8.");
  return withoutMark(bytes, isFirst).toString("utf8");
}

function resultOf(line: number, device: string, answer: GatewayAnswer): string {
  if (answer.type === "stored") return `{"line":${line},"status":${answer.duplicate ? 200 : 201},"device":${JSON.stringify(device)},"offset":"${answer.offset}","duplicate":${answer.duplicate}}\n`;
  return refusal(line, errorOf(answer));
}

function refusal(line: number, { code, detail }: BellhopError): string {
  return `${JSON.stringify({ line, ...problemOf(code, detail) })}\n`;
}

// An entry of a stream as JSON, and the body of a message from an HTTP request. JSON payloads pass as they were written, byte for byte.

import { isUtf8 } from "node:buffer";
import type { StreamEntry } from "../node/api.ts";
import { Slab } from "../core/stream/slab.ts";
import { decodeBody, writeBody } from "../wire/body.ts";
import { Writer } from "../wire/msgpack.ts";

const TEXT = "text/plain; charset=utf-8";
const BYTES = "application/octet-stream";
const JSON_TYPE = "application/json";

/** Milliseconds since 1970 of the last date there is (ECMAScript). */
const LAST_DATE = 8.64e15;

/** The header that carries the content type inside a message. */
const CONTENT_TYPE = "content-type";

/** Bodies of payloads up to this are written in one buffer that stays. */
const SMALL_BYTES = 16 * 1024;
const small = new Writer(SMALL_BYTES);
const slab = new Slab();

/** Packs a message for the log. Text and JSON that are good UTF-8 travel as strings. `expires`: milliseconds since 1970, 0 for never. */
export function messageBody(payload: Buffer, headers: Readonly<Record<string, string>>, expires: number): Uint8Array {
  const asText = isTextual(headers[CONTENT_TYPE] ?? BYTES) && isUtf8(payload);
  const writer = payload.length > SMALL_BYTES ? new Writer(payload.length + SMALL_BYTES) : small;
  writer.clear();
  writeBody(writer, payload, headers, expires, asText);
  return slab.copy(writer.written);
}

/** One entry as JSON text: `{offset, time, type, publisher, headers, contentType, encoding, expires?, payload}`. */
export function entryJson(entry: StreamEntry): string {
  const isMessage = entry.type === "uplink" || entry.type === "downlink";
  const { headers, contentType, encoding, payload, expires } = isMessage ? messageEntry(entry.body) : jsonEntry(entry.body, entry.trace ?? "");
  const head = {
    offset: String(entry.offset),
    time: new Date(entry.time).toISOString(),
    type: entry.type,
    publisher: entry.publisher,
    ...(entry.series === 0 ? {} : { session: String(entry.session), series: String(entry.series) }),
    headers,
    contentType,
    encoding,
    ...(expires === 0 ? {} : { expires: new Date(Math.min(expires, LAST_DATE)).toISOString() }),
  };
  return `${JSON.stringify(head).slice(0, -1)},"payload":${payload}}`;
}

interface Content {
  readonly headers: Readonly<Record<string, string>>;
  readonly contentType: string;
  readonly encoding: "json" | "text" | "base64";
  /** JSON text. */
  readonly payload: string;
  /** Milliseconds since 1970; 0: never. */
  readonly expires: number;
}

function jsonEntry(body: Uint8Array, trace: string): Content {
  return { headers: trace === "" ? {} : { traceparent: trace }, contentType: JSON_TYPE, encoding: "json", payload: textOf(body), expires: 0 };
}

function messageEntry(body: Uint8Array): Content {
  const message = decodeBody(body);
  const { expires } = message;
  const { [CONTENT_TYPE]: givenType, ...headers } = message.headers ?? {};
  const contentType = givenType ?? (message.text ? TEXT : BYTES);
  if (!message.text && !(isTextual(contentType) && isUtf8(message.payload))) {
    return { headers, contentType, encoding: "base64", payload: JSON.stringify(bufferOf(message.payload).toString("base64")), expires };
  }
  const text = textOf(message.payload);
  if (isJson(contentType) && isJsonText(text)) return { headers, contentType, encoding: "json", payload: text, expires };
  return { headers, contentType, encoding: "text", payload: JSON.stringify(text), expires };
}

function bufferOf(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
}

function textOf(bytes: Uint8Array): string {
  return bufferOf(bytes).toString("utf8");
}

export function isJson(contentType: string): boolean {
  return /^application\/(?:[\w.-]+\+)?json\b/i.test(contentType);
}

function isTextual(contentType: string): boolean {
  return isJson(contentType) || /^(?:text\/|application\/x-www-form-urlencoded\b)/i.test(contentType); // the latter is what `curl -d` says of any text
}

function isJsonText(text: string): boolean {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}

// The content of a message, the same bytes from the sender's frame to the receiver's: a msgpack array [payload, headers, expires, …].
//
//   payload  bin, or str (UTF-8); nil only in a void publish
//   headers  nil, or a map of at most 64 pairs str → str; a name has 1 to 128 bytes and stands once, a value has at most 4096
//   expires  nil, or milliseconds since 1970; after it the message is skipped
//   …        unknown elements, ignored

import { malformed, Reader, Writer } from "./msgpack.ts";
import { MAX_NUMBER } from "./series.ts";

export const MAX_HEADERS = 64;
export const MAX_HEADER_NAME_BYTES = 128;
export const MAX_HEADER_VALUE_BYTES = 4096;

/** Kinds of PUBLISH; the same numbers as PUBLISH_KIND of the core. */
export const KIND = { message: 0, statePatch: 1, void: 2 } as const;
export type Kind = (typeof KIND)[keyof typeof KIND];

export interface MessageBody {
  /** UTF-8 when `text`. */
  readonly payload: Uint8Array;
  readonly text: boolean;
  /** Without a prototype, so that no name is special; undefined when there are none. */
  readonly headers: Readonly<Record<string, string>> | undefined;
  /** Milliseconds since 1970; 0 for never. */
  readonly expires: number;
}

const empty = new Uint8Array(0);
/** The body of a void publish: [nil, nil, nil]. */
export const VOID_BODY = Uint8Array.of(0x93, 0xc0, 0xc0, 0xc0);

/** Steps over a body and checks every rule of it. Afterwards the reader's span is the payload. */
export function checkBody(reader: Reader, kind: Kind): void {
  const count = reader.array();
  if (count < 3) throw malformed("A body has a payload, headers and an expiry.");
  if (reader.nil()) {
    if (kind !== KIND.void) throw malformed("Only a void publish is without a payload.");
    reader.spanStart = reader.spanEnd = reader.at;
  } else {
    reader.payloadSpan(MAX_NUMBER);
  }
  const { spanStart, spanEnd } = reader;
  if (!reader.nil()) checkHeaders(reader);
  if (!reader.nil()) reader.uint(MAX_NUMBER);
  if (count > 3) reader.skip(count - 3);
  reader.spanStart = spanStart;
  reader.spanEnd = spanEnd;
}

function checkHeaders(reader: Reader): void {
  const pairs = reader.map();
  if (pairs > MAX_HEADERS) throw malformed(`More than ${MAX_HEADERS} headers.`);
  const names = new Set<string>();
  for (let i = 0; i < pairs; i += 1) {
    const name = reader.str(MAX_HEADER_NAME_BYTES);
    if (name === "" || names.has(name)) throw malformed("A header's name is empty or stands twice.");
    names.add(name);
    reader.strSpan(MAX_HEADER_VALUE_BYTES);
  }
}

const shared = new Reader();

/** @throws BellhopError `protocol` when the bytes are no body; bodies from a stream always are. */
export function decodeBody(bytes: Uint8Array, start = 0, end = bytes.length): MessageBody {
  const reader = shared.reset(bytes, start, end);
  const count = reader.array();
  if (count < 3) throw malformed("A body has a payload, headers and an expiry.");
  let payload: Uint8Array = empty;
  let text = false;
  if (!reader.nil()) {
    text = reader.payloadSpan(MAX_NUMBER);
    payload = reader.spanCopy();
  }
  const headers = reader.nil() ? undefined : decodeHeaders(reader);
  const expires = reader.nil() ? 0 : reader.uint(MAX_NUMBER);
  reader.skip(count - 3);
  reader.finish();
  return { payload, text, headers, expires };
}

function decodeHeaders(reader: Reader): Record<string, string> {
  const headers = Object.create(null) as Record<string, string>;
  for (let pairs = reader.map(); pairs > 0; pairs -= 1) {
    const name = reader.str(MAX_HEADER_NAME_BYTES);
    headers[name] = reader.str(MAX_HEADER_VALUE_BYTES);
  }
  return headers;
}

/**
 * Writes a body. The caller keeps to the limits above: the broker closes the connection of a device that does not.
 * @param isText the payload's bytes are a string, good UTF-8
 */
export function writeBody(
  writer: Writer,
  payload: Uint8Array | string,
  headers: Readonly<Record<string, string>> | undefined,
  expires: number,
  isText = false,
): void {
  writer.array(3);
  if (typeof payload === "string") writer.str(payload);
  else if (isText) writer.utf8(payload);
  else writer.bin(payload);
  const names = headers === undefined ? [] : Object.keys(headers);
  if (names.length === 0) writer.nil();
  else {
    writer.map(names.length);
    for (const name of names) {
      writer.str(name);
      writer.str(headers![name]!);
    }
  }
  if (expires === 0) writer.nil();
  else writer.uint(expires);
}

/** Bodies of payloads up to this are written in one buffer and copied out of it. */
const SMALL_BYTES = 16 * 1024;
const small = new Writer(SMALL_BYTES + 256);

/** The bytes of a body, in an array of their own. */
export function encodeBody(payload: Uint8Array | string, headers?: Readonly<Record<string, string>>, expires = 0, isText = false): Uint8Array {
  const writer = payload.length > SMALL_BYTES ? new Writer(payload.length + 256) : small;
  writer.clear();
  writeBody(writer, payload, headers, expires, isText);
  return writer.written.slice();
}

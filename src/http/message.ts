// A message as it comes over HTTP: what travels with it, when it expires, its body for the log, and what makes two of them the same.

import { createHash, hash } from "node:crypto";
import { BellhopError } from "../base/errors.ts";
import { MAX_HEADER_NAME_BYTES, MAX_HEADER_VALUE_BYTES, MAX_HEADERS } from "../wire/body.ts";
import { messageBody } from "./entry.ts";
import { expiryOf } from "./headers.ts";

export interface GivenMessage {
  readonly payload: Buffer;
  readonly contentType: string | undefined;
  /** As in Bellhop-Expires. */
  readonly expiry: string | undefined;
  readonly trace: string | undefined;
  /** The sender's own; only a batch has them. */
  readonly headers: Readonly<Record<string, string>> | undefined;
}

export interface Message {
  readonly body: Uint8Array;
  /** Milliseconds since 1970; 0 for never. */
  readonly expires: number;
}

/** @throws BellhopError `too_large`, `bad_request` */
export function messageOf(given: GivenMessage, maxHeadersBytes: number): Message {
  const expires = expiryOf(given.expiry, Date.now());
  return { body: messageBody(given.payload, carried(given, maxHeadersBytes), expires), expires };
}

const OWN_HEADER = /^[a-z0-9][a-z0-9.-]*$/;

/** The headers that travel with the message, within the limits of its body. */
function carried({ contentType, trace, headers }: GivenMessage, maxBytes: number): Record<string, string> {
  const all: Record<string, string> = {};
  let total = 0;
  if (contentType !== undefined) total += carry(all, "content-type", contentType);
  if (trace !== undefined) total += carry(all, "traceparent", trace);
  if (headers !== undefined) total += carryOwn(all, headers);
  if (total > maxBytes) throw new BellhopError("too_large", `The headers have more than ${maxBytes} bytes (maxHeadersBytes).`);
  return all;
}

/** @returns their bytes, here and below */
function carryOwn(all: Record<string, string>, headers: Readonly<Record<string, string>>): number {
  const names = Object.keys(headers);
  let total = 0;
  if (names.length > MAX_HEADERS - 2) throw new BellhopError("too_large", `A message has at most ${MAX_HEADERS - 2} headers of its own.`);
  for (const name of names) {
    const value: unknown = headers[name];
    if (name.length > MAX_HEADER_NAME_BYTES || !OWN_HEADER.test(name) || Object.hasOwn(all, name) || typeof value !== "string") {
      throw new BellhopError("bad_request", `headers: ${JSON.stringify(name)} must be a name of a-z, 0-9, "." and "-", once, and not content-type, and its value a string.`);
    }
    total += carry(all, name, value);
  }
  return total;
}

function carry(all: Record<string, string>, name: string, value: string): number {
  const bytes = Buffer.byteLength(value);
  if (bytes > MAX_HEADER_VALUE_BYTES) throw new BellhopError("too_large", `The header ${name} has ${bytes} bytes, the limit is ${MAX_HEADER_VALUE_BYTES}.`);
  all[name] = value;
  return name.length + bytes;
}

/** Payloads up to this size are hashed in one call, from one buffer. */
const ONE_CALL_BYTES = 4096;
const scratch = Buffer.allocUnsafe(ONE_CALL_BYTES);

/**
 * 128 bits of SHA-256 over what makes two requests the same message (R31): type, expiry and own headers as they were written, then the payload.
 * The trace is not part of it: a retry has another.
 */
export function fingerprintOf({ contentType, expiry, headers, payload }: GivenMessage): string {
  const what = JSON.stringify(headers === undefined ? [contentType ?? null, expiry ?? null] : [contentType ?? null, expiry ?? null, headers]);
  if (what.length * 3 + payload.length > ONE_CALL_BYTES) return createHash("sha256").update(what).update(payload).digest("hex").slice(0, 32);
  const length = scratch.write(what);
  payload.copy(scratch, length);
  return hash("sha256", scratch.subarray(0, length + payload.length), "hex").slice(0, 32); // measured: a third of the time of a hash object
}

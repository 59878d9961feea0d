// A line of a batch as a message: its fields, what each of them may be, and the payload's bytes.

import { BellhopError } from "../base/errors.ts";
import { DEVICE_ID_RULE, isDeviceId } from "../wire/device.ts";
import { isJson } from "./entry.ts";
import { keyOf } from "./headers.ts";
import type { GivenMessage } from "./message.ts";

const FIELDS = ["device", "payload", "payloadBase64", "key", "contentType", "headers", "expires"];
const BASE64 = /^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}(?:==)?|[A-Za-z0-9+/]{3}=?)?$/;

export interface BatchLine extends GivenMessage {
  readonly device: string;
  readonly key: string | undefined;
}

/** @throws BellhopError `bad_request`, saying which field is wrong */
export function batchLine(text: string, trace: string | undefined): BatchLine {
  const fields = parsed(text);
  for (const name in fields) if (!FIELDS.includes(name)) throw bad(`${JSON.stringify(name)} is not a field of a line; there are ${FIELDS.join(", ")}.`);
  const device = fields["device"];
  if (typeof device !== "string" || !isDeviceId(device)) throw bad(`device must be an id of ${DEVICE_ID_RULE}.`);
  const key = stringOf(fields, "key");
  const contentType = stringOf(fields, "contentType");
  if (contentType !== undefined && !/^[\x20-\x7e]+$/.test(contentType)) throw bad("contentType must have visible ASCII characters.");
  const content = contentOf(fields, contentType);
  const expiry = expiryOfLine(fields["expires"]);
  return { device, key: key === undefined ? undefined : keyOf(key, "key"), payload: content.payload, contentType: content.contentType, expiry, trace, headers: headersOf(fields["headers"]) };
}

function parsed(text: string): Record<string, unknown> {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw bad(`The line is not JSON: ${(error as Error).message}`);
  }
  if (typeof value !== "object" || value === null || Array.isArray(value)) throw bad("The line is not a JSON object.");
  return value as Record<string, unknown>;
}

/** A string is text; anything else, and whatever a JSON content type says to be JSON, is that JSON value. */
function contentOf(fields: Record<string, unknown>, contentType: string | undefined): { readonly payload: Buffer; readonly contentType: string | undefined } {
  const { payload, payloadBase64 } = fields;
  if ((payload === undefined) === (payloadBase64 === undefined)) throw bad("A line has either payload or payloadBase64.");
  if (payloadBase64 !== undefined) {
    if (typeof payloadBase64 !== "string" || !BASE64.test(payloadBase64)) throw bad("payloadBase64 must be a string in base64.");
    return { payload: Buffer.from(payloadBase64, "base64"), contentType };
  }
  if (typeof payload === "string" && (contentType === undefined || !isJson(contentType))) {
    return { payload: Buffer.from(payload), contentType: contentType ?? "text/plain; charset=utf-8" };
  }
  if (contentType !== undefined && !isJson(contentType)) throw bad(`payload must be a string, or payloadBase64 given, for a ${contentType}.`);
  return { payload: jsonBytes(payload), contentType: contentType ?? "application/json" };
}

function jsonBytes(value: unknown): Buffer {
  try {
    return Buffer.from(JSON.stringify(value));
  } catch {
    throw bad("payload is nested too deep."); // parsing is not bounded by the stack, writing is
  }
}

function expiryOfLine(expires: unknown): string | undefined {
  if (expires === undefined) return undefined;
  if (typeof expires !== "string" && typeof expires !== "number") throw bad("expires must be a number of seconds, or a time as a string.");
  return String(expires);
}

function headersOf(headers: unknown): Record<string, string> | undefined {
  if (headers === undefined) return undefined;
  if (typeof headers !== "object" || headers === null || Array.isArray(headers)) throw bad("headers must be an object.");
  return headers as Record<string, string>;
}

function stringOf(fields: Record<string, unknown>, name: string): string | undefined {
  const value = fields[name];
  if (value !== undefined && typeof value !== "string") throw bad(`${name} must be a string.`);
  return value;
}

function bad(why: string): BellhopError {
  return new BellhopError("bad_request", why);
}

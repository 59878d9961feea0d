// What the application hands over, looked at before it is taken: "" or what is wrong with it, in words.

import { MAX_HEADER_NAME_BYTES, MAX_HEADER_VALUE_BYTES, MAX_HEADERS } from "../../../src/wire/body.ts";

/** From JavaScript anything may come. */
export function payloadIsWrong(payload: unknown): string {
  return typeof payload === "string" || payload instanceof Uint8Array ? "" : "A payload is a string or a Uint8Array (a Buffer is one).";
}

export function headersAreWrong(headers: Readonly<Record<string, string>> | undefined): string {
  if (headers === undefined) return "";
  const names = Object.keys(headers);
  if (names.length > MAX_HEADERS) return `At most ${MAX_HEADERS} headers.`;
  for (const name of names) {
    const bytes = Buffer.byteLength(name);
    if (bytes < 1 || bytes > MAX_HEADER_NAME_BYTES) return `A header's name has 1 to ${MAX_HEADER_NAME_BYTES} bytes.`;
    if (Buffer.byteLength(headers[name]!) > MAX_HEADER_VALUE_BYTES) return `A header's value has at most ${MAX_HEADER_VALUE_BYTES} bytes.`;
  }
  return "";
}

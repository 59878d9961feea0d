// A message as the application gives it, and the body and headers that carry it.

/** Text goes out as `text/plain`, bytes as `application/octet-stream`, everything else as its JSON. */
export type Payload = string | Uint8Array | { readonly [name: string]: unknown } | readonly unknown[] | number | boolean | null;

export interface MessageOptions {
  /** 1 to 255 visible ASCII characters; a random one where none is given. The same key is the same message, however often it is sent. */
  readonly key?: string | undefined;
  /** Other than the payload's own. A string with `application/json` is passed on as it is. */
  readonly contentType?: string | undefined;
  /** They travel with the message; their names have a–z, 0–9, "." and "-". */
  readonly headers?: Readonly<Record<string, string>> | undefined;
  /** After this it is no longer delivered; milliseconds since 1970, or a Date. */
  readonly expires?: number | Date | undefined;
}

export interface Message extends MessageOptions {
  readonly device: string;
  readonly payload: Payload;
}

/** What a stored message is answered with. */
export interface Stored {
  readonly device: string;
  /** Its place in the device's stream; digits. */
  readonly offset: string;
  /** True: it was stored before, by an earlier call or an earlier attempt of this one. */
  readonly duplicate: boolean;
  readonly key: string;
}

export interface Packed {
  readonly body: string | Uint8Array<ArrayBuffer>;
  readonly contentType: string;
}

/** @throws TypeError for what has no JSON */
export function packed(payload: Payload, contentType: string | undefined): Packed {
  if (typeof payload === "string") return { body: payload, contentType: contentType ?? "text/plain; charset=utf-8" };
  if (payload instanceof Uint8Array) return { body: payload as Uint8Array<ArrayBuffer>, contentType: contentType ?? "application/octet-stream" };
  const json = JSON.stringify(payload) as string | undefined;
  if (json === undefined) throw new TypeError("A payload is a string, a Uint8Array, or something that JSON can say.");
  return { body: json, contentType: contentType ?? "application/json" };
}

/** RFC 3339: every attempt says the same time. @throws TypeError */
export function expiryText(expires: number | Date): string {
  const date = new Date(expires);
  if (Number.isNaN(date.getTime())) throw new TypeError("`expires` is a Date, or milliseconds since 1970.");
  return date.toISOString();
}

/** One line of a batch. */
export function lineOf(message: Message, key: string): string {
  const { device, payload, headers, expires } = message;
  const { body, contentType } = packed(payload, message.contentType);
  return JSON.stringify({ device, ...contentOf(payload, body, contentType), key, contentType, headers, ...(expires === undefined ? {} : { expires: expiryText(expires) }) });
}

/** A string under a type of JSON would be taken for a JSON string: what is JSON text already goes as its bytes. */
function contentOf(payload: Payload, body: Packed["body"], contentType: string) {
  if (typeof body !== "string") return { payloadBase64: base64Of(body) };
  if (typeof payload !== "string") return { payload };
  return /\bjson\b/i.test(contentType) ? { payloadBase64: base64Of(new TextEncoder().encode(payload)) } : { payload };
}

function base64Of(bytes: Uint8Array): string {
  let binary = "";
  for (const byte of bytes) binary += String.fromCharCode(byte);
  return btoa(binary);
}

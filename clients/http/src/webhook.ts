// Verifies that a request comes from the broker: Standard Webhooks 1.0, HMAC-SHA256 over id, time and body.

import { parseJson } from "./entries.ts";
import { clientError } from "./errors.ts";

/** A signature older, or further ahead, than this is refused: a recorded request cannot be played again later. */
const TOLERANCE_SECONDS = 300;
/** Signatures in one header that are tried; during a rotation there are two. */
const MOST_SIGNATURES = 16;

export interface WebhookRequest {
  readonly headers: Headers | Readonly<Record<string, string | readonly string[] | undefined>>;
  /** Exactly as it came. */
  readonly body: string | Uint8Array;
}

export interface VerifyOptions {
  readonly toleranceSeconds?: number;
  /** Milliseconds since 1970. */
  readonly now?: number;
}

export interface Webhook {
  /** The same at every try: what was done for it once need not be done again. */
  readonly id: string;
  /** When this try was signed; seconds since 1970. */
  readonly timestamp: number;
  readonly body: string;
  /** Under it, changes of state and messages commit with this webhook; undefined where there is none. */
  readonly cookie: string | undefined;
  /** @throws BellhopError `bad_answer` when the body is not JSON */
  json(): unknown;
}

/**
 * Resolves when one of the secrets (`whsec_` and base64, or base64) has signed it; give the old and the new one during a rotation.
 * A web `Request` is read to its end. @throws BellhopError `bad_signature`, TypeError for a secret that is no base64
 */
export async function verify(request: Request | WebhookRequest, secrets: string | readonly string[], options: VerifyOptions = {}): Promise<Webhook> {
  const { toleranceSeconds = TOLERANCE_SECONDS, now = Date.now() } = options;
  const id = header(request, "webhook-id");
  const time = header(request, "webhook-timestamp");
  if (id === undefined || time === undefined || !/^\d{1,12}$/.test(time)) throw clientError("bad_signature", "webhook-id or webhook-timestamp is missing.");
  if (Math.abs(now / 1000 - Number(time)) > toleranceSeconds) throw clientError("bad_signature", `It was signed at another time than now (${time}).`);
  const given = (header(request, "webhook-signature") ?? "").split(" ", MOST_SIGNATURES);
  const signatures = given.filter((one) => one.startsWith("v1,")).flatMap((one) => bytesOf(one.slice("v1,".length)) ?? []);
  const body = "arrayBuffer" in request ? new Uint8Array(await request.arrayBuffer()) : bodyBytes(request.body);
  const signed = joined(new TextEncoder().encode(`${id}.${time}.`), body);
  for (const secret of typeof secrets === "string" ? [secrets] : secrets) {
    const bytes = bytesOf(secret.replace(/^whsec_/, ""));
    if (bytes === undefined || bytes.length === 0) throw new TypeError("A secret is `whsec_` and base64.");
    const key = await crypto.subtle.importKey("raw", bytes, { name: "HMAC", hash: "SHA-256" }, false, ["verify"]);
    for (const signature of signatures) {
      // verify compares in constant time
      if (await crypto.subtle.verify("HMAC", key, signature, signed)) {
        const text = new TextDecoder().decode(body);
        return { id, timestamp: Number(time), body: text, cookie: header(request, "bellhop-cookie"), json: () => parseJson(text) };
      }
    }
  }
  throw clientError("bad_signature");
}

function header({ headers }: Request | WebhookRequest, name: string): string | undefined {
  if (isHeaders(headers)) return headers.get(name) ?? undefined;
  const found = Object.entries(headers).find(([given]) => given.toLowerCase() === name)?.[1];
  return typeof found === "string" ? found : found?.[0];
}

function isHeaders(headers: WebhookRequest["headers"]): headers is Headers {
  return typeof headers["get"] === "function";
}

function bodyBytes(body: string | Uint8Array): Uint8Array {
  return typeof body === "string" ? new TextEncoder().encode(body) : body;
}

function joined(head: Uint8Array, body: Uint8Array): Uint8Array<ArrayBuffer> {
  const all = new Uint8Array(head.length + body.length);
  all.set(head);
  all.set(body, head.length);
  return all;
}

function bytesOf(base64: string): Uint8Array<ArrayBuffer> | undefined {
  try {
    return Uint8Array.from(atob(base64), (char) => char.charCodeAt(0));
  } catch {
    return undefined;
  }
}

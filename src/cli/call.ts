// Calls to a broker over HTTP: bounded retries with full jitter, never sooner than Retry-After; what takes long is told; failures as CliErrors.

import { request as https } from "node:https";
import { Readable } from "node:stream";
import { setTimeout as sleep } from "node:timers/promises";

import { CliError, exitOf, isErrorCode } from "./exit.ts";
import { authorities } from "./options.ts";
import { noteToPeople } from "./output.ts";
import { apiKey } from "./secrets.ts";
import { tlsFailure } from "./tls-failure.ts";

const TRIES = 6;
const BASE_MS = 100;
const CAP_MS = 5_000;
/** A Retry-After beyond this is not waited for: the command fails and says so. */
const LONGEST_WAIT_MS = 30_000;
/** Time for one try, a long poll's own wait not counted. */
const TRY_MS = 20_000;
/** Waited in silence; what takes longer is told. */
const QUIET_MS = 2_000;

export interface Call {
  readonly method?: "GET" | "POST" | "PUT" | "PATCH" | "DELETE";
  readonly path: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string | Uint8Array;
  readonly signal?: AbortSignal;
  /** Statuses that are answers here and not failures. */
  readonly accept?: readonly number[];
  /** Tried once: sent again it could not tell what the first brought about. */
  readonly once?: true;
  /** Who calls shows by itself that it waits. */
  readonly quiet?: true;
}

export interface Answer {
  readonly status: number;
  readonly headers: Headers;
  /** Parsed JSON, or the text where the answer is not JSON. */
  readonly body: unknown;
}

/** Calls with a body are sent again as they are: give those that must not happen twice an Idempotency-Key or an If-Match. */
export async function call(at: string, request: Call): Promise<Answer> {
  const startedAt = performance.now();
  const tell = request.quiet === true ? () => {} : noteToPeople;
  for (let attempt = 0; ; attempt += 1) {
    let failure: CliError;
    let retryAfterMs = 0;
    const slow = setTimeout(() => tell(`${at} has not answered for ${QUIET_MS / 1000} s; it has ${TRY_MS / 1000} s`), QUIET_MS);
    try {
      const response = await open(at, request, AbortSignal.timeout(TRY_MS));
      const body = await bodyOf(response);
      if (response.ok || request.accept?.includes(response.status)) return { status: response.status, headers: response.headers, body };
      failure = problem(response.status, body);
      retryAfterMs = retryAfter(response.headers);
    } catch (error) {
      request.signal?.throwIfAborted();
      failure = await unreachable(at, error);
    } finally {
      clearTimeout(slow);
    }
    const wait = Math.max(retryAfterMs, jitter(attempt));
    const again = failure.exit === "later" || failure.exit === "unreachable";
    if (!again || request.once === true || attempt + 1 >= TRIES || wait > LONGEST_WAIT_MS) throw failure;
    if (performance.now() - startedAt + wait > QUIET_MS) tell(`${failure.code}${failure.why === "" ? "" : ` (${failure.why})`}; trying again in ${Math.ceil(wait / 1000)} s`);
    await sleep(wait, undefined, request.signal === undefined ? {} : { signal: request.signal });
  }
}

/** One try; resolves at the answer's headers. */
export function open(at: string, request: Call, timeout?: AbortSignal): Promise<Response> {
  const signals = [request.signal, timeout].filter((signal) => signal !== undefined);
  const url = new URL(request.path, baseOf(at));
  const signal = signals.length === 0 ? undefined : AbortSignal.any(signals);
  const ca = authorities();
  const key = apiKey(url);
  const headers = { ...request.headers, ...(key === undefined ? {} : { authorization: `Bearer ${key}` }) };
  if (ca !== undefined && url.protocol === "https:") return openTrusting(ca, url, { ...request, headers }, signal);
  return fetch(url, {
    method: request.method ?? "GET",
    headers,
    ...(request.body === undefined ? {} : { body: request.body }),
    ...(signal === undefined ? {} : { signal }),
  });
}

/** fetch, which takes no authorities of its own on this Node, said with node:https. */
function openTrusting(ca: string, url: URL, { method = "GET", headers = {}, body }: Call, signal: AbortSignal | undefined): Promise<Response> {
  return new Promise((resolve, reject) => {
    const outgoing = https(url, { method, headers, ca, agent: false, ...(signal === undefined ? {} : { signal }) }, (incoming) => {
      const { statusCode = 0, rawHeaders } = incoming;
      const pairs = Array.from({ length: rawHeaders.length / 2 }, (_, i): [string, string] => [rawHeaders[2 * i]!, rawHeaders[2 * i + 1]!]);
      const hasBody = ![204, 205, 304].includes(statusCode);
      resolve(new Response(hasBody ? (Readable.toWeb(incoming) as ReadableStream<Uint8Array>) : null, { status: statusCode, headers: pairs }));
    });
    outgoing.on("error", reject);
    outgoing.end(body);
  });
}

export function baseOf(at: string): string {
  const scheme = (process.env["BELLHOP_CA"] ?? "") === "" ? "http" : "https";
  const base = /^https?:\/\//.test(at) ? at : `${scheme}://${at}`;
  if (!URL.canParse(base)) throw new CliError("usage", "bad_address", `"${at}" is not an address.`, "HOST:PORT or a URL is wanted.", "--at 127.0.0.1:4800");
  return base;
}

/** Full jitter: random(0, min(cap, base · 2^attempt)), in milliseconds. */
export function jitter(attempt: number): number {
  return Math.random() * Math.min(CAP_MS, BASE_MS * 2 ** attempt);
}

/** Milliseconds; 0 where the answer does not say. */
export function retryAfter(headers: Headers): number {
  const value = headers.get("retry-after");
  if (value === null) return 0;
  const ms = /^\d+$/.test(value) ? Number(value) * 1000 : Date.parse(value) - Date.now();
  return Number.isFinite(ms) ? Math.max(0, ms) : 0;
}

async function bodyOf(response: Response): Promise<unknown> {
  const text = await response.text();
  if (!/json/.test(response.headers.get("content-type") ?? "")) return text;
  return text === "" ? undefined : (JSON.parse(text) as unknown);
}

/** An RFC 9457 problem as an error of the command line. */
export function problem(status: number, body: unknown): CliError {
  const { code, title, detail } = typeof body === "object" && body !== null ? (body as Record<string, unknown>) : {};
  const known = typeof code === "string" && isErrorCode(code) ? code : undefined;
  const exit = known === undefined ? (status >= 500 || status === 429 ? "later" : "refused") : exitOf(known);
  const what = typeof title === "string" ? title : `The broker answered ${status}.`;
  const why = typeof detail === "string" && detail !== what ? detail : "";
  if (known === "unauthenticated") return new CliError(exit, known, what, why, "give a key with --key-file FILE or BELLHOP_KEY_FILE; the first one is in admin.key of the data directory of the node that was started first");
  if (known === "forbidden") return new CliError(exit, known, what, why, "use a key with another role: `bellhop key list`");
  if (known === "too_large") return new CliError(exit, known, what, why, "send less in one message, or start the broker with a greater --max-payload-bytes (docs/configuration.md)");
  const next = exit === "later" ? "run the same command again in a moment; `bellhop status` says what the broker waits for" : "";
  return new CliError(exit, known ?? `http_${status}`, what, why, next);
}

/** The parser's codes for an answer that is none: undici's, and those of node:http. */
const NOT_HTTP = /^HPE_/;

/** Why a try brought no answer. What is wrong on this side, and what another try cannot mend, has another exit than `unreachable`. */
export async function unreachable(at: string, error: unknown): Promise<CliError> {
  if (error instanceof CliError) return error; // a secret or a file, before any connection
  const cause = error instanceof Error && error.cause instanceof Error ? error.cause : error;
  const code = (cause as NodeJS.ErrnoException | undefined)?.code;
  if (code !== undefined && NOT_HTTP.test(code)) {
    return new CliError("unreachable", "not_http", `What answers at ${at} does not speak HTTP.`, "a broker's port for devices, 4810 by default, does not", "name its port for HTTP, 4800 by default: --at HOST:PORT");
  }
  const ofTls = await tlsFailure(at, new URL(baseOf(at)), cause);
  if (ofTls !== undefined) return ofTls;
  const why = code === "ECONNREFUSED" ? "nothing listens there" : cause instanceof Error ? cause.message : String(cause);
  return new CliError("unreachable", "unreachable", `No broker answers at ${at}.`, why, "start one with `bellhop start`, or name another with --at HOST:PORT");
}

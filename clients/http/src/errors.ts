// The client's typed error: a code of the broker's table (docs/errors.md), or one of the client's own.

import type { ErrorCode } from "../../../src/base/errors.ts";

/** The codes that brokers answer with. */
export type BrokerCode = ErrorCode;

/** The client's own codes, and whether the same call may be made again. */
const CLIENT_ERRORS = {
  unreachable: { retryable: true, what: "No connection, or it was lost before the answer." },
  untrusted: { retryable: false, what: "The broker's certificate is not accepted." },
  no_answer: { retryable: true, what: "The broker did not answer in time." },
  bad_answer: { retryable: true, what: "The answer is not one of Bellhop's; something else stands at this address." },
  timed_out: { retryable: true, what: "The call's time is over." },
  queue_full: { retryable: true, what: "As many calls as may wait for their turn do so already." },
  aborted: { retryable: false, what: "The call was aborted." },
  closed: { retryable: false, what: "The publisher is closed." },
  bad_signature: { retryable: false, what: "The webhook was not signed with one of the secrets, or not just now." },
} as const satisfies Record<string, { readonly retryable: boolean; readonly what: string }>;

export type ClientCode = keyof typeof CLIENT_ERRORS;

/** A newer broker may answer with a code that this client does not know: it is passed on as it is. */
export type Code = BrokerCode | ClientCode | (string & {});

/** What the broker said of a publish whose time was over (A6). */
export type Outcome =
  /** Not stored as of this position of the device's stream. A request still on its way may store it: send it again with its key to be sure. */
  | { readonly is: "absent"; readonly position: string }
  /** Its key or number is older than what is kept. */
  | { readonly is: "forgotten" }
  /** Its number in a series was spent on nothing: it had been refused for good. */
  | { readonly is: "void" }
  /** It never left this process. */
  | { readonly is: "unsent" }
  /** No broker could be asked. */
  | { readonly is: "unknown" };

export interface ErrorFacts {
  readonly retryable: boolean;
  readonly status?: number;
  readonly detail?: string;
  readonly device?: string | undefined;
  readonly key?: string | undefined;
  readonly outcome?: Outcome;
  readonly expected?: string | undefined;
  readonly nonce?: string | undefined;
  readonly retryAfterMs?: number;
  readonly attempts?: number;
  readonly cause?: unknown;
}

/** Every promise of this client rejects with it, and with nothing else but TypeError for arguments of a wrong type. */
export class BellhopError extends Error {
  override readonly name = "BellhopError";
  readonly code: Code;
  /** May the same call be made again, with the same key? The client has done so already for as long as its call may take. */
  readonly retryable: boolean;
  /** HTTP status; 0 where there was no answer. */
  readonly status: number;
  readonly detail: string;
  readonly device: string | undefined;
  /** The idempotency key of the publish: sending again with it cannot store it twice. */
  readonly key: string | undefined;
  /** With `timed_out` of a publish: what is known of it. */
  readonly outcome: Outcome | undefined;
  /** With `gap`: the series number that must come next. */
  readonly expected: string | undefined;
  /** With `taken_over` at the opening of a series: the greater nonce that stands. */
  readonly nonce: string | undefined;
  /** What the broker asked to wait, in milliseconds; 0 for nothing. */
  readonly retryAfterMs: number;
  /** Requests that were made for this call. */
  readonly attempts: number;

  constructor(code: Code, message: string, facts: ErrorFacts) {
    super(`${code}: ${message}`, facts.cause === undefined ? {} : { cause: facts.cause });
    this.code = code;
    this.retryable = facts.retryable;
    this.status = facts.status ?? 0;
    this.detail = facts.detail ?? "";
    this.device = facts.device;
    this.key = facts.key;
    this.outcome = facts.outcome;
    this.expected = facts.expected;
    this.nonce = facts.nonce;
    this.retryAfterMs = facts.retryAfterMs ?? 0;
    this.attempts = facts.attempts ?? 0;
  }

  /** The same error, with more said. */
  with(more: Partial<ErrorFacts>): BellhopError {
    const { code, message, retryable, status, detail, device, key, outcome, expected, nonce, retryAfterMs, attempts, cause } = this;
    const facts = { retryable, status, detail, device, key, expected, nonce, retryAfterMs, attempts, cause, ...(outcome === undefined ? {} : { outcome }) };
    return new BellhopError(code, message.slice(code.length + 2), { ...facts, ...more });
  }
}

/** An error of the client itself; `detail` says why. */
export function clientError(code: ClientCode, detail = "", facts: Partial<ErrorFacts> = {}): BellhopError {
  const { what, retryable } = CLIENT_ERRORS[code];
  return new BellhopError(code, detail === "" ? what : `${what} ${detail}`, { retryable, detail, ...facts });
}

/** The broker's problem details (RFC 9457) as an error; undefined where they are none of Bellhop's. */
export function problemError(problem: Readonly<Record<string, unknown>>, facts: Partial<ErrorFacts> = {}): BellhopError | undefined {
  const { code, retryable, title, detail, status, expected, nonce } = problem;
  if (typeof code !== "string" || typeof retryable !== "boolean") return undefined;
  const said = [title, detail].filter((part) => typeof part === "string").join(" ");
  return new BellhopError(code, said, {
    retryable,
    ...(typeof status === "number" ? { status } : {}),
    ...(typeof detail === "string" ? { detail } : {}),
    ...(typeof expected === "string" ? { expected } : {}),
    ...(typeof nonce === "string" ? { nonce } : {}),
    ...facts,
  });
}

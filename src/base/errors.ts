// One table of everything Bellhop can answer that is not "stored": its code, whether the same request may be sent again, and its HTTP status.
// The codes are the same on the wire of devices, in HTTP problem details, in the clients and in docs/errors.md.

export interface ErrorKind {
  /** May the same message, with the same number or key, be sent again later? */
  readonly retryable: boolean;
  /** HTTP status. */
  readonly status: number;
  /** What happened, in a sentence for the user. */
  readonly what: string;
}

export const ERRORS = {
  gap: { retryable: true, status: 409, what: "The series number is not the next one; go back to `expected`." },
  taken_over: { retryable: false, status: 410, what: "A newer session of this publisher has been opened." },
  removed: { retryable: false, status: 410, what: "The device was removed with its data." },
  broken: { retryable: false, status: 410, what: "The session is not known or does not join on; open a new one." },
  forgotten: { retryable: false, status: 410, what: "What was asked about is older than what is kept." },
  key_reused: { retryable: false, status: 422, what: "The idempotency key was used before with another payload, content type, headers or expiry." },
  no_credit: { retryable: true, status: 429, what: "The window is full; wait for credit." },
  no_key_space: { retryable: true, status: 429, what: "The bucket holds as many young idempotency keys as its limit allows." },
  too_many_requests: { retryable: true, status: 429, what: "A limit on requests was reached." },
  stale_table: { retryable: true, status: 503, what: "The request was routed by a stale table." },
  bucket_paused: { retryable: true, status: 503, what: "The device's bucket is changing its leader." },
  bucket_dark: { retryable: true, status: 503, what: "No whole copy of the device's bucket is available." },
  storage_full: { retryable: true, status: 503, what: "The disk is full; reads go on, writes wait for space." },
  overloaded: { retryable: true, status: 503, what: "The node holds as much waiting work as it may." },
  stopping: { retryable: true, status: 503, what: "The node is shutting down." },
  deadline: { retryable: true, status: 503, what: "The answer did not come within the request's deadline; it may or may not be stored: send it again with the same key." },
  too_large: { retryable: false, status: 413, what: "The message is larger than the limit." },
  bad_request: { retryable: false, status: 400, what: "The request is malformed." },
  bad_document: { retryable: false, status: 400, what: "The state document or patch is not a JSON object, too deep or too large." },
  version_conflict: { retryable: false, status: 412, what: "The document has another version than If-Match names." },
  unknown_device: { retryable: false, status: 404, what: "The device is not known." },
  not_found: { retryable: false, status: 404, what: "What was asked for is not there." },
  bad_method: { retryable: false, status: 405, what: "This address does not take this method; `Allow` has those that it takes." },
  expired: { retryable: false, status: 410, what: "The message had expired before it could be stored." },
  protocol: { retryable: false, status: 400, what: "The frame is malformed, out of turn or of an unknown type." },
  unsupported_version: { retryable: false, status: 400, what: "This protocol version is not spoken here." },
  exists: { retryable: false, status: 409, what: "There is one of this name already." },
  limit_reached: { retryable: false, status: 409, what: "There are as many as there may be; remove one first." },
  unsafe: { retryable: false, status: 409, what: "As the cluster stands, this would lose data or stop writes." },
  still_running: { retryable: true, status: 409, what: "The node's process runs, or its lease has not ended yet." },
  unauthenticated: { retryable: false, status: 401, what: "The credential is missing or not known." },
  forbidden: { retryable: false, status: 403, what: "The credential does not allow this." },
  idle: { retryable: true, status: 408, what: "Nothing was heard for longer than the keep-alive allows." },
  internal: { retryable: true, status: 500, what: "The broker failed; the log says why." },
} as const satisfies Record<string, ErrorKind>;

export type ErrorCode = keyof typeof ERRORS;

/** An error with a code from the table; `detail` says why and what to do next. */
export class BellhopError extends Error {
  override readonly name: string = "BellhopError";
  readonly code: ErrorCode;
  readonly detail: string;

  constructor(code: ErrorCode, detail = "") {
    super(detail === "" ? ERRORS[code].what : `${ERRORS[code].what} ${detail}`);
    this.code = code;
    this.detail = detail;
  }

  get retryable(): boolean {
    return ERRORS[this.code].retryable;
  }
}

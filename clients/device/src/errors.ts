// The client's typed error: a code of the broker's table, or one of the client's own.

/** Codes of the client itself, beside those that the broker sends (docs/device-protocol.md, section 7). */
export type ClientCode = "closed" | "outbox_full" | "outbox_failed" | "untrusted";

export class DeviceError extends Error {
  override readonly name = "DeviceError";
  /** A code of the broker's table or a ClientCode. */
  readonly code: string;
  /** May the same be tried again later? */
  readonly retryable: boolean;

  constructor(code: string, retryable: boolean, message: string) {
    super(message === "" ? code : `${code}: ${message}`);
    this.code = code;
    this.retryable = retryable;
  }
}

// The client's typed error: a code of the broker's table, or one of the client's own.

import { type ErrorCode, ERRORS } from "../../../src/base/errors.ts";

/** Codes of the client itself, beside those that the broker sends (docs/device-protocol.md, section 7). */
export type ClientCode = "closed" | "outbox_full" | "outbox_failed" | "untrusted";

export class DeviceError extends Error {
  override readonly name = "DeviceError";
  /** A code of the broker's table or a ClientCode. */
  readonly code: string;
  /** May the same be tried again later? */
  readonly retryable: boolean;

  /** @param message a sentence; "": the table's */
  constructor(code: string, retryable: boolean, message: string) {
    const sentence = message === "" && Object.hasOwn(ERRORS, code) ? ERRORS[code as ErrorCode].what : message;
    super(sentence === "" ? code : `${code}: ${sentence}`);
    this.code = code;
    this.retryable = retryable;
    // Most come from a socket's event: their frames would name the client's inside only. Those of a call get its frames: `calledFrom`.
    this.stack = `DeviceError: ${this.message}`;
  }

  /** Its stack begins where the application called this function. */
  calledFrom(called: (...args: never[]) => unknown): this {
    Error.captureStackTrace(this, called);
    return this;
  }
}

// How a command ends: its exit code, and for failures what happened, why, and what to do next.

import type { ErrorCode } from "../base/errors.ts";
import { ERRORS } from "../base/errors.ts";

/** The table of exit codes; docs and `bellhop --help` show it. */
export const EXIT = {
  ok: { code: 0, meaning: "done, or whoever reads the output has read enough" },
  failed: { code: 1, meaning: "something failed that should not; the message says what" },
  usage: { code: 2, meaning: "the command line, the settings or the input are wrong" },
  unreachable: { code: 3, meaning: "no broker answers at the address" },
  refused: { code: 4, meaning: "the broker refused for good: the same request would be refused again" },
  later: { code: 5, meaning: "the broker cannot do it now: the same command may work later" },
  notFound: { code: 6, meaning: "the device, the file or the position does not exist" },
  unhealthy: { code: 7, meaning: "the broker is not ready, or data is damaged" },
  inUse: { code: 8, meaning: "start: another process has the data directory open" },
  /** Set by src/broker.ts: what was answered is on disk, and the next start goes on from there. */
  stopped: { code: 70, meaning: "start: the node stopped itself, on a failed disk or a broken invariant; the log says why" },
  interrupted: { code: 130, meaning: "stopped by Ctrl-C before it was done" },
} as const satisfies Record<string, { code: number; meaning: string }>;

export type Exit = keyof typeof EXIT;

export class CliError extends Error {
  override readonly name = "CliError";
  readonly exit: Exit;
  /** A code of base/errors.ts, or of the command line's own. */
  readonly code: string;
  readonly why: string;
  /** A command or an action that helps. */
  readonly next: string;

  constructor(exit: Exit, code: string, what: string, why = "", next = "") {
    super(what);
    this.exit = exit;
    this.code = code;
    this.why = why;
    this.next = next;
  }
}

/** The exit of a command that the broker answered with this code. */
export function exitOf(code: ErrorCode): Exit {
  if (code === "unknown_device" || code === "not_found" || code === "forgotten") return "notFound";
  return ERRORS[code].retryable ? "later" : "refused";
}

export function isErrorCode(code: string): code is ErrorCode {
  return Object.hasOwn(ERRORS, code);
}

/** The table of docs/command-line.md. */
export function exitMarkdown(): string {
  const lines = Object.values(EXIT).map(({ code, meaning }) => `| ${code} | ${meaning} |`);
  return ["| exit code | |", "|---|---|", ...lines].join("\n");
}

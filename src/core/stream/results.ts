// What applying a command came to: the answer is this, whatever admission expected (R27).

import type { ErrorCode } from "../../base/errors.ts";
import type { Session } from "./session.ts";

export type Result =
  /** `last`: greatest series applied before this entry's attach (R26). */
  | { readonly type: "attached"; readonly session: Session; readonly last: number; readonly attachment: number }
  | { readonly type: "broken"; readonly code: "broken" | "taken_over"; readonly generation: number; readonly last: number; readonly stored: bigint | undefined }
  | { readonly type: "stored"; readonly offset: number; readonly duplicate: boolean }
  | { readonly type: "changed"; readonly version: number; readonly offset: number }
  | { readonly type: "done" }
  | { readonly type: "failed"; readonly code: ErrorCode; readonly version: number };

/** Who is told the results: the admission while it leads. Called inside `apply`; must not change the machine. */
export interface Applied {
  /** A publish of this session is being applied: the session itself, where it is at hand; the machine looks it up otherwise. */
  publishing(session: number): Session | undefined;
  /** The publish's number was consumed; `code` says why it is void, 0 for a stored one. */
  published(session: Session, series: number, code: number): void;
  /** The publish had no effect: its session is not current, or its number is not the next. */
  lost(session: number): void;
  /** The session is over: a newer one took its place, or its device was removed. */
  ended(session: number, why?: "removed"): void;
  /** A credential was removed from the session's device: whoever speaks for the session by it does no longer. */
  revoked(session: number, credential: number): void;
  result(index: number, result: Result): void;
}

/** What an older HELLO is told: where it is of the same session, or opens one, its publisher may have a clock that went back, and comes again above the stored nonce; else its session is over (R25). */
export function older({ number, generation, last, nonce }: Session, named: number): Extract<Result, { type: "broken" }> {
  return { type: "broken", code: "taken_over", generation, last, stored: named < number ? undefined : nonce };
}

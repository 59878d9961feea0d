// What nodes ask each other when a device's stream is read on a node that has no copy of it, or an older one (R34): one question and one answer, and watches that tell how a stream moves.

import type { ErrorCode } from "../base/errors.ts";

export type ReadMessage =
  /** To the bucket's leader, which answers itself: a question is never passed on (C8). `epoch`: of the government that the asker sees. `read`: what is read, as src/node/streams.ts has it. */
  | { readonly type: "ask"; readonly question: number; readonly bucket: number; readonly epoch: number; readonly read: unknown }
  | { readonly type: "told"; readonly question: number; readonly value: unknown }
  | { readonly type: "refused"; readonly question: number; readonly code: ErrorCode; readonly detail: string }
  /** Answered by `moved` at once; lasts until `unwatch`, `unwatched` or the end of the link. `types`: bits of those that are told at once. */
  | { readonly type: "watch"; readonly watch: number; readonly bucket: number; readonly epoch: number; readonly device: string; readonly types: number }
  | { readonly type: "unwatch"; readonly watch: number }
  /** Not here, not now: this watch is not kept. */
  | { readonly type: "unwatched"; readonly watch: number }
  /** How watched streams moved in a turn. */
  | { readonly type: "moved"; readonly moves: readonly Move[] };

/** The watch, where its stream ends now, and the types of what came (bits). */
export type Move = readonly [watch: number, end: number, types: number];

const TYPES: ReadonlySet<unknown> = new Set<ReadMessage["type"]>(["ask", "told", "refused", "watch", "unwatch", "unwatched", "moved"]);

export function isReadMessage(value: unknown): value is ReadMessage {
  return typeof value === "object" && value !== null && "type" in value && TYPES.has(value.type);
}

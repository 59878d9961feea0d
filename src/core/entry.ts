// The entry of a bucket's log: what is written, replicated, committed and applied (R11).

/** Kinds known to the replica; the payload of `machine` entries belongs to the state machine behind it (B13). */
export const ENTRY_KIND = {
  /** A leader's first entry in its epoch (R16). */
  gov: 0,
  /** A command of the replicated state machine. */
  machine: 1,
  /** Moves the floor: payload is the new floor as u48 big-endian; entries below it may be forgotten (R17). */
  floor: 2,
  /** What a removed device's entry is once the log's files hold its payload no more: at or below every checkpoint of its copy, so it is never applied there. */
  erased: 3,
} as const;

export type EntryKind = (typeof ENTRY_KIND)[keyof typeof ENTRY_KIND];

export interface Entry {
  /** 1, 2, 3, … within its bucket. */
  readonly index: number;
  readonly epoch: number;
  readonly kind: EntryKind;
  /** Milliseconds since 1970 by the leader's clock at admission; never falls within a bucket (R32). */
  readonly time: number;
  /** Owned by the entry; never changed and its buffer never reused. */
  readonly payload: Uint8Array;
}

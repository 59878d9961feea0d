// The limits of a bucket's admission, each with its unit.

export interface AdmissionLimits {
  /** Messages in flight that a session is given at most. */
  readonly window: number;
  /** Publishers of one device. */
  readonly sessionsPerDevice: number;
  /** Milliseconds of log time that idempotency keys are kept at least, and bytes they may take in a bucket (R31). */
  readonly keyRetentionMs: number;
  readonly keySpaceBytes: number;
  /** Bytes of one message's body. */
  readonly bodyBytes: number;
  /** Requests that wait for the bucket to open; requests that wait for their entry or round; seats. */
  readonly held: number;
  readonly waiting: number;
  readonly seats: number;
}

// Limits of the gateway, all of them bounds on what waits here (E4).

export interface GatewayLimits {
  /** Messages of one line that may be unacknowledged; the least of this and what the device asks is settled. */
  readonly window: number;
  /** Bytes of one line that may be unacknowledged. */
  readonly windowBytes: number;
  /** Requests (HTTP) held at once. */
  readonly requests: number;
  /** Milliseconds before an unanswered question to a leader is asked again. */
  readonly askAgainMs: number;
  /** Milliseconds a socket is held while its bucket has no leader that takes it; then it is closed with `bucket_paused`. */
  readonly pauseMs: number;
  /** Back-off after "not now" from a leader: the first wait, doubled each time up to the cap, in milliseconds. */
  readonly backoffMs: number;
  readonly backoffCapMs: number;
}

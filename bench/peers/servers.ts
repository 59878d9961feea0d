// A peer's three servers on this machine, whichever peer it is.

export interface PeerServers {
  /** HOST:PORT of each, with commas between. */
  readonly at: string;
  /** In the same order. */
  readonly pids: readonly number[];
  /** Ends them and removes their data. */
  stop(): Promise<void>;
}

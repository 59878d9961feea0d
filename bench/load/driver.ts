// What the load generator needs from a peer: one connection that publishes in batches, and a count of what is stored.

export interface Connection {
  /** Writes the next `count` messages with one write; never more than `inFlight` are unanswered. */
  publish(count: number): void;
  close(): void;
}

export interface LaneEvents {
  /** `count` more messages were answered; called once for each chunk read from the socket. */
  answered(count: number): void;
  /** The run is over: an error, a refusal, a connection that closed. */
  failed(why: string): void;
}

export interface Driver {
  /** Connects lane number `lane`; resolves when it may publish. */
  connect(lane: number, events: LaneEvents): Promise<Connection>;
  /** Messages of the run found in this lane's stream. Undefined as a member: nothing is stored. */
  readonly stored?: (lane: number, published: number) => Promise<number>;
}

// What a run of the load generator does, and what it found. Plain data: it crosses from the caller's process to the generator's and back.

import type { Percentiles } from "./histogram.ts";

/** What the generator says when the last message was answered. */
export const ANSWERED = "answered";

export interface LoadPlan {
  readonly peer: "bellhop" | "redis" | "nats" | "rabbitmq";
  /** HOST:PORT where devices (or clients of the peer) connect; several with commas between: connections are spread over them in turn. */
  readonly at: string;
  /** HOST:PORT of the broker's HTTP, where what was stored is counted; several with commas between: on each of them; "" where nothing is stored: the floor of sockets. */
  readonly httpAt: string;
  /** Each connection publishes to a stream of its own, named `run`-0, `run`-1, … */
  readonly run: string;
  readonly connections: number;
  /** Most messages unanswered on a connection. */
  readonly inFlight: number;
  readonly payloadBytes: number;
  /** Messages a second over all connections, sent at their time whatever is answered (open loop); 0: a new one for each answer (closed loop). */
  readonly rate: number;
  readonly warmUpSeconds: number;
  /** Measured seconds, after the warm-up. */
  readonly seconds: number;
  /** Also read every stream back and compare message by message, instead of counting only. */
  readonly readBack: boolean;
}

export interface LoadResult {
  /** Messages answered in the measured seconds, and per second. */
  readonly answered: number;
  readonly perSecond: number;
  /** From the time a message was sent (closed loop) or was to be sent (open loop) to its answer. */
  readonly latency: Percentiles;
  /** Seconds of CPU that the generator used for each measured second. */
  readonly generatorCpu: number;
  /** Messages answered over the whole run, warm-up included, and how many of them were found in their streams; undefined where nothing is stored. */
  readonly verified: { readonly answered: number; readonly found: number; readonly readBack: boolean } | undefined;
}

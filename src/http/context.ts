// What every route works with.

import type { NodeApi } from "../node/api.ts";
import type { Settings } from "../config.ts";
import type { Log } from "../observe/log.ts";
import type { Metrics } from "../observe/metrics.ts";
import type { FollowerPlaces } from "./arrival.ts";
import type { EventPages } from "./event-pages.ts";
import type { ConnectionLimit } from "./connections.ts";
import type { RequestRates } from "./rates.ts";

export interface HttpContext {
  readonly node: NodeApi;
  readonly settings: Settings;
  readonly log: Log;
  readonly metrics: Metrics;
  /** Aborted when the server stops: waiting requests answer, followed streams end. */
  readonly stopping: AbortSignal;
  readonly followers: FollowerPlaces;
  readonly eventPages: EventPages;
  readonly connections: ConnectionLimit;
  readonly rates: RequestRates;
  /** Longest time of a handler, in milliseconds; not of publish, whose deadline the gateway keeps (a timer and a signal less for each). */
  readonly handlerTimeout: number;
}

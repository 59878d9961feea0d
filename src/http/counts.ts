// What the HTTP port counts for each of its routes, for /metrics.

import { TimeHistogram } from "../base/counts.ts";
import type { Reading, Readings } from "../observe/metrics.ts";

/** One route's answers: by status, and how long they took. */
export class RouteCounts {
  readonly statuses = new Map<number, number>();
  readonly times = new TimeHistogram();

  answered(status: number, ms: number): void {
    this.statuses.set(status, (this.statuses.get(status) ?? 0) + 1);
    this.times.record(ms);
  }
}

/** @param followers readers that follow a stream or wait. @param open connections at present */
export function httpReadings(
  routes: ReadonlyMap<string, RouteCounts>, followers: number, open: number, taken: number,
): Readings<"http_requests_total" | "http_request_seconds" | "followers" | "connections" | "connections_total"> {
  const requests: Reading[] = [];
  const times: Reading[] = [];
  for (const [name, { statuses, times: value }] of routes) {
    if (value.count === 0) continue;
    const [method, route] = name.split(" ") as [string, string];
    for (const [status, count] of statuses) requests.push({ labels: { method, route, status }, value: count });
    times.push({ labels: { method, route }, value });
  }
  const labels = { front: "http" };
  return { http_requests_total: requests, http_request_seconds: times, followers, connections: [{ labels, value: open }], connections_total: [{ labels, value: taken }] };
}

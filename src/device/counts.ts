// What the device port counts, in plain numbers, for /metrics.

import { Tally, TimeHistogram } from "../base/counts.ts";
import { readingsOf, type Reading, type Readings } from "../observe/metrics.ts";

export class DeviceCounts {
  taken = 0;
  hellos = 0;
  /** Messages stored, from the ACKs; duplicates: sent again though they had been acknowledged. */
  stored = 0;
  duplicates = 0;
  deliveries = 0;
  expired = 0;
  broken = 0;
  /** By code: messages refused for now, and those whose number was spent on nothing. */
  readonly refused = new Tally();
  readonly hellosRefused = new Tally();
  readonly closed = new Tally();
  readonly missed = new Tally();
  readonly publishTimes = new TimeHistogram();

  /** @param open connections at present */
  readings(open: number): Readings<
    "connections" | "connections_total" | "connections_closed_total" | "hellos_total" | "hellos_refused_total" | "deliveries_total" | "deliveries_expired_total" | "deliveries_missed_total" |
    "series_broken_total" | "publishes_total" | "publish_seconds"
  > {
    const labels = { front: "device" };
    const outcome = (name: string, value: number): Reading => ({ labels: { ...labels, outcome: name }, value });
    return {
      connections: [{ labels, value: open }],
      connections_total: [{ labels, value: this.taken }],
      connections_closed_total: readingsOf(this.closed, "code"),
      hellos_total: this.hellos,
      hellos_refused_total: readingsOf(this.hellosRefused, "code"),
      deliveries_total: this.deliveries,
      deliveries_expired_total: this.expired,
      deliveries_missed_total: readingsOf(this.missed, "code"),
      series_broken_total: this.broken,
      publishes_total: [outcome("stored", this.stored), outcome("duplicate", this.duplicates), ...readingsOf(this.refused, "outcome", labels)],
      publish_seconds: [{ labels, value: this.publishTimes }],
    };
  }
}

// Metrics for Prometheus: every part of the node counts in plain numbers, which are read only when somebody asks.

import { collectDefaultMetrics, Registry, type Metric } from "prom-client";

import { TIME_BOUNDS_MS, TimeHistogram, type Tally } from "../base/counts.ts";
import { FAMILIES, type MetricName } from "./families.ts";

/** One number or histogram with its labels. */
export interface Reading {
  readonly labels: Readonly<Record<string, string | number>>;
  readonly value: number | TimeHistogram;
}

/** What a part of the node says of its metrics: a single value stands for one without labels. */
export type Readings<Name extends MetricName = MetricName> = { readonly [name in Name]: Reading["value"] | readonly Reading[] };

export interface Metrics {
  readonly contentType: string;
  /** The exposition text, read from the sources now. */
  text(): Promise<string>;
}

/** @param read called once a scrape */
export function createMetrics(read: () => Readings): Metrics {
  const registry = new Registry();
  collectDefaultMetrics({ register: registry }); // process, heap, garbage collection
  let now: Readings | undefined;
  for (const [name, { type, help }] of Object.entries(FAMILIES) as [MetricName, (typeof FAMILIES)[MetricName]][]) {
    const values = (): Value[] => {
      const given = now![name];
      const readings = Array.isArray(given) ? (given as readonly Reading[]) : [{ labels: {}, value: given as Reading["value"] }];
      return readings.flatMap((reading) => valuesOf(`bellhop_${name}`, reading));
    };
    // The registry asks a metric only for this; its own classes would want every change told as it happens.
    const metric = { name: `bellhop_${name}`, help, type, aggregator: "sum", get: () => ({ name: `bellhop_${name}`, help, type, aggregator: "sum", values: values() }) };
    registry.registerMetric(metric as unknown as Metric);
  }
  return {
    contentType: registry.contentType,
    async text() {
      now = read();
      return await registry.metrics();
    },
  };
}

/** The readings of all parts; what several of them measure stands side by side. */
export function together<Parts extends readonly Partial<Readings>[]>(...parts: Parts): Together<Parts> {
  const all: Record<string, Reading["value"] | readonly Reading[]> = {};
  for (const part of parts) {
    for (const [name, given] of Object.entries(part)) {
      const before = all[name];
      all[name] = Array.isArray(before) && Array.isArray(given) ? [...(before as readonly Reading[]), ...(given as readonly Reading[])] : given;
    }
  }
  return all as Together<Parts>;
}

/** Complete only where every metric has its part: a forgotten one is an error of the compiler. */
type Together<Parts extends readonly unknown[]> = Parts extends readonly [infer First, ...infer Rest] ? First & Together<Rest> : unknown;

/** One reading for each code of a tally. */
export function readingsOf(tally: Tally, label: string, labels: Reading["labels"] = {}): Reading[] {
  return [...tally.counts].map(([code, value]) => ({ labels: { ...labels, [label]: code }, value }));
}

/** A line of the exposition. */
interface Value {
  readonly metricName: string;
  readonly labels: Reading["labels"];
  readonly value: number;
}

function valuesOf(name: string, { labels, value }: Reading): Value[] {
  if (!(value instanceof TimeHistogram)) return [{ metricName: name, labels, value }];
  const values: Value[] = [];
  let below = 0;
  for (const [bucket, count] of value.buckets.entries()) {
    below += count;
    const bound = TIME_BOUNDS_MS[bucket];
    values.push({ metricName: `${name}_bucket`, labels: { ...labels, le: bound === undefined ? "+Inf" : bound / 1000 }, value: below });
  }
  values.push({ metricName: `${name}_sum`, labels, value: value.sumMs / 1000 }, { metricName: `${name}_count`, labels, value: value.count });
  return values;
}

// Metrics for Prometheus: the node counts in plain numbers and histograms, which are read only when somebody asks. No label names a device.

import type { Histogram } from "node:perf_hooks";
import { collectDefaultMetrics, Counter, Gauge, Registry } from "prom-client";

export interface MetricSources {
  readonly build: { readonly version: string; readonly node: string };
  /** Name without the `bellhop_` prefix → value; what ends in `_total` only rises, everything else is a gauge. */
  numbers(): Readonly<Record<string, number>>;
  /** Where something waits → how much (E4). */
  waiting(): Readonly<Record<string, number>>;
  /** Name without prefix and unit → nanoseconds recorded with perf_hooks.createHistogram; told in seconds. */
  readonly histograms: Readonly<Record<string, Histogram>>;
}

export interface Metrics {
  readonly contentType: string;
  /** The exposition text, read from the sources now. */
  text(): Promise<string>;
}

const QUANTILES = [50, 90, 99, 99.9];
const NANOSECONDS = 1e9;

export function createMetrics(sources: MetricSources): Metrics {
  const registry = new Registry();
  collectDefaultMetrics({ register: registry }); // process, heap, garbage collection and the delay of the event loop
  const registers = [registry];

  const { version, node } = sources.build;
  const labelNames = ["version", "node", "runtime"];
  new Gauge({ name: "bellhop_build_info", help: "1; the labels say what runs.", labelNames, registers }).set(
    { version, node, runtime: process.version },
    1,
  );

  new Gauge({
    name: "bellhop_waiting",
    help: "What waits, by where it waits.",
    labelNames: ["where"],
    registers,
    collect() {
      this.reset();
      for (const [where, value] of Object.entries(sources.waiting())) this.set({ where }, value);
    },
  });

  for (const [name, histogram] of Object.entries(sources.histograms)) {
    new Gauge({
      name: `bellhop_${name}_seconds`,
      help: `Time of ${words(name)} since the start, by quantile; 1 is the longest.`,
      labelNames: ["quantile"],
      registers,
      collect() {
        for (const percent of QUANTILES) this.set({ quantile: percent / 100 }, histogram.percentile(percent) / NANOSECONDS);
        this.set({ quantile: 1 }, histogram.max / NANOSECONDS);
      },
    });
    new Counter({
      name: `bellhop_${name}_total`,
      help: `Count of ${words(name)}.`,
      registers,
      collect() {
        this.reset();
        this.inc(histogram.count);
      },
    });
  }

  const known = new Map<string, Counter | Gauge>();
  const refreshNumbers = (): void => {
    for (const [name, value] of Object.entries(sources.numbers())) {
      let metric = known.get(name);
      if (metric === undefined) {
        const options = { name: `bellhop_${name}`, help: `${words(name.replace(/_total$/, ""))}.`, registers };
        metric = name.endsWith("_total") ? new Counter(options) : new Gauge(options);
        known.set(name, metric);
      }
      metric.reset();
      metric.inc(value);
    }
  };

  return {
    contentType: registry.contentType,
    async text() {
      refreshNumbers();
      return await registry.metrics();
    },
  };
}

function words(name: string): string {
  return name.replaceAll("_", " ");
}

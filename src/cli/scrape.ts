// The numbers of /metrics as `bellhop status --watch` reads them: sums, rates and quantiles between two looks.

interface Sample {
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly value: number;
}

type Labels = Readonly<Record<string, string>>;

export class Scrape {
  /** Milliseconds of the monotonic clock. */
  readonly at: number;
  readonly #byName = new Map<string, Sample[]>();

  /** @param text Prometheus' exposition text */
  constructor(text: string, at: number) {
    this.at = at;
    for (const line of text.split("\n")) {
      const [, name, labels = "", value] = /^bellhop_(\w+)(?:\{(.*)\})? (\S+)$/.exec(line) ?? [];
      if (name === undefined) continue;
      const sample = { name, labels: Object.fromEntries([...labels.matchAll(/(\w+)="([^"]*)"/g)].map(([, label, text]) => [label!, text!])), value: Number(value) };
      this.#byName.set(name, [...(this.#byName.get(name) ?? []), sample]);
    }
  }

  /** Of every sample of the metric (without `bellhop_`) that has these labels. */
  sum(name: string, labels: Labels = {}): number {
    return this.#matching(name, labels).reduce((sum, { value }) => sum + value, 0);
  }

  /** A second, since the earlier look. */
  rate(before: Scrape, name: string, labels: Labels = {}): number {
    const seconds = (this.at - before.at) / 1000;
    return seconds <= 0 ? 0 : Math.max(0, this.sum(name, labels) - before.sum(name, labels)) / seconds;
  }

  /** The values of one label, each with its sum. */
  by(name: string, label: string, labels: Labels = {}): Map<string, number> {
    const sums = new Map<string, number>();
    for (const sample of this.#matching(name, labels)) {
      const value = sample.labels[label] ?? "";
      sums.set(value, (sums.get(value) ?? 0) + sample.value);
    }
    return sums;
  }

  /** Milliseconds that this part of the times since the earlier look does not exceed, evenly spread within a bucket; undefined without any. */
  quantile(before: Scrape, name: string, part: number, labels: Labels = {}): number | undefined {
    const was = before.by(`${name}_bucket`, "le", labels);
    const buckets = [...this.by(`${name}_bucket`, "le", labels)]
      .map(([bound, count]) => ({ bound: bound === "+Inf" ? Infinity : Number(bound) * 1000, count: count - (was.get(bound) ?? 0) }))
      .sort((a, b) => a.bound - b.bound);
    const total = buckets.at(-1)?.count ?? 0;
    if (total <= 0) return undefined;
    let low = { bound: 0, count: 0 };
    for (const bucket of buckets) {
      if (bucket.count >= total * part) {
        if (bucket.bound === Infinity) return low.bound;
        return low.bound + ((bucket.bound - low.bound) * (total * part - low.count)) / Math.max(1, bucket.count - low.count);
      }
      low = bucket;
    }
    return low.bound;
  }

  #matching(name: string, labels: Labels): Sample[] {
    const wanted = Object.entries(labels);
    return (this.#byName.get(name) ?? []).filter((sample) => wanted.every(([label, value]) => sample.labels[label] === value));
  }
}

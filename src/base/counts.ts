// What is counted where the work is done, in plain numbers: no string is built and nothing is allocated for a count; /metrics reads them when asked.

/** How often each code came. */
export class Tally<Code extends string = string> {
  readonly counts = new Map<Code, number>();

  add(code: Code, count = 1): void {
    this.counts.set(code, (this.counts.get(code) ?? 0) + count);
  }
}

/** Upper bounds of a histogram's buckets, in milliseconds; what is longer falls behind the last. */
export const TIME_BOUNDS_MS: readonly number[] = [0.1, 0.25, 0.5, 1, 2.5, 5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10_000];

/** Times in buckets. `perf_hooks` histograms tell quantiles since the start, which cannot be added up over nodes or looked at for the last minute; buckets can. */
export class TimeHistogram {
  /** Times in each bucket alone; the last holds what is longer than every bound. */
  readonly buckets = new Float64Array(TIME_BOUNDS_MS.length + 1);
  count = 0;
  sumMs = 0;

  record(ms: number): void {
    let bucket = 0;
    while (bucket < TIME_BOUNDS_MS.length && ms > TIME_BOUNDS_MS[bucket]!) bucket += 1;
    this.buckets[bucket]! += 1;
    this.count += 1;
    this.sumMs += ms;
  }
}

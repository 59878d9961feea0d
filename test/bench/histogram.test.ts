import { describe, expect, test } from "vitest";

import { Histogram } from "../../bench/load/histogram.ts";

describe("the histogram of latencies", () => {
  test("percentiles are off by less than 1 %, over six powers of ten", () => {
    const histogram = new Histogram();
    const values = Array.from({ length: 60_000 }, (_, place) => 10 ** (-2 + (7 * place) / 60_000)); // 0.01 ms … 100 s
    for (const value of values) histogram.record(value);
    for (const share of [0.01, 0.1, 0.5, 0.9, 0.99, 0.999]) {
      const exact = values[Math.ceil(values.length * share) - 1]!;
      const error = Math.abs(histogram.percentile(share) - exact);
      expect(error, `${share}: ${histogram.percentile(share)} for ${exact}`).toBeLessThan(exact * 0.01 + 0.001);
    }
  });

  test("counts weigh, and the greatest value is told as it is", () => {
    const histogram = new Histogram();
    histogram.record(1, 99);
    histogram.record(500.123, 1);
    expect(histogram.total).toBe(100);
    expect(histogram.percentile(0.99)).toBeCloseTo(1, 1);
    expect(histogram.percentiles().max).toBeCloseTo(500.123, 3);
  });

  test("without a value everything is 0, and what is too long is counted in the last step", () => {
    const histogram = new Histogram();
    expect(histogram.percentiles()).toEqual({ p50: 0, p90: 0, p99: 0, p999: 0, max: 0 });
    histogram.record(1e12);
    histogram.record(-5);
    expect(histogram.total).toBe(2);
    expect(histogram.percentile(1)).toBeGreaterThan(1_000_000);
  });
});

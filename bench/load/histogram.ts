// Latencies in a log-linear histogram, as HDR's: 128 steps in each power of two, so that a percentile is off by less than 1 %.

const STEP_BITS = 7;
const STEPS = 1 << STEP_BITS;
/** 2^30 microseconds are 18 minutes: what lasts longer is counted in the last step. */
const POWERS = 30 - STEP_BITS;

export interface Percentiles {
  /** Milliseconds. */
  readonly p50: number;
  readonly p90: number;
  readonly p99: number;
  readonly p999: number;
  readonly max: number;
}

export class Histogram {
  readonly #counts = new Float64Array((POWERS + 1) * STEPS);
  #total = 0;
  #max = 0;

  get total(): number {
    return this.#total;
  }

  /** @param ms milliseconds; kept in whole microseconds. */
  record(ms: number, count = 1): void {
    const micros = Math.max(0, Math.min(Math.round(ms * 1000), 2 ** 30 - 1));
    this.#counts[stepOf(micros)]! += count;
    this.#total += count;
    if (micros > this.#max) this.#max = micros;
  }

  /** @param share of the recorded values that lie at or below the answer, 0 … 1. Milliseconds; 0 when nothing was recorded. */
  percentile(share: number): number {
    const wanted = Math.max(1, Math.ceil(this.#total * share));
    let seen = 0;
    for (let step = 0; step < this.#counts.length; step += 1) {
      seen += this.#counts[step]!;
      if (seen >= wanted) return Math.min(topOf(step), this.#max) / 1000;
    }
    return this.#max / 1000;
  }

  percentiles(): Percentiles {
    return {
      p50: this.percentile(0.5),
      p90: this.percentile(0.9),
      p99: this.percentile(0.99),
      p999: this.percentile(0.999),
      max: this.#max / 1000,
    };
  }
}

/** Below 256 µs a step is 1 µs; from there each power of two has 128 steps. */
function stepOf(micros: number): number {
  const power = Math.max(0, 31 - Math.clz32(micros) - STEP_BITS);
  return power === 0 ? micros : power * STEPS + (micros >>> power);
}

/** Greatest value of a step, in microseconds. */
function topOf(step: number): number {
  if (step < 2 * STEPS) return step;
  const power = Math.floor(step / STEPS) - 1;
  return ((step - power * STEPS + 1) << power) - 1;
}

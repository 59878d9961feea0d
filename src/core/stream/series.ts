// Series numbers: consecutive within a session (R27), and narrow on the wire only, where they wrap (R28). Pure functions.

/** A publish against the last number taken: the next, one had before within the window, or neither. */
export type SeriesPlace = "next" | "had" | "gap";

/** Asked at admission against the tail, and again when the entry is applied. */
export function isNext(series: number, last: number): boolean {
  return series === last + 1; // R27
}

export function placeOf(series: number, last: number, window: number): SeriesPlace {
  if (isNext(series, last)) return "next";
  return series <= last && series > last - window ? "had" : "gap"; // R27: within the window behind
}

/** The greatest window that a wrap allows: below half its range, or a number could mean two (R28, RFC 1982). */
export function greatestWindow(wrap: number): number {
  return Math.ceil(wrap / 2) - 1;
}

/** A wide number as the wire carries it: 0 … wrap − 1. */
export function narrow(wide: number, wrap: number): number {
  return wide % wrap;
}

/**
 * The wide number that a narrow one stands for: the one congruent to it that is nearest to `near`, the number expected (R28).
 * @param wrap count of distinct numbers on the wire, 2 … 2⁵³ − 1
 * @returns undefined when `narrowed` is not below `wrap`, or when no number 1 … 2⁵³ − 1 within half the range fits
 */
export function widen(narrowed: number, near: number, wrap: number): number | undefined {
  if (!Number.isSafeInteger(narrowed) || narrowed < 0 || narrowed >= wrap) return undefined;
  let distance = narrowed - (near % wrap);
  if (distance > wrap / 2) distance -= wrap;
  else if (distance < -wrap / 2) distance += wrap;
  const wide = near + distance;
  return wide >= 1 && wide <= Number.MAX_SAFE_INTEGER ? wide : undefined;
}

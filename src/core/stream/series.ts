// Series numbers are consecutive within a session (R27). They are wide here: wraps are the wire's alone (R28).

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

// Figures of several runs as the tables show them.

export function thousands(value: number): string {
  return value >= 10_000 ? `${Math.round(value / 1000)}k` : Math.round(value).toString();
}

/** Their median, and the least and the greatest. */
export function spread(results: readonly { readonly perSecond: number }[]): string {
  if (results.length === 0) return "–";
  const rates = results.map((result) => result.perSecond);
  return `${thousands(median(rates))} (${thousands(Math.min(...rates))}–${thousands(Math.max(...rates))})`;
}

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
}

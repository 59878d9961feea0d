// The known name that a misspelt one was probably meant to be.

/** The nearest of `known`, or undefined where none is near: more than a quarter of its letters differ. Case does not count. */
export function nearest(unknown: string, known: readonly string[]): string | undefined {
  const [near] = known.map((name) => ({ name, distance: editDistance(unknown.toLowerCase(), name.toLowerCase()) })).sort((a, b) => a.distance - b.distance);
  return near !== undefined && near.distance <= Math.max(1, near.name.length / 4) ? near.name : undefined;
}

/** Levenshtein's distance, one row at a time. */
function editDistance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, i) => i);
  for (let i = 1; i <= a.length; i += 1) {
    const next = [i];
    for (let j = 1; j <= b.length; j += 1) {
      next.push(Math.min((next[j - 1] ?? 0) + 1, (row[j] ?? 0) + 1, (row[j - 1] ?? 0) + (a[i - 1] === b[j - 1] ? 0 : 1)));
    }
    row = next;
  }
  return row[b.length] ?? 0;
}

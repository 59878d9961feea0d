// Reads Prometheus' exposition text and lints it as promtool does: names, units, HELP and TYPE, histograms that add up.

export interface Exposition {
  /** Family → its TYPE. */
  readonly types: ReadonlyMap<string, string>;
  readonly helps: ReadonlySet<string>;
  /** `name{labels}` as written → value. */
  readonly samples: ReadonlyMap<string, number>;
  readonly problems: readonly string[];
}

export function parse(text: string): Exposition {
  const types = new Map<string, string>();
  const helps = new Set<string>();
  const samples = new Map<string, number>();
  const problems: string[] = [];
  for (const line of text.split("\n")) {
    const [, kind, name = "", rest = ""] = /^# (TYPE|HELP) (\S+) (.+)$/.exec(line) ?? [];
    if (kind === "TYPE") types.set(name, rest);
    else if (kind === "HELP") helps.add(name);
    else if (line !== "" && !line.startsWith("#")) {
      const space = line.lastIndexOf(" ");
      const [sample, value] = [line.slice(0, space), Number(line.slice(space + 1).replace("+Inf", "Infinity"))];
      if (samples.has(sample)) problems.push(`${nameOf(sample)}: told twice`);
      if (Number.isNaN(value) && !line.endsWith(" Nan")) problems.push(`${nameOf(sample)}: ${line.slice(space + 1)} is no number`);
      samples.set(sample, value);
    }
  }
  return { types, helps, samples, problems };
}

export function lint({ types, helps, samples, problems }: Exposition): string[] {
  const found = [...problems];
  for (const sample of samples.keys()) if (!types.has(familyOf(sample, types))) found.push(`${nameOf(sample)}: no TYPE`);
  for (const [name, type] of types) {
    if (!helps.has(name)) found.push(`${name}: no HELP`);
    if (!/^[a-z][a-z0-9_]*$/.test(name)) found.push(`${name}: not a name`);
    // Node's own defaults are not ours to name.
    if (type === "counter" && !name.endsWith("_total")) found.push(`${name}: a counter ends in _total`);
    if (type !== "counter" && name.endsWith("_total") && !name.startsWith("nodejs_")) found.push(`${name}: only a counter ends in _total`);
    if (/_(?:milliseconds|ms|minutes|hours|kilobytes|kb|megabytes|mb|percent)(?:_total)?$/.test(name)) found.push(`${name}: not a base unit`);
    if (type === "histogram") found.push(...lintHistogram(name, samples));
  }
  return found;
}

function lintHistogram(name: string, samples: Exposition["samples"]): string[] {
  const series = new Map<string, number[]>();
  for (const [sample, value] of samples) {
    if (!sample.startsWith(`${name}_bucket{`)) continue;
    const labels = labelsOf(sample).filter((label) => !label.startsWith("le=")).sort().join();
    series.set(labels, [...(series.get(labels) ?? []), value]);
  }
  const found: string[] = [];
  for (const [labels, buckets] of series) {
    if (buckets.some((value, at) => at > 0 && value < buckets[at - 1]!)) found.push(`${name}: buckets fall`);
    const count = [...samples].find(([sample]) => nameOf(sample) === `${name}_count` && labelsOf(sample).sort().join() === labels)?.[1];
    if (count !== buckets.at(-1) && !found.includes(`${name}: buckets fall`)) found.push(`${name}: _count is not the last bucket`);
  }
  return found;
}

function nameOf(sample: string): string {
  return sample.split("{")[0]!;
}

function labelsOf(sample: string): string[] {
  return sample.match(/\w+="(?:[^"\\]|\\.)*"/g) ?? [];
}

function familyOf(sample: string, types: Exposition["types"]): string {
  const name = nameOf(sample);
  const base = name.replace(/_(?:bucket|sum|count)$/, "");
  return ["histogram", "summary"].includes(types.get(base) ?? "") ? base : name;
}

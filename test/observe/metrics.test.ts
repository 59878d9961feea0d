// The exposition text, its documentation and its dashboard: every metric is told with its unit, documented, and drawn only where it exists.

import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";

import { afterAll, beforeAll, describe, expect, test } from "vitest";

import { TimeHistogram } from "../../src/base/counts.ts";
import { connect } from "../../clients/device/src/index.ts";
import { FAMILIES, metricsMarkdown } from "../../src/observe/families.ts";
import { runBroker, type RunningBroker } from "../http/broker.ts";
import { lint, parse, type Exposition } from "./exposition.ts";

const DOCS = join(import.meta.dirname, "../../docs");

describe("a histogram of times", () => {
  test("puts a time into the first bucket whose bound it does not exceed", () => {
    const times = new TimeHistogram();
    for (const ms of [0, 0.1, 0.11, 2, 10_000, 10_001, 1e9]) times.record(ms);
    expect([...times.buckets]).toEqual([2, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 2]);
    expect([times.count, times.sumMs]).toEqual([7, 0 + 0.1 + 0.11 + 2 + 10_000 + 10_001 + 1e9]);
  });
});

describe("the lint", () => {
  const good = "# HELP a_total A.\n# TYPE a_total counter\na_total 1\n";
  test.each([
    ["nothing", good, []],
    ["a counter without _total", "# HELP a A.\n# TYPE a counter\na 1\n", ["a: a counter ends in _total"]],
    ["a gauge with _total", "# HELP a_total A.\n# TYPE a_total gauge\na_total 1\n", ["a_total: only a counter ends in _total"]],
    ["a sample without TYPE", "b 1\n", ["b: no TYPE"]],
    ["no HELP", "# TYPE a_total counter\na_total 1\n", ["a_total: no HELP"]],
    ["a unit that is not a base unit", "# HELP a_milliseconds A.\n# TYPE a_milliseconds gauge\na_milliseconds 1\n", ["a_milliseconds: not a base unit"]],
    ["a sample twice", `${good}a_total 2\n`, ["a_total: told twice"]],
    ["a value that is no number", "# HELP a_total A.\n# TYPE a_total counter\na_total x\n", ["a_total: x is no number"]],
    ["buckets that fall", '# HELP h_seconds A.\n# TYPE h_seconds histogram\nh_seconds_bucket{le="1"} 2\nh_seconds_bucket{le="+Inf"} 1\nh_seconds_sum 1\nh_seconds_count 1\n', ["h_seconds: buckets fall"]],
    ["a count that is not the last bucket", '# HELP h_seconds A.\n# TYPE h_seconds histogram\nh_seconds_bucket{le="+Inf"} 1\nh_seconds_sum 1\nh_seconds_count 2\n', ["h_seconds: _count is not the last bucket"]],
  ])("finds %s", (_what, text, found) => {
    expect(lint(parse(text))).toEqual(found);
  });
});

describe("a broker under load", () => {
  let broker: RunningBroker;
  let before: Exposition;
  let after: Exposition;

  beforeAll(async () => {
    broker = await runBroker({ bucketCount: 4 });
    const scrape = async (): Promise<Exposition> => parse((await broker.call("GET", "/metrics")).text);
    before = await scrape();
    const device = connect({ brokers: [broker.device], device: "lamp-1" });
    await Promise.all(Array.from({ length: 50 }, (_, i) => device.publish(`reading ${i}`)));
    const publish = (key: string): Promise<unknown> => broker.call("POST", "/v1/devices/lamp-1/messages", { body: "on", headers: { "idempotency-key": key } });
    for (let i = 0; i < 10; i += 1) await publish(`key-${i}`);
    await publish("key-0");
    await broker.call("POST", "/v1/devices/lamp-1/messages", { body: "other", headers: { "idempotency-key": "key-0" } });
    await broker.call("GET", "/v1/devices/nobody");
    await broker.call("PUT", "/v1/devices/lamp-1/state", { body: "{}" });
    let got = 0;
    for await (const _message of device) if ((got += 1) === 10) break;
    await device.close();
    after = await scrape();
  });
  afterAll(() => broker.stop());

  const rose = (sample: string): number => (after.samples.get(sample) ?? 0) - (before.samples.get(sample) ?? 0);

  test("tells what was done, exactly", () => {
    expect({
      device: rose('bellhop_publishes_total{front="device",outcome="stored"}'),
      deviceDuplicates: rose('bellhop_publishes_total{front="device",outcome="duplicate"}'),
      http: rose('bellhop_publishes_total{front="http",outcome="stored"}'),
      duplicates: rose('bellhop_publishes_total{front="http",outcome="duplicate"}'),
      reused: rose('bellhop_publishes_total{front="http",outcome="key_reused"}'),
      state: rose('bellhop_requests_total{type="state",outcome="done"}'),
      created: rose('bellhop_http_requests_total{method="POST",route="/v1/devices/:device/messages",status="201"}'),
      unknown: rose('bellhop_http_requests_total{method="GET",route="/v1/devices/:device",status="404"}'),
      hellos: rose("bellhop_hellos_total"),
      goodbyes: rose('bellhop_connections_closed_total{code="goodbye"}'),
      taken: rose('bellhop_connections_total{front="device"}'),
      deliveries: rose("bellhop_deliveries_total"),
    }).toEqual({ device: 50, deviceDuplicates: 0, http: 10, duplicates: 1, reused: 1, state: 1, created: 10, unknown: 1, hellos: 1, goodbyes: 1, taken: 1, deliveries: 10 });
    expect(rose('bellhop_publish_seconds_count{front="http"}')).toBe(12);
    expect(rose('bellhop_publish_seconds_count{front="device"}')).toBeGreaterThan(0);
    expect(rose("bellhop_log_write_seconds_count")).toBe(rose("bellhop_log_groups_total"));
    expect(rose("bellhop_log_written_bytes_total")).toBeGreaterThan(60 * 10);
    expect(rose("bellhop_loop_delay_seconds_count")).toBeGreaterThan(0);
  });

  test("lints clean", () => {
    expect(lint(after)).toEqual([]);
    expect(after.samples.size).toBeGreaterThan(100);
  });

  test("prints exactly what docs/metrics.md lists", () => {
    const printed = [...after.types.keys()].filter((name) => name.startsWith("bellhop_")).sort();
    expect(printed).toEqual(Object.keys(FAMILIES).map((name) => `bellhop_${name}`).sort());
    expect(readFileSync(join(DOCS, "metrics.md"), "utf8")).toContain(metricsMarkdown());
  });

  test("every place where something waits is explained", () => {
    const page = readFileSync(join(DOCS, "metrics.md"), "utf8").split("### What waits")[1]!.split("## Logs")[0]!;
    const places = [...after.samples.keys()].flatMap((sample) => /^bellhop_waiting\{where="(\w+)"\}/.exec(sample)?.[1] ?? []);
    expect(places.length).toBeGreaterThan(3);
    expect([...page.matchAll(/`(\w+)`(?=[^|]*\| )/g)].map(([, name]) => name).filter((name) => name !== "where").sort()).toEqual(places.sort());
  });

  test("has only the labels that are listed", () => {
    const seen = new Map<string, Set<string>>();
    for (const sample of after.samples.keys()) {
      const [, name, labels = ""] = /^bellhop_(\w+?)(?:_bucket|_sum|_count)?(?:\{(.*)\})?$/.exec(sample) ?? [];
      if (name === undefined) continue;
      for (const [, label] of labels.matchAll(/(\w+)="/g)) if (label !== "le") seen.set(name, (seen.get(name) ?? new Set()).add(label!));
    }
    for (const [name, labels] of seen) expect([...labels].sort(), name).toEqual([...FAMILIES[name as keyof typeof FAMILIES].labels].sort());
  });

  test("the dashboard draws only metrics that exist", () => {
    const path = join(DOCS, "grafana/bellhop.json");
    expect(existsSync(path)).toBe(true);
    const expressions = expressionsOf(JSON.parse(readFileSync(path, "utf8")));
    expect(expressions.length).toBeGreaterThan(15);
    for (const expression of expressions) {
      const names = [...expression.matchAll(/\b(?:bellhop|process|nodejs)_\w+/g)].map(([name]) => name);
      expect(names.length, expression).toBeGreaterThan(0);
      for (const name of names) expect([...after.types.keys()], expression).toContain(name.replace(/_(?:bucket|sum|count)$/, ""));
    }
  });
});

/** Every `expr` anywhere in the dashboard. */
function expressionsOf(value: unknown): string[] {
  if (Array.isArray(value)) return value.flatMap(expressionsOf);
  if (typeof value !== "object" || value === null) return [];
  return Object.entries(value).flatMap(([key, inner]) => (key === "expr" ? [String(inner)] : expressionsOf(inner)));
}

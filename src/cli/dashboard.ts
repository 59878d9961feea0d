// The picture of `bellhop status --watch`: one node's rates, connections, what waits, log and checkpoints, as lines for a terminal.

import { duration, ledInWords, type Status } from "./health.ts";
import { fit, styled } from "./output.ts";
import type { Scrape } from "./scrape.ts";

const OUT = process.stdout;
const NAME_WIDTH = 14;

/** @param before an earlier look; the same one before there are two */
export function dashboard(status: Status, now: Scrape, before: Scrape, columns: number): string[] {
  const { node, version, uptimeSeconds, ready, why } = status;
  const is = ready ? styled(OUT, "green", "ready") : styled(OUT, "red", `not ready: ${why.join("; ")}`);
  const lines = [
    `${styled(OUT, "bold", `node ${node}`)}  ${is}  ${styled(OUT, "dim", `Bellhop ${version}, up ${duration(uptimeSeconds)}, start ${status.incarnation}`)}`,
    `${styled(OUT, "dim", "waits")} ${waits(status)}`,
    "",
    head("messages", ["a second", "in all", "p50", "p99"]),
    row("from devices", [...counted(now, before, "publishes_total", { front: "device", outcome: "stored" }), ...times(now, before, "publish_seconds", { front: "device" })]),
    row("over HTTP", [...counted(now, before, "publishes_total", { front: "http", outcome: "stored" }), ...times(now, before, "publish_seconds", { front: "http" })]),
    row("to devices", counted(now, before, "deliveries_total")),
    ...refusals(now, before),
    "",
    head("connections", ["open", "taken/s", "in all"]),
    row("devices", [count(now.sum("connections", { front: "device" })), count(now.rate(before, "connections_total", { front: "device" })), count(now.sum("connections_total", { front: "device" }))]),
    row("HTTP", [count(now.sum("connections", { front: "http" })), count(now.rate(before, "connections_total", { front: "http" })), count(now.sum("connections_total", { front: "http" }))]),
    "",
    fact("devices", `${count(status.devices.connected)} with a session, ${count(status.followers)} readers follow`),
    fact("buckets", ledInWords(status)),
    fact("log", `${bytes(now.sum("log_bytes"))} in ${now.sum("log_segments")} ${now.sum("log_segments") === 1 ? "file" : "files"}, ${count(now.rate(before, "log_groups_total"))} writes/s, ${bytes(now.rate(before, "log_written_bytes_total"))}/s`),
    fact("", `a write takes p50 ${times(now, before, "log_write_seconds").join(", p99 ")}`),
    fact("checkpoints", `${count(now.sum("checkpoints_total"))} written, p99 ${time(now.quantile(before, "checkpoint_seconds", 0.99))}; state ${bytes(now.sum("state_bytes"))}, ${count(status.waiting["dirty_devices"] ?? 0)} records changed since`),
    fact("disk", now.sum("storage_full") > 0 ? styled(OUT, "red", `full: ${bytes(now.sum("disk_free_bytes"))} free, writes are refused`) : `${bytes(now.sum("disk_free_bytes"))} free`),
    fact("loop", `late by p99 ${time(now.quantile(before, "loop_delay_seconds", 0.99))}; blocked ${count(now.sum("loop_blocked_total"))} times since the start`),
  ];
  return lines.map((line) => fit(line, columns));
}

function refusals(now: Scrape, before: Scrape): string[] {
  const codes = [...now.by("publishes_total", "outcome")].filter(([outcome, total]) => outcome !== "stored" && total > 0);
  return codes.map(([outcome]) => row(outcome, counted(now, before, "publishes_total", { outcome }), outcome === "duplicate" ? "dim" : "yellow"));
}

/** A second, and in all. */
function counted(now: Scrape, before: Scrape, name: string, labels: Readonly<Record<string, string>> = {}): string[] {
  return [count(now.rate(before, name, labels)), count(now.sum(name, labels))];
}

function times(now: Scrape, before: Scrape, name: string, labels: Readonly<Record<string, string>> = {}): string[] {
  return [0.5, 0.99].map((part) => time(now.quantile(before, name, part, labels)));
}

function waits({ waiting }: Status): string {
  const some = Object.entries(waiting).filter(([where, value]) => value > 0 && where !== "dirty_devices");
  return some.length === 0 ? "nothing" : styled(OUT, "yellow", some.map(([where, value]) => `${where.replaceAll("_", " ")} ${count(value)}`).join(", "));
}

function head(name: string, columns: readonly string[]): string {
  return styled(OUT, "dim", `${name.padEnd(NAME_WIDTH)}${columns.map((column) => column.padStart(12)).join("")}`);
}

function row(name: string, cells: readonly string[], style?: "dim" | "yellow"): string {
  const label = name.padEnd(NAME_WIDTH);
  return `${style === undefined ? label : styled(OUT, style, label)}${cells.map((cell) => cell.padStart(12)).join("")}`;
}

function fact(name: string, value: string): string {
  return `${styled(OUT, "dim", name.padEnd(NAME_WIDTH))}${value}`;
}

function count(value: number): string {
  return value > 0 && value < 10 && !Number.isInteger(value) ? value.toFixed(1) : Math.round(value).toLocaleString("en");
}

function time(ms: number | undefined): string {
  if (ms === undefined) return "–";
  if (ms >= 1000) return `${(ms / 1000).toFixed(1)} s`;
  return `${ms < 10 ? ms.toFixed(1) : Math.round(ms)} ms`;
}

function bytes(value: number): string {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let unit = 0;
  while (value >= 1024 && unit < units.length - 1) {
    value /= 1024;
    unit += 1;
  }
  return `${unit === 0 ? Math.round(value) : value.toFixed(1)} ${units[unit]}`;
}

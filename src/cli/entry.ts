// An entry of a stream as the HTTP API shows it, and as a line for people.

import { printable, styled, type Style } from "./output.ts";

export interface ShownEntry {
  readonly offset: string;
  /** RFC 3339. */
  readonly time: string;
  readonly type: "uplink" | "downlink" | "presence" | "state";
  readonly publisher: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly contentType?: string | null;
  /** Text or JSON; base64 where `encoding` says so. */
  readonly payload: unknown;
  readonly encoding?: string;
  /** RFC 3339; a message without one does not expire. */
  readonly expires?: string;
}

const COLOURS: Readonly<Record<ShownEntry["type"], Style>> = { uplink: "green", downlink: "cyan", presence: "yellow", state: "bold" };

export function entryLine(entry: ShownEntry): string {
  const payload = typeof entry.payload === "string" ? entry.payload : JSON.stringify(entry.payload);
  const time = new Date(entry.time).toISOString().slice(11, 23);
  const expiry = entry.expires === undefined ? "" : styled(process.stdout, "dim", `  ${Date.parse(entry.expires) <= Date.now() ? "expired" : "expires"} ${entry.expires}`);
  return `${entry.offset.padStart(8)}  ${styled(process.stdout, "dim", time)}  ${styled(process.stdout, COLOURS[entry.type], entry.type.padEnd(8))}  ${printable(payload)}${expiry}`;
}

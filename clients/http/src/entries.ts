// Entries of a stream as the application gets them, made from the broker's JSON.

import { clientError } from "./errors.ts";

export type Json = null | boolean | number | string | readonly Json[] | { readonly [name: string]: Json };
export type JsonObject = { readonly [name: string]: Json };

/** `uplink`: from the device · `downlink`: to the device · `presence`: it came or went · `state`: a document changed. */
export type EntryType = "uplink" | "downlink" | "presence" | "state";

interface EntryHead {
  /** Its place in the device's stream; digits. */
  readonly offset: string;
  /** When the broker admitted it, as in RFC 3339; never falls within a device. */
  readonly time: string;
  readonly type: EntryType;
  /** "": the device itself; `backend`: a publish under a key, a change of state; else the name of a publisher. */
  readonly publisher: string;
  /** The publisher's session and number, where it has a series. */
  readonly session?: string;
  readonly series?: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly contentType: string;
}

type Content =
  | { readonly encoding: "json"; readonly payload: Json }
  | { readonly encoding: "text"; readonly payload: string }
  | { readonly encoding: "bytes"; readonly payload: Uint8Array };

export type Entry = EntryHead & Content;

/** These offsets, both included, are no longer kept: read the state document if you build on it. */
export interface Gap {
  readonly type: "gap";
  readonly from: string;
  readonly to: string;
}

/** What came over the wire, checked only as far as it is used here. */
export function entryOf(wire: unknown): Entry {
  const { encoding, payload, ...head } = recordOf(wire);
  if (typeof head["offset"] !== "string") throw clientError("bad_answer", "An entry without an offset.");
  const content = encoding === "base64" ? { encoding: "bytes", payload: bytesOf(String(payload)) } : { encoding, payload };
  return { ...head, ...content } as Entry;
}

export function gapOf(wire: unknown): Gap {
  const { from, to } = recordOf(wire);
  return { type: "gap", from: String(from), to: String(to) };
}

/** @throws BellhopError `bad_answer` where it is no JSON object */
export function recordOf(wire: unknown): Record<string, unknown> {
  if (typeof wire !== "object" || wire === null || Array.isArray(wire)) throw clientError("bad_answer", "It is no JSON object.");
  return wire as Record<string, unknown>;
}

/** @throws BellhopError `bad_answer` where it is no JSON */
export function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    throw clientError("bad_answer", (error as Error).message, { cause: error });
  }
}

function bytesOf(base64: string): Uint8Array {
  const binary = atob(base64);
  const bytes = new Uint8Array(binary.length);
  for (let i = 0; i < binary.length; i += 1) bytes[i] = binary.charCodeAt(i);
  return bytes;
}

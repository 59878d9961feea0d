// State documents: JSON objects, changed by put or by merge patch (RFC 7396), safe against hostile text: size and depth are bounded, `__proto__` is a name like any other.

import { assert } from "../../base/assert.ts";
import { DOCUMENT_BYTES, DOCUMENT_DEPTH } from "../../base/document.ts";
import { Reader, utf8, Writer } from "./bytes.ts";

type Json = null | boolean | number | string | Json[] | JsonObject;
export interface JsonObject {
  [name: string]: Json;
}

/** One of a device's documents as it is kept. */
export interface Document {
  /** JSON text, UTF-8. */
  readonly text: Uint8Array;
  /** 1, 2, 3, …; 0: never written. */
  readonly version: number;
  /** Offset of its last change. */
  readonly offset: number;
}

export const EMPTY_DOCUMENT: Document = { text: utf8("{}"), version: 0, offset: 0 };

/** The object that the text stands for, or undefined when it is no JSON object within the bounds. */
export function parseDocument(text: Uint8Array): JsonObject | undefined {
  if (text.length > DOCUMENT_BYTES || depthOf(text) > DOCUMENT_DEPTH) return undefined;
  let value: unknown;
  try {
    value = JSON.parse(new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(text));
  } catch {
    return undefined;
  }
  return isObject(value as Json) && isFinite(value as Json) ? (value as JsonObject) : undefined;
}

/** The text of the document after the change; undefined when the change is bad or makes the document too large. */
export function changed(document: Document, how: "put" | "patch", change: Uint8Array): Uint8Array | undefined {
  const value = parseDocument(change);
  if (value === undefined) return undefined;
  const before = how === "put" ? {} : parseDocument(document.text);
  assert(before !== undefined, "a kept document can be read");
  const after = how === "put" ? value : mergePatch(before, value);
  const text = utf8(JSON.stringify(after));
  return text.length <= DOCUMENT_BYTES ? text : undefined;
}

/** RFC 7396. The result shares no object with a name of the prototype: it has none. */
export function mergePatch(target: Json, patch: Json): Json {
  if (!isObject(patch)) return patch;
  const result = Object.create(null) as JsonObject;
  if (isObject(target)) for (const name of Object.keys(target)) result[name] = target[name]!;
  for (const name of Object.keys(patch)) {
    const value = patch[name]!;
    if (value === null) delete result[name];
    else result[name] = mergePatch(result[name] ?? null, value);
  }
  return result;
}

function isObject(value: Json): value is JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** Numbers beyond a double's range would come back as null. */
function isFinite(value: Json): boolean {
  if (typeof value === "number") return Number.isFinite(value);
  if (typeof value !== "object" || value === null) return true;
  return Object.values(value).every(isFinite);
}

/** Depth of nesting, counted before the text is parsed. */
function depthOf(text: Uint8Array): number {
  let depth = 0;
  let deepest = 0;
  let quoted = false;
  for (let i = 0; i < text.length; i += 1) {
    const byte = text[i];
    if (quoted) {
      if (byte === 0x5c) i += 1;
      else if (byte === 0x22) quoted = false;
    } else if (byte === 0x22) quoted = true;
    else if (byte === 0x7b || byte === 0x5b) deepest = Math.max(deepest, (depth += 1));
    else if (byte === 0x7d || byte === 0x5d) depth -= 1;
  }
  return deepest;
}

const VERSION = 1;
const out = new Writer();

export function encodeDocument(document: Document): Uint8Array {
  return out.u8(VERSION).integer(document.version).integer(document.offset).raw(document.text).take();
}

export function decodeDocument(bytes: Uint8Array): Document {
  const from = new Reader(bytes);
  assert(from.u8() === VERSION, "a document record has a known version");
  return { version: from.integer(), offset: from.integer(), text: from.rest() };
}

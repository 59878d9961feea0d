// What the application hands over, looked at before it is taken: "" or what is wrong with it, in words. From JavaScript anything may come.

import { DOCUMENT_BYTES, DOCUMENT_DEPTH } from "../../../src/base/document.ts";
import { nearest } from "../../../src/base/near.ts";
import { MAX_HEADER_NAME_BYTES, MAX_HEADER_VALUE_BYTES, MAX_HEADERS } from "../../../src/wire/body.ts";

export function payloadIsWrong(payload: unknown): string {
  return typeof payload === "string" || payload instanceof Uint8Array ? "" : "A payload is a string or a Uint8Array (a Buffer is one).";
}

export function headersAreWrong(headers: unknown): string {
  if (headers === undefined) return "";
  if (!isPlainObject(headers)) return `\`headers\` is an object of strings, not ${kindOf(headers)}.`;
  const names = Object.keys(headers);
  if (names.length > MAX_HEADERS) return `At most ${MAX_HEADERS} headers.`;
  for (const name of names) {
    const value = headers[name];
    const bytes = Buffer.byteLength(name);
    if (bytes < 1 || bytes > MAX_HEADER_NAME_BYTES) return `A header's name has 1 to ${MAX_HEADER_NAME_BYTES} bytes.`;
    if (typeof value !== "string") return `The header \`${name}\` has ${kindOf(value)} as its value; it must be a string.`;
    if (Buffer.byteLength(value) > MAX_HEADER_VALUE_BYTES) return `The header \`${name}\` has more than ${MAX_HEADER_VALUE_BYTES} bytes.`;
  }
  return "";
}

/** An option that is not known would change nothing in silence. */
export function namesAreWrong(options: object, known: readonly string[]): string {
  for (const name of Object.keys(options)) {
    if (known.includes(name)) continue;
    const near = nearest(name, known);
    return `There is no option \`${name}\`: ${near === undefined ? `there are ${known.join(", ")}` : `did you mean ${near}?`}`;
  }
  return "";
}

/** What is no patch, and what JSON would drop or change in silence: NaN as null would remove a name. */
export function patchIsWrong(patch: unknown): string {
  return isPlainObject(patch) ? valueIsWrong(patch, "", 1) : `A patch is a JSON object, not ${kindOf(patch)}.`;
}

/** @param json the text of a patch that is right otherwise */
export function patchIsTooLarge(json: string): string {
  const bytes = Buffer.byteLength(json);
  return bytes > DOCUMENT_BYTES ? `The patch has ${bytes} bytes; it and the document that it makes have at most ${DOCUMENT_BYTES}.` : "";
}

/** @param place where it stands: `room.lamps[2]`. @param depth of it, if it is an object or array */
function valueIsWrong(value: unknown, place: string, depth: number): string {
  if (value === null || typeof value === "string" || typeof value === "boolean" || (typeof value === "number" && Number.isFinite(value))) return "";
  if (value === undefined) return `\`${place}\` is undefined; null removes a name.`;
  const isArray = Array.isArray(value);
  if (!isArray && !isPlainObject(value)) return `\`${place}\` is ${kindOf(value)}, which JSON does not have.`;
  if (depth > DOCUMENT_DEPTH) return `It is nested deeper than ${DOCUMENT_DEPTH}.`;
  if (isArray) {
    for (let i = 0; i < value.length; i += 1) {
      const wrong = valueIsWrong(value[i], `${place}[${i}]`, depth + 1);
      if (wrong !== "") return wrong;
    }
    return "";
  }
  for (const name of Object.keys(value)) {
    const wrong = valueIsWrong(value[name], place === "" ? name : `${place}.${name}`, depth + 1);
    if (wrong !== "") return wrong;
  }
  return "";
}

/** Not a Map, a Date or another class's: of them JSON would keep little or nothing. */
function isPlainObject(value: unknown): value is Readonly<Record<string, unknown>> {
  if (typeof value !== "object" || value === null) return false;
  const prototype: unknown = Object.getPrototypeOf(value);
  return prototype === null || Object.getPrototypeOf(prototype) === null;
}

/** In words: `an array`, `NaN`, `a Date`. */
export function kindOf(value: unknown): string {
  if (value === null || value === undefined || typeof value === "boolean") return String(value);
  if (typeof value === "number") return Number.isFinite(value) ? "a number" : String(value);
  if (Array.isArray(value)) return "an array";
  if (typeof value !== "object") return `a ${typeof value}`;
  if (isPlainObject(value)) return "an object";
  const { name } = (Object.getPrototypeOf(value) as object).constructor;
  return `a ${name}`;
}

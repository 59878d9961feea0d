// What headers say: the key of a publish, the time of an expiry, lists of entity tags, whether events are wanted.

import { BellhopError } from "../base/errors.ts";

const KEY = /^[\x21-\x7e]{1,255}$/;

/** The key as it is written, or as a quoted string: both name the same key. @throws BellhopError `bad_request`, naming `from` */
export function keyOf(written: string, from: string): string {
  const key = /^".*"$/.test(written) ? written.slice(1, -1) : written;
  if (!KEY.test(key)) throw new BellhopError("bad_request", `${from} must have 1 to 255 visible ASCII characters.`);
  return key;
}

const SECONDS = /^[1-9]\d{0,9}$/;
/** RFC 3339 without leap seconds, which no clock here knows. */
const TIME = /^(\d{4}-\d\d-\d\d)T(?:[01]\d|2[0-3]):[0-5]\d:[0-5]\d(?:\.\d+)?(?:Z|[+-](?:[01]\d|2[0-3]):[0-5]\d)$/;

/** Milliseconds since 1970, 0 for never; all that is before 1970 is 1: over for long. @throws BellhopError `bad_request` */
export function expiryOf(header: string | undefined, now: number): number {
  if (header === undefined) return 0;
  if (SECONDS.test(header)) return now + Number(header) * 1000;
  const text = header.toUpperCase();
  const date = TIME.exec(text)?.[1];
  // 2030-02-30 would be read as the second of March.
  if (date === undefined || !isDate(date)) {
    const wanted = "seconds from now, or a time with its zone such as 2030-01-31T12:00:00Z (RFC 3339)";
    throw new BellhopError("bad_request", `Bellhop-Expires must be ${wanted}.`);
  }
  return Math.max(1, Date.parse(text));
}

function isDate(date: string): boolean {
  const time = Date.parse(`${date}T00:00:00Z`);
  return !Number.isNaN(time) && new Date(time).toISOString().startsWith(date);
}

/** The entity tags of a list, `W/` still before the weak ones. None of this broker's has a comma inside. */
export function entityTags(header: string | undefined): string[] {
  return header === undefined ? [] : header.split(",").map((tag) => tag.trim());
}

/** If-None-Match compares weakly (RFC 9110, 13.1.2). */
export function noneMatches(header: string | undefined, tag: string): boolean {
  return entityTags(header).some((given) => given === "*" || given.replace(/^W\//, "") === tag);
}

/** True where this very type is accepted, and not with a weight of 0; a wildcard does not ask for it. */
export function accepts(wanted: string, accept: string | undefined): boolean {
  return (accept ?? "").split(",").some((range) => {
    const [type, ...parameters] = range.split(";").map((part) => part.trim().toLowerCase());
    return type === wanted && !parameters.some((parameter) => /^q=0(?:\.0{0,3})?$/.test(parameter));
  });
}

// A position of the feed as text: opaque to clients. Version, count of buckets and each one's log index, as varints in base64url.

import { BellhopError } from "../base/errors.ts";

const VERSION = 1;
/** A varint of 53 bits has at most so many bytes. */
const VARINT_BYTES = 8;

export function positionText(indexes: readonly number[]): string {
  const bytes: number[] = [];
  for (const number of [VERSION, indexes.length, ...indexes]) {
    let rest = number;
    for (; rest >= 0x80; rest = Math.floor(rest / 0x80)) bytes.push((rest % 0x80) | 0x80);
    bytes.push(rest);
  }
  return Buffer.from(bytes).toString("base64url");
}

/** @throws BellhopError `bad_request` for what `positionText` never gives */
export function positionOf(text: string): number[] {
  const bytes = Buffer.from(text, "base64url");
  let at = 0;
  const next = (): number => {
    let value = 0;
    for (let place = 0; place < VARINT_BYTES; place += 1) {
      const byte = bytes[at] ?? 0x80;
      at += 1;
      value += (byte & 0x7f) * 2 ** (7 * place);
      if (byte < 0x80 && value <= Number.MAX_SAFE_INTEGER) return value;
    }
    throw malformed();
  };
  if (next() !== VERSION) throw malformed();
  const count = next();
  if (count > bytes.length) throw malformed();
  const indexes = Array.from({ length: count }, next);
  if (at !== bytes.length) throw malformed();
  return indexes;
}

function malformed(): BellhopError {
  return new BellhopError("bad_request", "The position is not one that the feed gave: `start`, `end`, `next` of a page or the id of an event.");
}

// msgpack by hand: a bounds-checked cursor over bytes, and a writer into one growing buffer. No object is made of what is only looked at.

import { BellhopError } from "../base/errors.ts";

/** Containers nested in a skipped value, at most. */
export const MAX_DEPTH = 8;
/** Values inside the skipped values of one frame, at most. */
export const MAX_SKIPPED = 1024;

const TWO_32 = 0x1_0000_0000;
const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
const encoder = new TextEncoder();

/** The typed error of everything malformed. */
export function malformed(detail: string): BellhopError {
  return new BellhopError("protocol", detail);
}

/** Walks over msgpack values in bytes[at … end). Every method throws BellhopError `protocol` on anything but what its name says. */
export class Reader {
  bytes: Uint8Array = new Uint8Array(0);
  at = 0;
  end = 0;
  /** The content of the last string or binary that was read: bytes[spanStart … spanEnd). */
  spanStart = 0;
  spanEnd = 0;
  #skipped = 0;

  /** Turns to other bytes: one reader serves many frames. */
  reset(bytes: Uint8Array, start: number, end: number): this {
    this.bytes = bytes;
    this.at = start;
    this.end = end;
    this.#skipped = 0;
    return this;
  }

  /** Length of an array; never more than the bytes that are left. */
  array(): number {
    const head = this.#byte();
    if (head >> 4 === 0x9) return this.#count(head & 0x0f, 1);
    if (head === 0xdc) return this.#count(this.#fixed(2), 1);
    if (head === 0xdd) return this.#count(this.#fixed(4), 1);
    throw malformed("An array was expected.");
  }

  /** Pairs of a map; never more than the bytes that are left can hold. */
  map(): number {
    const head = this.#byte();
    if (head >> 4 === 0x8) return this.#count(head & 0x0f, 2);
    if (head === 0xde) return this.#count(this.#fixed(2), 2);
    if (head === 0xdf) return this.#count(this.#fixed(4), 2);
    throw malformed("A map was expected.");
  }

  /** An integer from 0 to `max` (at most 2^53 - 1), in any integer format or as a float 64 without a fraction. */
  uint(max: number): number {
    const value = this.#integer();
    if (!(value <= max)) throw malformed(`A number above ${max}.`);
    return value;
  }

  /** An integer from 0 to 2^64 - 1. */
  u64(): bigint {
    const head = this.bytes[this.at];
    if (head === 0xcf || head === 0xd3) {
      this.#byte();
      const high = this.#fixed(4);
      if (head === 0xd3) this.#positive(high, 0x7fff_ffff);
      return (BigInt(high) << 32n) | BigInt(this.#fixed(4));
    }
    return BigInt(this.#integer());
  }

  bool(): boolean {
    const head = this.#byte();
    if (head === 0xc3) return true;
    if (head === 0xc2) return false;
    throw malformed("A boolean was expected.");
  }

  /** Steps over nil if it is next. */
  nil(): boolean {
    if (this.at >= this.end || this.bytes[this.at] !== 0xc0) return false;
    this.at += 1;
    return true;
  }

  /** A string of at most `maxBytes` bytes of good UTF-8. */
  str(maxBytes: number): string {
    this.strSpan(maxBytes);
    return this.#decoded();
  }

  /** A string as a span: its bytes are checked to be UTF-8, and nothing is made of them. */
  strSpan(maxBytes: number): void {
    const head = this.#byte();
    let length: number;
    if (head >> 5 === 0x5) length = head & 0x1f;
    else if (head === 0xd9) length = this.#fixed(1);
    else if (head === 0xda) length = this.#fixed(2);
    else if (head === 0xdb) length = this.#fixed(4);
    else throw malformed("A string was expected.");
    this.#span(length, maxBytes);
    if (!isUtf8(this.bytes, this.spanStart, this.spanEnd)) throw malformed("A string is not UTF-8.");
  }

  /** Binary as a span. */
  binSpan(maxBytes: number): void {
    const head = this.#byte();
    let length: number;
    if (head === 0xc4) length = this.#fixed(1);
    else if (head === 0xc5) length = this.#fixed(2);
    else if (head === 0xc6) length = this.#fixed(4);
    else throw malformed("Binary was expected.");
    this.#span(length, maxBytes);
  }

  /** Binary or a string, as a span. True: it was a string. */
  payloadSpan(maxBytes: number): boolean {
    const head = this.bytes[this.at];
    if (head === 0xc4 || head === 0xc5 || head === 0xc6) {
      this.binSpan(maxBytes);
      return false;
    }
    this.strSpan(maxBytes);
    return true;
  }

  /** A copy of the last span. (A Node Buffer's own `slice` would not copy.) */
  spanCopy(): Uint8Array {
    return new Uint8Array(this.bytes.subarray(this.spanStart, this.spanEnd));
  }

  /** Steps over `count` values that this version does not know. Depth and number are bounded for the whole frame. */
  skip(count: number): void {
    for (let i = 0; i < count; i += 1) this.#skipOne(0);
  }

  /** The frame must end here. */
  finish(): void {
    if (this.at !== this.end) throw malformed("Bytes behind the end of the value.");
  }

  #skipOne(depth: number): void {
    this.#skipped += 1;
    if (this.#skipped > MAX_SKIPPED) throw malformed(`More than ${MAX_SKIPPED} unknown values.`);
    if (depth > MAX_DEPTH) throw malformed(`Nested deeper than ${MAX_DEPTH}.`);
    const head = this.#byte();
    if (head < 0x80 || head >= 0xe0) return;
    if (head < 0x90) return this.#skipMany(this.#count(head & 0x0f, 2) * 2, depth);
    if (head < 0xa0) return this.#skipMany(this.#count(head & 0x0f, 1), depth);
    if (head < 0xc0) return this.#over(head & 0x1f);
    switch (head) {
      case 0xc0: case 0xc2: case 0xc3: return;
      case 0xc4: case 0xd9: return this.#over(this.#fixed(1));
      case 0xc5: case 0xda: return this.#over(this.#fixed(2));
      case 0xc6: case 0xdb: return this.#over(this.#fixed(4));
      case 0xc7: return this.#over(this.#fixed(1) + 1);
      case 0xc8: return this.#over(this.#fixed(2) + 1);
      case 0xc9: return this.#over(this.#fixed(4) + 1);
      case 0xcc: case 0xd0: return this.#over(1);
      case 0xcd: case 0xd1: case 0xd4: return this.#over(2);
      case 0xd5: return this.#over(3);
      case 0xca: case 0xce: case 0xd2: return this.#over(4);
      case 0xd6: return this.#over(5);
      case 0xcb: case 0xcf: case 0xd3: return this.#over(8);
      case 0xd7: return this.#over(9);
      case 0xd8: return this.#over(17);
      case 0xdc: return this.#skipMany(this.#count(this.#fixed(2), 1), depth);
      case 0xdd: return this.#skipMany(this.#count(this.#fixed(4), 1), depth);
      case 0xde: return this.#skipMany(this.#count(this.#fixed(2), 2) * 2, depth);
      case 0xdf: return this.#skipMany(this.#count(this.#fixed(4), 2) * 2, depth);
      default: throw malformed("0xc1 is no msgpack value.");
    }
  }

  #skipMany(count: number, depth: number): void {
    for (let i = 0; i < count; i += 1) this.#skipOne(depth + 1);
  }

  #over(length: number): void {
    if (length > this.end - this.at) throw malformed("A value is cut off.");
    this.at += length;
  }

  #byte(): number {
    if (this.at >= this.end) throw malformed("A value is cut off.");
    const value = this.bytes[this.at]!;
    this.at += 1;
    return value;
  }

  /** A big-endian number of 1, 2 or 4 bytes. */
  #fixed(size: number): number {
    if (size > this.end - this.at) throw malformed("A value is cut off.");
    let value = 0;
    for (let i = 0; i < size; i += 1) value = value * 256 + this.bytes[this.at + i]!;
    this.at += size;
    return value;
  }

  #count(count: number, bytesEach: number): number {
    if (count * bytesEach > this.end - this.at) throw malformed("More elements than bytes.");
    return count;
  }

  #span(length: number, maxBytes: number): void {
    if (length > maxBytes) throw malformed(`${length} bytes where at most ${maxBytes} are taken.`);
    if (length > this.end - this.at) throw malformed("A value is cut off.");
    this.spanStart = this.at;
    this.at += length;
    this.spanEnd = this.at;
  }

  #integer(): number {
    const head = this.#byte();
    if (head < 0x80) return head;
    switch (head) {
      case 0xcc: return this.#fixed(1);
      case 0xcd: return this.#fixed(2);
      case 0xce: return this.#fixed(4);
      case 0xcf: case 0xd3: return this.#safe(this.#fixed(4) * TWO_32 + this.#fixed(4)); // a negative int 64 is far above 2^53 - 1 here
      case 0xcb: return this.#float();
      case 0xd0: return this.#positive(this.#fixed(1), 0x7f);
      case 0xd1: return this.#positive(this.#fixed(2), 0x7fff);
      case 0xd2: return this.#positive(this.#fixed(4), 0x7fffffff);
      default: throw malformed("An integer that is not negative was expected.");
    }
  }

  #safe(value: number): number {
    if (!Number.isSafeInteger(value)) throw malformed("A number above 2^53 - 1.");
    return value;
  }

  #positive(value: number, max: number): number {
    if (value > max) throw malformed("A number below 0.");
    return value;
  }

  #float(): number {
    if (this.end - this.at < 8) throw malformed("A value is cut off.");
    const value = new DataView(this.bytes.buffer, this.bytes.byteOffset + this.at, 8).getFloat64(0);
    this.at += 8;
    if (!Number.isSafeInteger(value) || value < 0) throw malformed("A number that is no integer from 0 to 2^53 - 1.");
    return value + 0; // -0 becomes 0
  }

  #decoded(): string {
    return decoder.decode(this.bytes.subarray(this.spanStart, this.spanEnd));
  }
}

/** Is bytes[from … to) well-formed UTF-8: shortest forms only, no surrogates, nothing above U+10FFFF? */
export function isUtf8(bytes: Uint8Array, from: number, to: number): boolean {
  let at = from;
  while (at < to) {
    const first = bytes[at]!;
    at += 1;
    if (first < 0x80) continue;
    let more: number;
    let low = 0x80;
    let high = 0xbf;
    if (first >= 0xc2 && first <= 0xdf) more = 1;
    else if (first >= 0xe0 && first <= 0xef) {
      more = 2;
      if (first === 0xe0) low = 0xa0;
      else if (first === 0xed) high = 0x9f;
    } else if (first >= 0xf0 && first <= 0xf4) {
      more = 3;
      if (first === 0xf0) low = 0x90;
      else if (first === 0xf4) high = 0x8f;
    } else return false;
    if (more > to - at) return false;
    if (bytes[at]! < low || bytes[at]! > high) return false;
    for (let i = 1; i < more; i += 1) if (bytes[at + i]! >> 6 !== 2) return false;
    at += more;
  }
  return true;
}

/** Writes msgpack into one buffer that grows by doubling; always the shortest format of a value. */
export class Writer {
  bytes: Uint8Array;
  /** Bytes written so far. */
  at = 0;

  constructor(capacity = 256) {
    this.bytes = new Uint8Array(capacity);
  }

  /** What was written, not copied: valid until the next write or `clear`. */
  get written(): Uint8Array {
    return this.bytes.subarray(0, this.at);
  }

  clear(): void {
    this.at = 0;
  }

  /** Leaves room for a frame's length; `endFrame` fills it in. */
  beginFrame(): number {
    this.reserve(4);
    this.at += 4;
    return this.at;
  }

  endFrame(start: number): void {
    const length = this.at - start;
    this.bytes[start - 4] = length >>> 24;
    this.bytes[start - 3] = length >>> 16;
    this.bytes[start - 2] = length >>> 8;
    this.bytes[start - 1] = length;
  }

  array(count: number): void {
    if (count < 16) this.#one(0x90 | count);
    else if (count < 0x10000) this.#head(0xdc, 2, count);
    else this.#head(0xdd, 4, count);
  }

  map(count: number): void {
    if (count < 16) this.#one(0x80 | count);
    else if (count < 0x10000) this.#head(0xde, 2, count);
    else this.#head(0xdf, 4, count);
  }

  /** 0 … 2^53 - 1 */
  uint(value: number): void {
    if (value < 0x80) this.#one(value);
    else if (value < 0x100) this.#head(0xcc, 1, value);
    else if (value < 0x10000) this.#head(0xcd, 2, value);
    else if (value < TWO_32) this.#head(0xce, 4, value);
    else {
      const high = Math.floor(value / TWO_32);
      this.#head(0xcf, 4, high);
      this.#big(value - high * TWO_32, 4);
    }
  }

  /** 0 … 2^64 - 1 */
  u64(value: bigint): void {
    if (value <= 0xffff_ffffn) {
      this.uint(Number(value));
      return;
    }
    this.#head(0xcf, 4, Number(value >> 32n));
    this.#big(Number(value & 0xffff_ffffn), 4);
  }

  nil(): void {
    this.#one(0xc0);
  }

  bool(value: boolean): void {
    this.#one(value ? 0xc3 : 0xc2);
  }

  str(value: string): void {
    if (value.length < 32 && this.#ascii(value)) return;
    const most = value.length * 3;
    if (most < 32) {
      this.reserve(1 + most);
      const written = encoder.encodeInto(value, this.bytes.subarray(this.at + 1)).written;
      this.bytes[this.at] = 0xa0 | written;
      this.at += 1 + written;
      return;
    }
    this.utf8(encoder.encode(value));
  }

  /** Short ASCII, which names and types mostly are, without an encoder; false, and nothing written, where it is other. */
  #ascii(value: string): boolean {
    const { length } = value;
    this.reserve(1 + length);
    const { bytes, at } = this;
    let seen = 0;
    for (let i = 0; i < length; i += 1) seen |= bytes[at + 1 + i] = value.charCodeAt(i);
    if (seen >= 0x80) return false;
    bytes[at] = 0xa0 | length;
    this.at = at + 1 + length;
    return true;
  }

  /** A string that is UTF-8 already; it is not looked at. */
  utf8(value: Uint8Array): void {
    if (value.length < 32) this.#one(0xa0 | value.length);
    else if (value.length < 0x100) this.#head(0xd9, 1, value.length);
    else if (value.length < 0x10000) this.#head(0xda, 2, value.length);
    else this.#head(0xdb, 4, value.length);
    this.raw(value, 0, value.length);
  }

  bin(value: Uint8Array): void {
    if (value.length < 0x100) this.#head(0xc4, 1, value.length);
    else if (value.length < 0x10000) this.#head(0xc5, 2, value.length);
    else this.#head(0xc6, 4, value.length);
    this.raw(value, 0, value.length);
  }

  /** Bytes as they are. */
  raw(bytes: Uint8Array, start: number, end: number): void {
    const length = end - start;
    this.reserve(length);
    if (length < 64) for (let i = 0; i < length; i += 1) this.bytes[this.at + i] = bytes[start + i]!;
    else this.bytes.set(start === 0 && end === bytes.length ? bytes : bytes.subarray(start, end), this.at);
    this.at += length;
  }

  reserve(length: number): void {
    if (this.at + length <= this.bytes.length) return;
    const grown = new Uint8Array(Math.max(this.bytes.length * 2, this.at + length));
    grown.set(this.written);
    this.bytes = grown;
  }

  #one(byte: number): void {
    this.reserve(1);
    this.bytes[this.at] = byte;
    this.at += 1;
  }

  #head(head: number, size: number, value: number): void {
    this.#one(head);
    this.#big(value, size);
  }

  #big(value: number, size: number): void {
    this.reserve(size);
    for (let i = size - 1, rest = value; i >= 0; i -= 1, rest = Math.floor(rest / 256)) this.bytes[this.at + i] = rest & 0xff;
    this.at += size;
  }
}

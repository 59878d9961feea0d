// Reading and writing of the small binary records of the streams: variable-length integers, byte strings and text.

import { assert } from "../../base/assert.ts";
import type { Slab } from "./slab.ts";

const UTF8 = new TextEncoder();
/** Keeps a byte order mark: an id is its bytes, all of them. */
const FROM_UTF8 = new TextDecoder("utf-8", { ignoreBOM: true });

export function utf8(text: string): Uint8Array {
  return UTF8.encode(text);
}

/** Up to so many bytes a decoder costs more than it helps, where they are ASCII. */
const SHORT_BYTES = 64;

export function fromUtf8(bytes: Uint8Array): string {
  return shortAscii(bytes, 0, bytes.length) ?? FROM_UTF8.decode(bytes);
}

/** An array for each length, used again and again: names are read by the thousand. */
const CODES = Array.from({ length: SHORT_BYTES + 1 }, (_, length) => new Array<number>(length).fill(0));

/** undefined: it is not short, or not ASCII. */
function shortAscii(bytes: Uint8Array, start: number, length: number): string | undefined {
  const codes = CODES[length];
  if (codes === undefined) return undefined;
  let seen = 0;
  for (let i = 0; i < length; i += 1) seen |= codes[i] = bytes[start + i]!;
  return seen < 0x80 ? String.fromCharCode.apply(null, codes) : undefined;
}

export class Writer {
  #bytes = new Uint8Array(512);
  #length = 0;

  /** Bytes written since `take`. */
  get length(): number {
    return this.#length;
  }

  u8(value: number): this {
    this.#room(1);
    this.#bytes[this.#length++] = value;
    return this;
  }

  /** 0 … 2⁵³ − 1, seven bits a byte, lowest first. */
  integer(value: number): this {
    assert(value >= 0 && value <= Number.MAX_SAFE_INTEGER, "an integer of a record is none below 0 and has at most 53 bits");
    this.#room(8);
    let rest = value;
    while (rest >= 0x80) {
      this.#bytes[this.#length++] = (rest % 0x80) | 0x80;
      rest = rest < 0x80000000 ? rest >>> 7 : Math.floor(rest / 0x80);
    }
    this.#bytes[this.#length++] = rest;
    return this;
  }

  u64(value: bigint): this {
    return this.integer(Number(value >> 32n)).integer(Number(value & 0xffffffffn));
  }

  /** The bytes as they are. */
  raw(bytes: Uint8Array): this {
    this.#room(bytes.length);
    this.#bytes.set(bytes, this.#length);
    this.#length += bytes.length;
    return this;
  }

  /** Its length, then the bytes. */
  blob(bytes: Uint8Array): this {
    return this.integer(bytes.length).raw(bytes);
  }

  /** The length and the bytes from `start` to `end`. */
  part(bytes: Uint8Array, start: number, end: number): this {
    return this.integer(end - start).raw(new Uint8Array(bytes.buffer, bytes.byteOffset + start, end - start));
  }

  /** Its length in bytes of UTF-8, then those. Short ASCII, which names mostly are, is written without an encoder. */
  text(text: string): this {
    const { length } = text;
    if (length >= 0x80) return this.blob(UTF8.encode(text));
    this.#room(length + 1);
    const bytes = this.#bytes;
    const at = this.#length + 1;
    let seen = 0;
    for (let i = 0; i < length; i += 1) seen |= bytes[at + i] = text.charCodeAt(i);
    if (seen >= 0x80) return this.blob(UTF8.encode(text));
    bytes[at - 1] = length;
    this.#length = at + length;
    return this;
  }

  /** A copy of what was written; the writer is empty again. */
  take(): Uint8Array {
    const bytes = this.written.slice();
    this.#length = 0;
    return bytes;
  }

  /** As `take`, but the copy stands in the slab: many short ones cost less memory there. */
  takeInto(slab: Slab): Uint8Array {
    slab.reserve(this.#length);
    slab.bytes.set(new Uint8Array(this.#bytes.buffer, 0, this.#length), slab.start);
    this.#length = 0;
    return slab.take();
  }

  /** A view of what was written: good until more is. */
  get written(): Uint8Array {
    return this.#bytes.subarray(0, this.#length);
  }

  clear(): void {
    this.#length = 0;
  }

  #room(more: number): void {
    if (this.#length + more <= this.#bytes.length) return;
    const grown = new Uint8Array(Math.max(this.#bytes.length * 2, this.#length + more));
    grown.set(this.#bytes.subarray(0, this.#length));
    this.#bytes = grown;
  }
}

/** Reads what a Writer wrote; a record that is cut short is a broken invariant, since the log and the state store prove their bytes. */
export class Reader {
  readonly #bytes: Uint8Array;
  #at: number;

  constructor(bytes: Uint8Array, from = 0) {
    this.#bytes = bytes;
    this.#at = from;
  }

  get done(): boolean {
    return this.#at === this.#bytes.length;
  }

  /** What is read from: `skip` answers places in it. */
  get bytes(): Uint8Array {
    return this.#bytes;
  }

  u8(): number {
    assert(this.#at < this.#bytes.length, "a record of the streams is whole");
    return this.#bytes[this.#at++]!;
  }

  integer(): number {
    let value = 0;
    let scale = 1;
    for (;;) {
      const byte = this.u8();
      value += (byte & 0x7f) * scale;
      assert(value <= Number.MAX_SAFE_INTEGER, "an integer of a record has at most 53 bits");
      if (byte < 0x80) return value;
      scale *= 0x80;
    }
  }

  u64(): bigint {
    const high = BigInt(this.integer());
    return (high << 32n) | BigInt(this.integer());
  }

  /** Steps over the next bytes; answers where they begin. */
  skip(length: number): number {
    assert(length <= this.#bytes.length - this.#at, "a record of the streams is whole");
    const start = this.#at;
    this.#at += length;
    return start;
  }

  /** A view of the next bytes. */
  raw(length: number): Uint8Array {
    // Not `subarray`: a Buffer's makes a Buffer, which takes several times as long.
    return new Uint8Array(this.#bytes.buffer, this.#bytes.byteOffset + this.skip(length), length);
  }

  blob(): Uint8Array {
    return this.raw(this.integer());
  }

  text(): string {
    const length = this.integer();
    const text = length <= this.#bytes.length - this.#at ? shortAscii(this.#bytes, this.#at, length) : undefined;
    if (text === undefined) return fromUtf8(this.raw(length));
    this.#at += length;
    return text;
  }

  rest(): Uint8Array {
    return this.raw(this.#bytes.length - this.#at);
  }
}

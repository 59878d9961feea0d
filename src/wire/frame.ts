// Frames on a byte stream: a u32 big-endian length, then that many bytes. The de-framer copies only a frame that straddles two chunks.

import { assert } from "../base/assert.ts";
import { BellhopError } from "../base/errors.ts";

/** Bytes of the length in front of each frame. */
export const FRAME_HEADER_BYTES = 4;

export interface FrameSink {
  /** One whole frame without its length: bytes[start … end). They are valid only during the call. False stops the de-framer for good. */
  frame(bytes: Uint8Array, start: number, end: number): boolean;
}

/** Reads the u32 length at `at`; all four bytes must be there. */
export function frameLength(bytes: Uint8Array, at: number): number {
  return bytes[at]! * 0x1000000 + ((bytes[at + 1]! << 16) | (bytes[at + 2]! << 8) | bytes[at + 3]!);
}

/** What others begin with, read as a length: far above every limit. */
const HTTP = 0x48545450;
const TLS_RECORDS: readonly number[] = [0x1503, 0x1603];

/** A port of another protocol was dialled: said in words, for no length tells it. */
function notFrames(length: number): BellhopError | undefined {
  if (length === HTTP) return new BellhopError("protocol", "HTTP was answered: this is an HTTP port. Devices use another one, 4810 by default.");
  return TLS_RECORDS.includes(length >>> 16) ? new BellhopError("protocol", "The other side speaks TLS, and this one does not.") : undefined;
}

/** Cuts a byte stream into frames of 1 … `maxBytes` bytes. Holds at most twice what has arrived of one frame, whatever its length claims. */
export class Deframer {
  /** Greatest length of a frame, in bytes; may change between frames. */
  maxBytes: number;
  /** The beginning of a straddling frame, its length in front; undefined when the last chunk ended with a frame. */
  #partial: Uint8Array | undefined;
  #held = 0;

  constructor(maxBytes: number) {
    this.maxBytes = maxBytes;
  }

  /** Bytes held of a frame that is not whole yet. */
  get held(): number {
    return this.#held;
  }

  /** @throws BellhopError `too_large` for a length over the limit, `protocol` for a length of 0 and for the beginning of HTTP or TLS; nothing may be pushed after either. */
  push(chunk: Uint8Array, sink: FrameSink): void {
    let at = 0;
    const end = chunk.length;
    if (this.#held > 0) {
      at = this.#fill(chunk, sink);
      if (at < 0) return;
    }
    while (end - at >= FRAME_HEADER_BYTES) {
      const bodyEnd = at + FRAME_HEADER_BYTES + this.#checked(frameLength(chunk, at));
      if (bodyEnd > end) break;
      if (!sink.frame(chunk, at + FRAME_HEADER_BYTES, bodyEnd)) return;
      at = bodyEnd;
    }
    if (at < end) this.#hold(chunk, at, end);
  }

  #checked(length: number): number {
    if (length > this.maxBytes) throw notFrames(length) ?? new BellhopError("too_large", `A frame of ${length} bytes; at most ${this.maxBytes} are taken.`);
    if (length === 0) throw new BellhopError("protocol", "A frame of 0 bytes.");
    return length;
  }

  /** Completes the straddling frame. Returns where the next one begins in the chunk, or -1 when the chunk is used up or the sink has stopped. */
  #fill(chunk: Uint8Array, sink: FrameSink): number {
    let at = 0;
    if (this.#held < FRAME_HEADER_BYTES) {
      at = Math.min(FRAME_HEADER_BYTES - this.#held, chunk.length);
      this.#hold(chunk, 0, at);
      if (this.#held < FRAME_HEADER_BYTES) return -1;
    }
    const frameEnd = FRAME_HEADER_BYTES + this.#checked(frameLength(this.#partial!, 0));
    const take = Math.min(frameEnd - this.#held, chunk.length - at);
    this.#hold(chunk, at, at + take);
    if (this.#held < frameEnd) return -1;
    const whole = this.#partial!;
    this.#partial = undefined;
    this.#held = 0;
    return sink.frame(whole, FRAME_HEADER_BYTES, frameEnd) ? at + take : -1;
  }

  #hold(chunk: Uint8Array, from: number, to: number): void {
    const need = this.#held + to - from;
    if (this.#partial === undefined || this.#partial.length < need) {
      const grown = new Uint8Array(Math.max(64, 2 * need));
      if (this.#partial !== undefined) grown.set(this.#partial.subarray(0, this.#held));
      this.#partial = grown;
    }
    this.#partial.set(chunk.subarray(from, to), this.#held);
    this.#held = need;
    assert(need <= FRAME_HEADER_BYTES + this.maxBytes, "a de-framer holds at most one frame");
  }
}

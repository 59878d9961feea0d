// The framing of a link: batches of messages, `[length u32][crc32 u32][messages]`, big-endian. A batch that is damaged or too long ends the link.

import { crc32 } from "node:zlib";
import { LinkError } from "./codec.ts";

const HEAD_BYTES = 8;

/** Greatest batch that is taken: more than one message of the greatest size that a replica sends. */
export const BATCH_BYTES_MAX = 64 * 1024 * 1024;

/** A buffer made for a batch has room for this at least, so that it serves many. */
const LEAST_BYTES = 64 * 1024;

/**
 * A batch with its head in front, in one buffer.
 * @param spare where the batch is made, if it has the room: nobody needs what is in it any more
 */
export function frameBatch(messages: Uint8Array, spare?: Buffer): Buffer {
  const bytes = HEAD_BYTES + messages.length;
  const room = spare !== undefined && spare.length >= bytes ? spare : Buffer.allocUnsafeSlow(Math.max(LEAST_BYTES, 2 ** Math.ceil(Math.log2(bytes))));
  const batch = room.length === bytes ? room : Buffer.from(room.buffer, 0, bytes);
  batch.writeUInt32BE(messages.length, 0);
  batch.writeUInt32BE(crc32(messages), 4);
  batch.set(messages, HEAD_BYTES);
  return batch;
}

/** Cuts batches out of a socket's bytes. What spans chunks is copied once, into a buffer of its own. */
export class BatchReader {
  /** Greatest batch taken; small until the other end has said who it is. */
  limit: number;
  readonly #head = Buffer.alloc(HEAD_BYTES);
  #headBytes = 0;
  /** The batch under way, once its head is whole. */
  #body: Buffer | undefined;
  #bodyBytes = 0;

  constructor(limit: number) {
    this.limit = limit;
  }

  /**
   * Hands each whole batch to `take`, in order; its bytes are the taker's to keep.
   * @throws LinkError on a batch that is damaged or longer than the limit
   */
  push(chunk: Buffer, take: (messages: Uint8Array) => void): void {
    let at = 0;
    while (at < chunk.length) {
      if (this.#body === undefined) {
        at += this.#takeHead(chunk, at);
        if (this.#headBytes < HEAD_BYTES) return;
        const length = this.#length();
        if (chunk.length - at >= length) {
          this.#finish(chunk.subarray(at, at + length), take);
          at += length;
          continue;
        }
        this.#body = Buffer.allocUnsafeSlow(length);
        this.#bodyBytes = 0;
      }
      const part = Math.min(this.#body.length - this.#bodyBytes, chunk.length - at);
      chunk.copy(this.#body, this.#bodyBytes, at, at + part);
      this.#bodyBytes += part;
      at += part;
      if (this.#bodyBytes === this.#body.length) this.#finish(this.#body, take);
    }
  }

  #takeHead(chunk: Buffer, at: number): number {
    const part = Math.min(HEAD_BYTES - this.#headBytes, chunk.length - at);
    chunk.copy(this.#head, this.#headBytes, at, at + part);
    this.#headBytes += part;
    return part;
  }

  #length(): number {
    const length = this.#head.readUInt32BE(0);
    if (length > this.limit) throw new LinkError(`a batch of ${length} bytes is longer than ${this.limit}`);
    return length;
  }

  #finish(messages: Buffer, take: (messages: Uint8Array) => void): void {
    if (crc32(messages) !== this.#head.readUInt32BE(4)) throw new LinkError("a batch is damaged");
    this.#headBytes = 0;
    this.#body = undefined;
    take(messages);
  }
}

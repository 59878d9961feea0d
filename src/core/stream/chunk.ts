// The index of a stream: offset → log index, in chunks of 128 offsets. Chunk n holds offsets n × 128 + 1 … (n + 1) × 128.

import { assert } from "../../base/assert.ts";
import { Reader, Writer } from "./bytes.ts";

export const CHUNK_ENTRIES = 128;
const VERSION = 1;

export function chunkOf(offset: number): number {
  return Math.floor((offset - 1) / CHUNK_ENTRIES);
}

const out = new Writer();

export function encodeChunk(indexes: readonly number[]): Uint8Array {
  assert(indexes.length === CHUNK_ENTRIES, "a sealed chunk is full");
  writeIndexes(out.u8(VERSION), indexes);
  return out.take();
}

export function decodeChunk(bytes: Uint8Array): number[] {
  const from = new Reader(bytes);
  assert(from.u8() === VERSION, "an index chunk has a known version");
  return readIndexes(from);
}

/** Ascending log indexes as their count and their differences. */
export function writeIndexes(to: Writer, indexes: readonly number[]): void {
  to.integer(indexes.length);
  let before = 0;
  for (const index of indexes) {
    to.integer(index - before);
    before = index;
  }
}

export function readIndexes(from: Reader): number[] {
  const count = from.integer();
  assert(count <= CHUNK_ENTRIES, "an index chunk holds at most 128 entries");
  const indexes: number[] = [];
  let index = 0;
  for (let i = 0; i < count; i += 1) {
    index += from.integer();
    indexes.push(index);
  }
  return indexes;
}

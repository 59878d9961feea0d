// Reads entries back: from groups still held in memory, else from the disk, near ones in one call; every record's crc is checked.

import type { Entry } from "../core/entry.ts";
import { StorageError } from "./errors.ts";
import type { Group } from "./group.ts";
import { decodeRecord, entryOf, MAX_PAYLOAD, RECORD_HEADER, recordIsWhole, recordLength, viewOf } from "./record.ts";
import type { Segment } from "./segment.ts";

export interface Place {
  readonly segment: Segment;
  /** In the segment, bytes. */
  readonly offset: number;
  /** The group that holds it in memory. */
  readonly held: Group | undefined;
}

/** Records with at most this much between them are read in one call, bytes. */
const NEAR = 16 * 1024;
/** Greatest read for several records, bytes. */
const SPAN = 256 * 1024;
/** Read for the last record, whose length is not known yet, bytes. */
const GUESS = 4 * 1024;

/** @param find where an entry is now; undefined where it is not retained */
export async function readEntries(bucket: number, indexes: readonly number[], maxBytes: number, find: (index: number) => Place | undefined): Promise<Entry[]> {
  const entries: Entry[] = [];
  let bytes = 0;
  /** false when the answer is full. */
  const take = (entry: Entry): boolean => {
    bytes += RECORD_HEADER + entry.payload.length;
    if (entries.length > 0 && bytes > maxBytes) return false;
    entries.push(entry);
    return true;
  };
  let at = 0;
  while (at < indexes.length && bytes < maxBytes) {
    const index = indexes[at] as number;
    const place = find(index);
    if (place === undefined) {
      at += 1;
    } else if (place.held !== undefined) {
      const { bytes: image, start } = place.held;
      if (!take(entryIn(image, place.offset - start, bucket, index, place) as Entry)) break;
      at += 1;
    } else {
      const span = nearOnes(indexes, at, place, Math.min(SPAN, Math.max(GUESS, maxBytes - bytes)), find);
      at += span.length;
      if (!(await readSpan(bucket, span, take))) break;
    }
  }
  return entries;
}

interface Wanted {
  readonly index: number;
  readonly place: Place;
}

/** The wanted records that one read covers, beginning with the one at `at`. */
function nearOnes(indexes: readonly number[], at: number, first: Place, limit: number, find: (index: number) => Place | undefined): Wanted[] {
  const span: Wanted[] = [{ index: indexes[at] as number, place: first }];
  let before = first;
  for (let i = at + 1; i < indexes.length; i += 1) {
    const index = indexes[i] as number;
    const place = find(index);
    if (place === undefined || place.held !== undefined || place.segment !== first.segment) break;
    if (place.offset < before.offset || place.offset - before.offset > NEAR || place.offset - first.offset > limit) break;
    span.push({ index, place });
    before = place;
  }
  return span;
}

async function readSpan(bucket: number, span: readonly Wanted[], take: (entry: Entry) => boolean): Promise<boolean> {
  const first = (span[0] as Wanted).place;
  const last = (span[span.length - 1] as Wanted).place;
  const segment = first.segment;
  segment.readers += 1; // its file is not used again meanwhile
  try {
    const image = await readAt(segment, first.offset, last.offset - first.offset + GUESS);
    for (const { index, place } of span) {
      const entry = entryIn(image, place.offset - first.offset, bucket, index, place) ?? (await readLong(bucket, index, place));
      if (!take(entry)) return false;
    }
    return true;
  } finally {
    segment.readers -= 1;
  }
}

/** A record that is longer than what was read for it. */
async function readLong(bucket: number, index: number, place: Place): Promise<Entry> {
  const head = await readAt(place.segment, place.offset, RECORD_HEADER);
  const payload = head.length < RECORD_HEADER ? 0 : viewOf(head).getUint32(4, true);
  if (payload > MAX_PAYLOAD) throw damaged(bucket, index, place);
  const entry = entryIn(await readAt(place.segment, place.offset, RECORD_HEADER + payload), 0, bucket, index, place);
  if (entry === undefined) throw damaged(bucket, index, place);
  return entry;
}

async function readAt(segment: Segment, offset: number, bytes: number): Promise<Uint8Array> {
  const into = new Uint8Array(bytes);
  return into.subarray(0, (await segment.file?.read(into, offset)) ?? 0);
}

/** The wanted entry at `at`; undefined where the image ends before the record does. */
function entryIn(image: Uint8Array, at: number, bucket: number, index: number, place: Place): Entry | undefined {
  const view = viewOf(image);
  const length = recordLength(view, at, image.length);
  if (length === 0) return undefined;
  if (!recordIsWhole(view, at, length)) throw damaged(bucket, index, place);
  const record = decodeRecord(view, image, at, length);
  if (record.bucket !== bucket || record.index !== index) throw damaged(bucket, index, place);
  return entryOf(record);
}

function damaged(bucket: number, index: number, place: Place): StorageError {
  return new StorageError("damaged", `Segment ${place.segment.number}, offset ${place.offset}: entry ${index} of bucket ${bucket} is damaged. The next start checks the whole log.`);
}

// A group: the unit that is written at once. Built in one buffer, and read back (docs/storage.md).

import { assert } from "../base/assert.ts";
import { CRC_OF_NOTHING, crc32c, crc32cOfWord } from "../base/crc32c.ts";
import { alignUp, BLOCK, encodeRecord, getU48, recordIsWhole, recordLength, RECORD_HEADER, RECORD_TYPE, setU48, viewOf } from "./record.ts";
import type { LogRecord, RecordType, SegmentId } from "./record.ts";
import type { Segment } from "./segment.ts";

export const GROUP_HEADER = 48;
const MAGIC = 0x31524742; // "BGR1"

/** A group that is being filled, or waits for the disk. Its buffer is not used again before its write is done. */
export class Group {
  readonly segment: Segment;
  readonly sequence: number;
  /** Where it stands in its segment, bytes. */
  readonly start: number;
  readonly bytes: Uint8Array;
  readonly view: DataView;
  readonly capacity: number;
  used = GROUP_HEADER;
  records = 0;
  crc = 0;
  written = false;
  /** When it was handed to the disk, milliseconds of the monotonic clock. */
  handedAt = 0;
  #crcOfRecords = CRC_OF_NOTHING;

  /** @param capacity bytes it may take, header included; at most those of the buffer. */
  constructor(segment: Segment, sequence: number, start: number, buffer: Uint8Array, capacity: number) {
    assert(start % BLOCK === 0 && capacity <= buffer.length, "a group stands on a block and fits its buffer");
    this.segment = segment;
    this.sequence = sequence;
    this.start = start;
    this.bytes = buffer;
    this.view = viewOf(buffer);
    this.capacity = capacity;
  }

  fits(bytes: number): boolean {
    return this.used + bytes <= this.capacity;
  }

  /** Adds a record that fits; returns where it stands in the segment. */
  add(type: RecordType, bucket: number, kind: number, index: number, epoch: number, time: number, payload: Uint8Array): number {
    const at = this.used;
    const crc = encodeRecord(this.view, this.bytes, at, type, bucket, kind, index, epoch, time, payload);
    this.#crcOfRecords = crc32cOfWord(this.#crcOfRecords, crc);
    this.used = at + RECORD_HEADER + payload.length;
    this.records += 1;
    return this.start + at;
  }

  addRecord(record: LogRecord): number {
    return this.add(record.type, record.bucket, record.kind, record.index, record.epoch, record.time, record.payload);
  }

  /** Bytes that it takes in its segment. */
  get size(): number {
    return alignUp(this.used);
  }

  /** Writes the header, zeros up to the next block, and the crc; returns what is to be written. */
  finish(durableThrough: number, crcBefore: number): Uint8Array {
    const view = this.view;
    view.setUint32(0, MAGIC, true);
    view.setUint32(8, this.segment.number, true);
    view.setUint32(12, this.segment.tag, true);
    setU48(view, 16, 20, this.sequence);
    view.setUint16(22, 0, true);
    setU48(view, 24, 28, durableThrough);
    view.setUint16(30, 0, true);
    view.setUint32(32, this.used - GROUP_HEADER, true);
    view.setUint32(36, this.records, true);
    view.setUint32(40, this.#crcOfRecords, true);
    view.setUint32(44, crcBefore, true);
    this.crc = crc32c(view, 8, GROUP_HEADER);
    view.setUint32(4, this.crc, true);
    this.bytes.fill(0, this.used, this.size);
    return this.bytes.subarray(0, this.size);
  }
}

/** A group that was read and is whole. Offsets count from the segment's begin. */
export interface ScannedGroup {
  readonly start: number;
  /** Behind its padding. */
  readonly end: number;
  readonly bodyEnd: number;
  readonly records: number;
  readonly sequence: number;
  readonly durableThrough: number;
  readonly crc: number;
  readonly crcBefore: number;
  /** The greatest number that a RETIRED record in it names, else 0. */
  readonly retired: number;
}

/**
 * The group at `start` of a segment's image, if a whole one of this very segment stands there: stale bytes of an earlier life carry another id.
 * @param limit bytes of the image that belong to the segment
 */
export function readGroup(view: DataView, start: number, limit: number, segment: SegmentId): ScannedGroup | undefined {
  if (start + GROUP_HEADER > limit || view.getUint32(start, true) !== MAGIC) return undefined;
  if (view.getUint32(start + 8, true) !== segment.number || view.getUint32(start + 12, true) !== segment.tag) return undefined; // R23
  const crc = view.getUint32(start + 4, true);
  if (crc32c(view, start + 8, start + GROUP_HEADER) !== crc) return undefined;
  const records = view.getUint32(start + 36, true);
  const bodyEnd = start + GROUP_HEADER + view.getUint32(start + 32, true);
  if (bodyEnd > limit) return undefined;
  let crcOfRecords = CRC_OF_NOTHING;
  let retired = 0;
  let at = start + GROUP_HEADER;
  for (let record = 0; record < records; record += 1) {
    const length = recordLength(view, at, bodyEnd);
    if (length === 0 || !recordIsWhole(view, at, length)) return undefined;
    crcOfRecords = crc32cOfWord(crcOfRecords, view.getUint32(at, true));
    if (view.getUint8(at + 12) === RECORD_TYPE.retired) retired = Math.max(retired, getU48(view, at + 16, at + 14));
    at += length;
  }
  if (at !== bodyEnd || crcOfRecords !== view.getUint32(start + 40, true)) return undefined;
  return {
    start,
    end: alignUp(bodyEnd),
    bodyEnd,
    records,
    sequence: getU48(view, start + 16, start + 20),
    durableThrough: getU48(view, start + 24, start + 28),
    crc,
    crcBefore: view.getUint32(start + 44, true),
    retired,
  };
}

/**
 * The durable-through of a group whose header is whole, be its records so or not, else 0. A group's header is evidence of what was
 * durable before it, even where its own records were torn.
 */
export function durableThroughAt(view: DataView, start: number, limit: number, segment: SegmentId): number {
  if (start + GROUP_HEADER > limit || view.getUint32(start, true) !== MAGIC) return 0;
  if (view.getUint32(start + 8, true) !== segment.number || view.getUint32(start + 12, true) !== segment.tag) return 0;
  if (crc32c(view, start + 8, start + GROUP_HEADER) !== view.getUint32(start + 4, true)) return 0;
  return getU48(view, start + 24, start + 28);
}

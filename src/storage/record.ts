// A record of the log and the header of a segment: their bytes (docs/storage.md), written and read.

import { crc32c } from "../base/crc32c.ts";
import { ENTRY_KIND, type Entry, type EntryKind } from "../core/entry.ts";

export const RECORD_TYPE = {
  entry: 1,
  copied: 2,
  reset: 3,
  mark: 4,
  floor: 5,
  drop: 6,
  link: 7,
  copy: 8,
  retired: 9,
  unclean: 10,
} as const;

export type RecordType = (typeof RECORD_TYPE)[keyof typeof RECORD_TYPE];

const GREATEST_TYPE = RECORD_TYPE.unclean;
/** Beside the type of an entry whose payload was blanked. */
const BLANKED = 0x80;

/** Bytes before a record's payload. */
export const RECORD_HEADER = 32;
/** Greatest payload of one record, bytes. */
export const MAX_PAYLOAD = 16 * 1024 * 1024;
/** Groups begin at multiples of this, so that no sector holds two (docs/storage.md, assumption 2). */
export const BLOCK = 512;
export const SEGMENT_HEADER = BLOCK;

const TWO_32 = 0x1_0000_0000;
const NO_PAYLOAD = new Uint8Array(0);

export interface LogRecord {
  readonly type: RecordType;
  readonly bucket: number;
  readonly kind: number;
  readonly index: number;
  readonly epoch: number;
  readonly time: number;
  readonly payload: Uint8Array;
}

/** What a record holds where nothing is said. */
export function control(type: RecordType, bucket: number, fields: Partial<LogRecord> = {}): LogRecord {
  return { type, bucket, kind: 0, index: 0, epoch: 0, time: 0, payload: NO_PAYLOAD, ...fields };
}

export function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

export function alignUp(bytes: number): number {
  return Math.ceil(bytes / BLOCK) * BLOCK;
}

export function setU48(view: DataView, low: number, high: number, value: number): void {
  view.setUint32(low, value >>> 0, true); // ToUint32 is the remainder modulo 2³²
  view.setUint16(high, value / TWO_32, true);
}

export function getU48(view: DataView, low: number, high: number): number {
  return view.getUint16(high, true) * TWO_32 + view.getUint32(low, true);
}

/** Writes a record at `at`; the caller has made room for RECORD_HEADER + the payload. Returns its crc. */
export function encodeRecord(view: DataView, bytes: Uint8Array, at: number, type: RecordType, bucket: number, kind: number,
  index: number, epoch: number, time: number, payload: Uint8Array): number {
  const length = payload.length;
  view.setUint32(at + 4, length, true);
  view.setUint32(at + 8, bucket, true);
  view.setUint8(at + 12, type);
  view.setUint8(at + 13, kind);
  setU48(view, at + 16, at + 14, index);
  setU48(view, at + 20, at + 24, epoch);
  setU48(view, at + 28, at + 26, time);
  bytes.set(payload, at + RECORD_HEADER);
  const crc = crc32c(view, at + 4, at + RECORD_HEADER + length);
  view.setUint32(at, crc, true);
  return crc;
}

/** Bytes of the whole record at `at`, or 0 where its length cannot be true: nothing else of it has been checked. */
export function recordLength(view: DataView, at: number, end: number): number {
  if (at + RECORD_HEADER > end) return 0;
  const length = view.getUint32(at + 4, true);
  return length > MAX_PAYLOAD || at + RECORD_HEADER + length > end ? 0 : RECORD_HEADER + length;
}

/** Shorter records hold nothing worth blanking, and no room for what proves it. */
export const MIN_BLANKED = RECORD_HEADER + 4;

/** Blanks an entry's payload. The record's crc stays that of what it was, so that the crcs of its group, and of those behind it, stay true. */
export function blank(view: DataView, bytes: Uint8Array, at: number, length: number): void {
  view.setUint8(at + 12, view.getUint8(at + 12) | BLANKED);
  view.setUint8(at + 13, ENTRY_KIND.erased);
  bytes.fill(0, at + RECORD_HEADER, at + length);
  view.setUint32(at + RECORD_HEADER, crc32c(view, at + 4, at + RECORD_HEADER), true);
}

export function isBlank(view: DataView, at: number): boolean {
  return (view.getUint8(at + 12) & BLANKED) !== 0;
}

function blankIsWhole(view: DataView, at: number, length: number): boolean {
  const type = view.getUint8(at + 12) & ~BLANKED;
  if (length < MIN_BLANKED || (type !== RECORD_TYPE.entry && type !== RECORD_TYPE.copied)) return false;
  if (crc32c(view, at + 4, at + RECORD_HEADER) !== view.getUint32(at + RECORD_HEADER, true)) return false;
  for (let i = at + MIN_BLANKED; i < at + length; i += 1) if (view.getUint8(i) !== 0) return false;
  return true;
}

/** Is the record at `at`, of `length` bytes as recordLength gave them, whole and of a known type? */
export function recordIsWhole(view: DataView, at: number, length: number): boolean {
  if (isBlank(view, at)) return blankIsWhole(view, at, length);
  const type = view.getUint8(at + 12);
  return crc32c(view, at + 4, at + length) === view.getUint32(at, true) && type >= RECORD_TYPE.entry && type <= GREATEST_TYPE;
}

/** The record at `at`, known to be whole. Its payload is a part of `bytes`, not a copy. */
export function decodeRecord(view: DataView, bytes: Uint8Array, at: number, length: number): LogRecord {
  return {
    type: (view.getUint8(at + 12) & ~BLANKED) as RecordType,
    bucket: view.getUint32(at + 8, true),
    kind: view.getUint8(at + 13),
    index: getU48(view, at + 16, at + 14),
    epoch: getU48(view, at + 20, at + 24),
    time: getU48(view, at + 28, at + 26),
    payload: bytes.subarray(at + RECORD_HEADER, at + length),
  };
}

/** The entry that a record of type entry or copied holds; its payload is a copy. */
export function entryOf(record: LogRecord): Entry {
  return { index: record.index, epoch: record.epoch, kind: record.kind as EntryKind, time: record.time, payload: new Uint8Array(record.payload) };
}

/** Number and tag together are a segment's id: bytes of an earlier life of its file never carry it. */
export interface SegmentId {
  readonly number: number;
  readonly tag: number;
}

export interface SegmentHeader extends SegmentId {
  /** Bytes the file has had since before it got its name. */
  readonly bytes: number;
  readonly byRecovery: boolean;
  /** Recovery reported damage below this segment. */
  readonly damageReported: boolean;
  readonly syncedThrough: number;
  /** 32 hexadecimal digits. */
  readonly storeId: string;
}

const MAGIC = Buffer.from("BHOPSEG1", "latin1");
const FORMAT = 1;
const HEADER_USED = 64;

export function encodeSegmentHeader(header: SegmentHeader): Uint8Array {
  const bytes = new Uint8Array(SEGMENT_HEADER);
  const view = viewOf(bytes);
  bytes.set(MAGIC, 0);
  view.setUint32(12, FORMAT, true);
  view.setUint32(16, header.number, true);
  view.setUint32(20, header.tag, true);
  view.setUint32(24, header.bytes, true);
  view.setUint32(28, (header.byRecovery ? 1 : 0) | (header.damageReported ? 2 : 0), true);
  setU48(view, 32, 36, header.syncedThrough);
  bytes.set(Buffer.from(header.storeId, "hex"), 40);
  view.setUint32(8, crc32c(view, 12, HEADER_USED), true);
  return bytes;
}

/** The header of a segment, or why it is none. */
export function decodeSegmentHeader(bytes: Uint8Array): SegmentHeader | string {
  if (bytes.length < SEGMENT_HEADER) return "is cut short within its header";
  const view = viewOf(bytes);
  if (MAGIC.compare(bytes, 0, MAGIC.length) !== 0) return "does not begin like a segment";
  if (crc32c(view, 12, HEADER_USED) !== view.getUint32(8, true)) return "has a damaged header";
  const format = view.getUint32(12, true);
  if (format !== FORMAT) return `is of format ${format}, which this version does not know`;
  const flags = view.getUint32(28, true);
  return {
    number: view.getUint32(16, true),
    tag: view.getUint32(20, true),
    bytes: view.getUint32(24, true),
    byRecovery: (flags & 1) !== 0,
    damageReported: (flags & 2) !== 0,
    syncedThrough: getU48(view, 32, 36),
    storeId: Buffer.from(bytes.subarray(40, 56)).toString("hex"),
  };
}

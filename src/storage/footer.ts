// The footer of a sealed segment: what it holds, so that opening needs no scan (docs/storage.md).

import { crc32c } from "../base/crc32c.ts";
import type { Extent } from "./copies.ts";
import { decodeRecord, encodeRecord, getU48, RECORD_HEADER, RECORD_TYPE, recordIsWhole, recordLength, setU48, viewOf } from "./record.ts";
import type { LogRecord, SegmentId } from "./record.ts";
import type { Segment } from "./segment.ts";

export const FOOTER_HEADER = 48;
const MAGIC = 0x31544642; // "BFT1"
const RUN_HEADER = 21;
const RECORD_TAG = 0;

export type Item = Extent | LogRecord;

export function isExtent(item: Item): item is Extent {
  return "offsets" in item;
}

export function encodeFooter(segment: Segment, items: readonly Item[]): Uint8Array {
  const bodyBytes = items.reduce((sum, item) => sum + itemBytes(item), 0);
  const bytes = new Uint8Array(FOOTER_HEADER + bodyBytes);
  const view = viewOf(bytes);
  view.setUint32(0, MAGIC, true);
  view.setUint32(8, segment.number, true);
  view.setUint32(12, segment.tag, true);
  view.setUint32(16, bodyBytes, true);
  view.setUint32(20, items.length, true);
  setU48(view, 24, 28, segment.firstSequence);
  setU48(view, 32, 36, segment.lastSequence);
  view.setUint32(40, segment.crcBefore, true);
  view.setUint32(44, segment.lastCrc, true);
  let at = FOOTER_HEADER;
  for (const item of items) {
    if (isExtent(item)) encodeRun(view, at, item);
    else encodeControl(view, bytes, at, item);
    at += itemBytes(item);
  }
  view.setUint32(4, crc32c(view, 8, bytes.length), true);
  return bytes;
}

function itemBytes(item: Item): number {
  return isExtent(item) ? RUN_HEADER + 4 * item.written : 1 + RECORD_HEADER + item.payload.length;
}

function encodeRun(view: DataView, at: number, run: Extent): void {
  view.setUint8(at, run.type);
  view.setUint32(at + 1, run.bucket, true);
  setU48(view, at + 5, at + 9, run.first);
  setU48(view, at + 11, at + 15, run.epoch);
  view.setUint32(at + 17, run.written, true);
  for (let i = 0; i < run.written; i += 1) view.setUint32(at + RUN_HEADER + 4 * i, run.offsets[i] as number, true);
}

function encodeControl(view: DataView, bytes: Uint8Array, at: number, record: LogRecord): void {
  view.setUint8(at, RECORD_TAG);
  encodeRecord(view, bytes, at + 1, record.type, record.bucket, record.kind, record.index, record.epoch, record.time, record.payload);
}

export interface FooterHeader {
  readonly bytes: number;
  readonly crc: number;
  readonly items: number;
  readonly firstSequence: number;
  readonly lastSequence: number;
  readonly crcBefore: number;
  readonly lastCrc: number;
}

/** The header of this very segment's footer, or undefined; the rest is not checked before decodeFooter. */
export function decodeFooterHeader(bytes: Uint8Array, segment: SegmentId): FooterHeader | undefined {
  if (bytes.length < FOOTER_HEADER) return undefined;
  const view = viewOf(bytes);
  if (view.getUint32(0, true) !== MAGIC || view.getUint32(8, true) !== segment.number || view.getUint32(12, true) !== segment.tag) return undefined;
  return {
    bytes: FOOTER_HEADER + view.getUint32(16, true),
    crc: view.getUint32(4, true),
    items: view.getUint32(20, true),
    firstSequence: getU48(view, 24, 28),
    lastSequence: getU48(view, 32, 36),
    crcBefore: view.getUint32(40, true),
    lastCrc: view.getUint32(44, true),
  };
}

/** The items of a footer, given all of its bytes; undefined where they are damaged. */
export function decodeFooter(bytes: Uint8Array, header: FooterHeader, segment: Segment): Item[] | undefined {
  const view = viewOf(bytes);
  if (bytes.length !== header.bytes || crc32c(view, 8, bytes.length) !== header.crc) return undefined;
  const items: Item[] = [];
  let at = FOOTER_HEADER;
  for (let i = 0; i < header.items; i += 1) {
    const item = view.getUint8(at) === RECORD_TAG ? controlAt(view, bytes, at) : runAt(view, at, segment);
    if (item === undefined) return undefined;
    items.push(item);
    at += itemBytes(item);
  }
  return at === bytes.length ? items : undefined;
}

function controlAt(view: DataView, bytes: Uint8Array, at: number): LogRecord | undefined {
  const length = recordLength(view, at + 1, bytes.length);
  return length > 0 && recordIsWhole(view, at + 1, length) ? decodeRecord(view, bytes, at + 1, length) : undefined;
}

function runAt(view: DataView, at: number, segment: Segment): Extent {
  const type = view.getUint8(at) === RECORD_TYPE.copied ? RECORD_TYPE.copied : RECORD_TYPE.entry;
  const first = getU48(view, at + 5, at + 9);
  const written = view.getUint32(at + 17, true);
  const offsets = new Uint32Array(written);
  for (let i = 0; i < written; i += 1) offsets[i] = view.getUint32(at + RUN_HEADER + 4 * i, true);
  return { type, segment, bucket: view.getUint32(at + 1, true), epoch: getU48(view, at + 11, at + 15), first, offsets, written, from: first, to: first + written };
}

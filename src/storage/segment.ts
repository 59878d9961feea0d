// A segment: its names, its state in memory, and how a file is made ready to become one.

import { randomBytes } from "node:crypto";
import { join } from "node:path";
import type { Extent } from "./copies.ts";
import { encodeSegmentHeader, SEGMENT_HEADER } from "./record.ts";
import type { LogRecord, SegmentHeader, SegmentId } from "./record.ts";
import type { Vfs, VfsFile } from "./vfs.ts";

export interface Segment extends SegmentId {
  /** undefined until it is prepared. */
  file: VfsFile | undefined;
  /** Bytes that groups may take, header included. */
  readonly bytes: number;
  /** Where the next group goes; of a sealed one, where the footer stands. */
  end: number;
  /** 0 until it has a group. */
  firstSequence: number;
  lastSequence: number;
  /** Crc of the group before its first, and of its last. */
  crcBefore: number;
  lastCrc: number;
  /** What the footer will list, in the order of the log; undefined once the footer stands. */
  items: (Extent | LogRecord)[] | undefined;
  readonly extents: Extent[];
  sealed: boolean;
  retired: boolean;
  /** Reads that are under way: a retired file is not used again before they are done. */
  readers: number;
}

const ZEROS = new Uint8Array(1024 * 1024);

export function segmentName(number: number): string {
  return `${String(number).padStart(8, "0")}.seg`;
}

export function freeName(number: number): string {
  return `free-${String(number).padStart(8, "0")}`;
}

/** The number in a segment's name, or undefined for another file. */
export function segmentNumber(name: string): number | undefined {
  const match = /^(\d{8,10})\.seg$/.exec(name);
  return match === null ? undefined : Number(match[1]);
}

/** The number in any name in the log's directory, 0 where there is none: new numbers are above all of them. */
export function anyNumber(name: string): number {
  return Number(/\d{8,10}/.exec(name)?.[0] ?? 0);
}

export function newSegment(number: number, tag: number, bytes: number, file?: VfsFile): Segment {
  return {
    number, tag, bytes, file, end: SEGMENT_HEADER, firstSequence: 0, lastSequence: 0, crcBefore: 0, lastCrc: 0,
    items: [], extents: [], sealed: false, retired: false, readers: 0,
  };
}

export function randomTag(): number {
  return randomBytes(4).readUInt32LE(0);
}

/**
 * Gives a file a segment's size and header, durably, under whatever name it has: bytes that were there stay (their id is another),
 * the rest is filled with zeros, so that no group's write has to allocate (docs/storage.md, assumption 4).
 */
export async function layOut(file: VfsFile, header: SegmentHeader): Promise<void> {
  const size = await file.size();
  if (size > header.bytes) await file.truncate(header.bytes);
  for (let at = size; at < header.bytes; at += ZEROS.length) {
    await file.write(ZEROS.subarray(0, Math.min(ZEROS.length, header.bytes - at)), at);
  }
  await file.write(encodeSegmentHeader(header), 0);
}

/** Gives a laid-out file its name in the log, durably. */
export async function enter(vfs: Vfs, directory: string, name: string, number: number): Promise<void> {
  await vfs.rename(join(directory, name), join(directory, segmentName(number)));
  await vfs.syncDirectory(directory);
}

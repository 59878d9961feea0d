// Reading the segments of a log back: which groups are whole, and which segments make up the log, newest to oldest. Changes nothing.

import { join } from "node:path";
import { StorageError } from "./errors.ts";
import { decodeFooter, decodeFooterHeader, FOOTER_HEADER, isExtent } from "./footer.ts";
import type { FooterHeader, Item } from "./footer.ts";
import { durableThroughAt, GROUP_HEADER, readGroup } from "./group.ts";
import type { ScannedGroup } from "./group.ts";
import { BLOCK, decodeRecord, decodeSegmentHeader, RECORD_TYPE, recordLength, SEGMENT_HEADER, viewOf } from "./record.ts";
import type { LogRecord, SegmentHeader } from "./record.ts";
import { newSegment, segmentName, segmentNumber } from "./segment.ts";
import type { Segment } from "./segment.ts";
import { readWhole } from "./vfs.ts";
import type { Vfs, VfsFile } from "./vfs.ts";

/** What LINK, the first record of a segment, says. */
export interface Link {
  /** Number of the segment before, 0 for none. */
  readonly previous: number;
  /** Where that one ends, bytes. */
  readonly end: number;
  readonly retiredThrough: number;
}

export function linkOf(record: LogRecord): Link {
  return { previous: record.bucket, end: record.index, retiredThrough: record.epoch };
}

export interface SegmentFile {
  readonly number: number;
  readonly file: VfsFile;
  readonly size: number;
  /** Or what is wrong with it. */
  readonly header: SegmentHeader | string;
}

/** A segment that belongs to the log, with what it holds: either its footer, or the groups of a scan. */
export interface Part {
  readonly segment: Segment;
  readonly header: SegmentHeader;
  readonly size: number;
  /** Bytes that belong to it: what LINK of the next one says, or all of the file. */
  readonly limit: number;
  readonly link: Link | undefined;
  readonly footer: { readonly header: FooterHeader; readonly items: readonly Item[] } | undefined;
  readonly groups: readonly ScannedGroup[];
}

export interface Chain {
  /** Oldest first. */
  readonly parts: readonly Part[];
  /** D: the greatest durable-through found (R21). */
  readonly durableThrough: number;
  readonly damage: readonly { readonly segment: number; readonly what: string }[];
  /** Number of a segment that the oldest part names as the one before, and that is not there; 0 for none. */
  readonly missing: number;
}

/** Opens every segment of a directory and reads its header, ascending by number. */
export async function openSegments(vfs: Vfs, directory: string, names: readonly string[]): Promise<SegmentFile[]> {
  const numbers = names.map(segmentNumber).filter((number) => number !== undefined).sort((a, b) => a - b);
  const files: SegmentFile[] = [];
  for (const number of numbers) {
    const file = await vfs.open(join(directory, segmentName(number)));
    const block = new Uint8Array(SEGMENT_HEADER);
    const header = decodeSegmentHeader(block.subarray(0, await file.read(block, 0)));
    if (typeof header === "string" && header.startsWith("is of format")) throw new StorageError("format", `Segment ${number} ${header}. Start the version that wrote it.`);
    const named = typeof header === "string" || header.number === number ? header : `has the header of segment ${header.number}`;
    files.push({ number, file, size: await file.size(), header: named });
  }
  return files;
}

interface Scan {
  readonly groups: ScannedGroup[];
  /** The greatest durable-through that any header says, also beyond a damaged group. */
  readonly durableThrough: number;
  readonly link: Link | undefined;
}

/** Every whole group of a segment; behind one that is not, the next blocks are tried. */
export function scanSegment(image: Uint8Array, header: SegmentHeader, limit: number): Scan {
  const view = viewOf(image);
  const end = Math.min(limit, image.length);
  const groups: ScannedGroup[] = [];
  let durableThrough = header.syncedThrough;
  for (let at = SEGMENT_HEADER; at < end;) {
    durableThrough = Math.max(durableThrough, durableThroughAt(view, at, end, header));
    const group = readGroup(view, at, end, header);
    if (group === undefined) {
      at += BLOCK;
    } else {
      groups.push(group);
      at = group.end;
    }
  }
  const first = groups[0];
  let link: Link | undefined;
  if (first !== undefined && first.start === SEGMENT_HEADER) {
    for (const { record } of recordsOf(image, first)) {
      if (record.type === RECORD_TYPE.link) link = linkOf(record);
      break;
    }
  }
  return { groups, durableThrough, link };
}

/** The records of a whole group, each with its offset in the segment. Their payloads are parts of the image. */
export function* recordsOf(image: Uint8Array, group: ScannedGroup): Generator<{ readonly record: LogRecord; readonly offset: number }> {
  const view = viewOf(image);
  let at = group.start + GROUP_HEADER;
  while (at < group.bodyEnd) {
    const length = recordLength(view, at, group.bodyEnd);
    yield { record: decodeRecord(view, image, at, length), offset: at };
    at += length;
  }
}

/** Finds the newest segment that counts, and follows the LINKs back from it. */
export async function findChain(files: readonly SegmentFile[], verify: boolean): Promise<Chain> {
  const damage: { segment: number; what: string }[] = [];
  const parts: Part[] = [];
  let durableThrough = 0;
  let wanted = 0; // number of the next part, 0 while the newest is being looked for
  let limit = Number.MAX_SAFE_INTEGER;
  let missing = 0;
  for (let at = files.length - 1; at >= 0; at -= 1) {
    const candidate = files[at] as SegmentFile;
    if (wanted !== 0 && candidate.number > wanted) continue; // left over from before an earlier recovery's cut
    if (wanted !== 0 && candidate.number < wanted) break;
    if (typeof candidate.header === "string") {
      if (wanted !== 0) break;
      damage.push({ segment: candidate.number, what: candidate.header });
      continue;
    }
    const { header, size, file } = candidate;
    if (size < (wanted === 0 ? header.bytes : limit)) damage.push({ segment: candidate.number, what: `is cut short: ${size} bytes` });
    const segment = newSegment(candidate.number, header.tag, header.bytes, file);
    const footer = wanted === 0 || verify ? undefined : await readFooter(file, limit, segment);
    let scan: Scan | undefined;
    if (footer !== undefined) {
      durableThrough = Math.max(durableThrough, footer.header.lastSequence); // it was written when they were durable
    } else {
      scan = scanSegment(await readWhole(file), header, limit);
      durableThrough = Math.max(durableThrough, scan.durableThrough);
    }
    const firstItem = footer?.items[0];
    const link = scan !== undefined ? scan.link : firstItem !== undefined && !isExtent(firstItem) ? linkOf(firstItem) : undefined;
    if (link === undefined && wanted === 0) {
      if (header.byRecovery) damage.push({ segment: candidate.number, what: "has a damaged first group" });
      continue; // prepared ahead, or its first write was torn
    }
    const last = scan?.groups[scan.groups.length - 1];
    if (wanted === 0 && last !== undefined && (await readFooter(file, last.end, segment)) !== undefined) {
      damage.push({ segment: candidate.number, what: "was sealed, and the segment behind it is missing" });
    }
    parts.unshift({ segment, header, size, limit, link, footer, groups: scan?.groups ?? [] });
    // A damaged first group hides where the segment before ends: it is unclean anyway, and the file below is the best guess.
    wanted = link?.previous ?? files[at - 1]?.number ?? 0;
    limit = link?.end ?? Number.MAX_SAFE_INTEGER;
    missing = wanted;
    if (wanted === 0) break;
  }
  return { parts, durableThrough, damage, missing };
}

async function readFooter(file: VfsFile, at: number, segment: Segment): Promise<Part["footer"]> {
  const head = new Uint8Array(FOOTER_HEADER);
  const header = decodeFooterHeader(head.subarray(0, await file.read(head, at)), segment);
  if (header === undefined || header.bytes > (await file.size()) - at) return undefined;
  const bytes = new Uint8Array(header.bytes);
  const items = decodeFooter(bytes.subarray(0, await file.read(bytes, at)), header, segment);
  return items === undefined ? undefined : { header, items };
}

// Blanks payloads in a sealed segment (docs/storage.md, "Removed devices"): the file is written anew beside it and takes its place at once.

import { setImmediate as nextTurn, setTimeout as sleep } from "node:timers/promises";
import { join } from "node:path";
import { StorageError } from "./errors.ts";
import { decodeFooterHeader, FOOTER_HEADER } from "./footer.ts";
import { blank, decodeRecord, entryOf, isBlank, MIN_BLANKED, recordIsWhole, recordLength, viewOf } from "./record.ts";
import type { Erasure } from "./port.ts";
import { segmentName } from "./segment.ts";
import type { Segment } from "./segment.ts";
import { isFull, readWhole } from "./vfs.ts";
import type { Vfs, VfsFile } from "./vfs.ts";

/** Written in its place while it is not whole; the next one overwrites what a crash left. */
const REWRITE_FILE = "rewriting";
/** Bytes written before other work gets a turn; records looked at. */
const WRITE_BYTES = 1024 * 1024;
const RECORDS_AT_ONCE = 2000;
const READERS_LOOK_MS = 20;

/** Does the segment hold entries of these ranges, in force or not? */
export function concerns(segment: Segment, ranges: Erasure["ranges"]): boolean {
  return segment.extents.some(({ bucket, first, written }) => {
    const range = ranges.get(bucket);
    return range !== undefined && first <= range.to && first + written > range.from;
  });
}

/**
 * Resolves with the count of entries blanked; undefined when the disk was full or `pace` said to stop, and the segment is as it was.
 * The caller holds the segment as a reader.
 */
export async function eraseIn(vfs: Vfs, directory: string, segment: Segment, erasure: Erasure): Promise<number | undefined> {
  const old = segment.file;
  if (old === undefined || !(await erasure.pace(segment.end))) return undefined;
  const image = await readWhole(old);
  const blanked = await blankIn(image, segment, erasure);
  if (blanked === 0) return 0;
  const bytes = image.subarray(0, Math.min(image.length, endOfFooter(image, segment)));
  const file = await vfs.open(join(directory, REWRITE_FILE));
  if (!(await writeAll(file, bytes, erasure))) {
    await file.close();
    return undefined;
  }
  await vfs.rename(join(directory, REWRITE_FILE), join(directory, segmentName(segment.number)));
  await vfs.syncDirectory(directory);
  segment.file = file;
  while (segment.readers > 1) await sleep(READERS_LOOK_MS); // reads of the old file that are under way
  await old.close();
  return blanked;
}

async function writeAll(file: VfsFile, bytes: Uint8Array, { pace }: Erasure): Promise<boolean> {
  try {
    await file.truncate(0);
    for (let at = 0; at < bytes.length; at += WRITE_BYTES) {
      const part = bytes.subarray(at, at + WRITE_BYTES);
      if (!(await pace(part.length))) return false;
      await file.write(part, at);
    }
    return true;
  } catch (error) {
    if (!isFull(error)) throw error;
    return false;
  }
}

/** What is behind the footer belongs to an earlier life of the file. */
function endOfFooter(image: Uint8Array, segment: Segment): number {
  const footer = decodeFooterHeader(image.subarray(segment.end, segment.end + FOOTER_HEADER), segment);
  return segment.end + (footer?.bytes ?? 0);
}

async function blankIn(image: Uint8Array, segment: Segment, { ranges, isGone }: Erasure): Promise<number> {
  const view = viewOf(image);
  const done = new Set<Uint32Array>(); // parts of a split extent share their offsets
  let blanked = 0;
  let looked = 0;
  for (const { bucket, first, offsets, written } of [...segment.extents]) {
    const range = ranges.get(bucket);
    if (range === undefined || done.has(offsets)) continue;
    done.add(offsets);
    for (let i = Math.max(0, range.from - first); i < written && first + i <= range.to; i += 1) {
      if ((looked += 1) % RECORDS_AT_ONCE === 0) await nextTurn();
      const at = offsets[i] as number;
      const length = recordLength(view, at, image.length);
      if (length === 0 || !recordIsWhole(view, at, length)) throw new StorageError("damaged", `Segment ${segment.number}, offset ${at}: entry ${first + i} of bucket ${bucket} is damaged. The next start checks the whole log.`);
      if (isBlank(view, at) || length < MIN_BLANKED || !isGone(bucket, entryOf(decodeRecord(view, image, at, length)))) continue;
      blank(view, image, at, length);
      blanked += 1;
    }
  }
  return blanked;
}

// Entries of a bucket's log by their indexes: the newest from memory, the rest from the disk.

import type { BucketCopy } from "../core/bucket.ts";
import type { Entry } from "../core/entry.ts";
import type { Log } from "../storage/port.ts";

/** The entries at these indexes; undefined where not all of them are in memory. */
export function residentAt({ replica }: BucketCopy, indexes: readonly number[]): Entry[] | undefined {
  const entries: Entry[] = [];
  for (const index of indexes) {
    const entry = replica.entry(index);
    if (entry === undefined) return undefined;
    entries.push(entry);
  }
  return entries;
}

/** The entries at these indexes, ascending; a prefix of them when `maxBytes` are reached or some are forgotten meanwhile. */
export async function entriesAt(log: Log, copy: BucketCopy, indexes: readonly number[], maxBytes: number): Promise<Entry[]> {
  const cold: number[] = [];
  for (const index of indexes) {
    if (copy.replica.entry(index) !== undefined) break; // the newest are in memory
    cold.push(index);
  }
  const fromDisk = cold.length === 0 ? [] : await log.read(copy.bucket, cold, maxBytes);
  if (fromDisk.length < cold.length) return fromDisk;
  const hot: Entry[] = [];
  for (const index of indexes.slice(cold.length)) {
    const entry = copy.replica.entry(index);
    if (entry === undefined) break; // released while the disk was read: the next page has it
    hot.push(entry);
  }
  return [...fromDisk, ...hot];
}

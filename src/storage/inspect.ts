// A read-only walk through a data directory's log, for `bellhop inspect log`: segments, groups, records, damage. A running node is not disturbed.

import { join } from "node:path";
import { LOG_DIRECTORY } from "./open-log.ts";
import { RECORD_TYPE } from "./record.ts";
import type { RecordType } from "./record.ts";
import { findChain, openSegments, recordsOf, scanSegment } from "./scan.ts";
import type { Part } from "./scan.ts";
import { readOnlyVfs, readWhole } from "./vfs.ts";

export type RecordName = keyof typeof RECORD_TYPE;

export type LogItem =
  | { readonly what: "segment"; readonly segment: number; readonly bytes: number; readonly byRecovery: boolean; readonly previous: number }
  | { readonly what: "group"; readonly segment: number; readonly offset: number; readonly sequence: number; readonly durableThrough: number; readonly records: number; readonly bytes: number }
  | {
      readonly what: "record";
      readonly segment: number;
      readonly offset: number;
      readonly type: RecordName;
      readonly bucket: number;
      readonly kind: number;
      readonly index: number;
      readonly epoch: number;
      /** Milliseconds since 1970; 0 for a record that is no entry. */
      readonly time: number;
      readonly payload: Uint8Array;
    }
  /** What does not join on above the greatest durable-through: never acknowledged, and no loss. */
  | { readonly what: "torn"; readonly segment: number; readonly text: string }
  /** What does not join on below it: acknowledged messages may be missing. */
  | { readonly what: "damage"; readonly segment: number; readonly text: string };

const NAMES = new Map(Object.entries(RECORD_TYPE).map(([name, type]) => [type, name as RecordName]));

/** Everything in the log, oldest first. What an earlier recovery cut is left out. */
export async function* inspectLog(dataDirectory: string): AsyncGenerator<LogItem> {
  const directory = join(dataDirectory, LOG_DIRECTORY);
  const files = await openSegments(readOnlyVfs, directory, await readOnlyVfs.list(directory));
  try {
    const chain = await findChain(files, false);
    for (const { segment, what } of chain.damage) yield { what: "damage", segment, text: what };
    let sequence = 0;
    for (const part of chain.parts) {
      for await (const item of itemsOf(part)) {
        if (item.what === "group") {
          if (sequence > 0 && item.sequence !== sequence + 1) {
            const what = sequence >= chain.durableThrough ? "torn" : "damage";
            yield { what, segment: item.segment, text: `group ${item.sequence} follows group ${sequence}` };
          }
          sequence = item.sequence;
        }
        yield item;
      }
    }
    if (sequence < chain.durableThrough) {
      yield { what: "damage", segment: chain.parts[chain.parts.length - 1]?.segment.number ?? 0, text: `the log ends at group ${sequence}; group ${chain.durableThrough} was durable` };
    }
  } finally {
    for (const { file } of files) await file.close();
  }
}

async function* itemsOf({ segment, header, size, limit, link }: Part): AsyncGenerator<LogItem> {
  yield { what: "segment", segment: segment.number, bytes: size, byRecovery: header.byRecovery, previous: link?.previous ?? 0 };
  if (segment.file === undefined) return;
  const image = await readWhole(segment.file);
  for (const group of scanSegment(image, header, limit).groups) {
    const { start, end, sequence, durableThrough, records } = group;
    yield { what: "group", segment: segment.number, offset: start, sequence, durableThrough, records, bytes: end - start };
    for (const { record, offset } of recordsOf(image, group)) {
      yield { what: "record", segment: segment.number, offset, ...record, type: nameOf(record.type) };
    }
  }
}

function nameOf(type: RecordType): RecordName {
  return NAMES.get(type) as RecordName;
}

// What the log holds of each bucket's copy, and where: the fold of its records (R24). The log applies each record to it as it is written, recovery as it is read.

import { assert } from "../base/assert.ts";
import type { RecoveredCopy } from "./port.ts";
import { control, RECORD_TYPE, viewOf } from "./record.ts";
import type { LogRecord } from "./record.ts";
import type { Segment } from "./segment.ts";

/** A run of entries of one bucket and epoch with rising indexes in one segment: 4 bytes an entry (twice that while it grows). */
export interface Extent {
  readonly type: typeof RECORD_TYPE.entry | typeof RECORD_TYPE.copied;
  readonly segment: Segment;
  readonly bucket: number;
  readonly epoch: number;
  /** Index of the first record; its place in the segment is offsets[0]. */
  readonly first: number;
  offsets: Uint32Array;
  /** Records written, whatever became of them. */
  written: number;
  /** Entries from … to − 1 are in force; the others were cut, forgotten, or copied elsewhere. */
  from: number;
  to: number;
}

export interface Copy {
  readonly bucket: number;
  floor: number;
  base: number;
  baseEpoch: number;
  last: number;
  incomplete: boolean;
  /** The state store has what is applied up to here. Not in the log: the caller says so after every opening. */
  applied: number;
  /** In force, ascending, never overlapping, never empty. */
  readonly extents: Extent[];
  /** The extent that copied records are being added to. */
  filling: Extent | undefined;
}

const FIRST_OFFSETS = 8;
const COPY_PAYLOAD = 24;

export class Copies {
  readonly #byBucket: (Copy | undefined)[] = [];

  get(bucket: number): Copy | undefined {
    return this.#byBucket[bucket];
  }

  ensure(bucket: number): Copy {
    let copy = this.#byBucket[bucket];
    if (copy === undefined) {
      copy = { bucket, floor: 1, base: 0, baseEpoch: 0, last: 0, incomplete: false, applied: 0, extents: [], filling: undefined };
      this.#byBucket[bucket] = copy;
    }
    return copy;
  }

  *all(): Generator<Copy> {
    for (const copy of this.#byBucket) if (copy !== undefined) yield copy;
  }

  /** An entry: takes the place of everything at its index and above (R24). */
  append(copy: Copy, segment: Segment, index: number, epoch: number, offset: number): void {
    const tail = copy.extents[copy.extents.length - 1];
    if (index === copy.last + 1 && tail !== undefined && tail.segment === segment && tail.epoch === epoch
      && tail.type === RECORD_TYPE.entry && tail.to === index && tail.first + tail.written === index) {
      addOffset(tail, offset);
    } else {
      assert(index > copy.base && index <= copy.last + 1, "an entry joins on to its bucket's log");
      if (index <= copy.last) cut(copy, index);
      copy.extents.push(newExtent(RECORD_TYPE.entry, segment, copy.bucket, index, epoch, offset));
    }
    copy.last = index;
  }

  /** History or a record copied forward: it replaces nothing (R24), but says where the same entry stands now. */
  fill(copy: Copy, segment: Segment, index: number, epoch: number, offset: number): void {
    const at = extentAt(copy, index);
    const held = copy.extents[at];
    if (held !== undefined && held.from <= index) {
      assert(held.epoch === epoch, "a copied record is the entry it copies");
      takeOut(copy, at, index);
    }
    const filling = copy.filling;
    if (filling !== undefined && filling.segment === segment && filling.epoch === epoch && filling.to === index && filling.first + filling.written === index) {
      addOffset(filling, offset);
      return;
    }
    const extent = newExtent(RECORD_TYPE.copied, segment, copy.bucket, index, epoch, offset);
    copy.extents.splice(extentAt(copy, index), 0, extent);
    copy.filling = extent;
  }

  /** A whole run, read from a footer. */
  run(extent: Extent): void {
    const copy = this.ensure(extent.bucket);
    if (extent.type === RECORD_TYPE.copied) {
      for (let i = 0; i < extent.written; i += 1) this.fill(copy, extent.segment, extent.first + i, extent.epoch, extent.offsets[i] as number);
      return;
    }
    assert(extent.first > copy.base && extent.first <= copy.last + 1, "a run joins on to its bucket's log");
    if (extent.first <= copy.last) cut(copy, extent.first);
    copy.extents.push(extent);
    copy.last = extent.to - 1;
    extent.segment.extents.push(extent);
  }

  /** Every other record. Those that are the whole log's, not a bucket's, change nothing here. */
  control(record: LogRecord): void {
    switch (record.type) {
      case RECORD_TYPE.reset: {
        const copy = this.ensure(record.bucket);
        empty(copy);
        Object.assign(copy, { floor: 1, base: record.index, baseEpoch: record.epoch, last: record.index, incomplete: true });
        break;
      }
      case RECORD_TYPE.mark:
        this.ensure(record.bucket).incomplete = record.kind === 1;
        break;
      case RECORD_TYPE.floor:
        this.ensure(record.bucket).floor = record.index;
        break;
      case RECORD_TYPE.drop: {
        const copy = this.#byBucket[record.bucket];
        if (copy !== undefined) empty(copy);
        this.#byBucket[record.bucket] = undefined;
        break;
      }
      case RECORD_TYPE.copy:
        this.#known(record);
        break;
      default:
    }
  }

  /** COPY, at the begin of a segment: rules over what is known so far, and stands for what retired segments said. */
  #known(record: LogRecord): void {
    const fresh = this.#byBucket[record.bucket] === undefined;
    const copy = this.ensure(record.bucket);
    const view = viewOf(record.payload);
    copy.floor = Number(view.getBigUint64(0, true));
    copy.base = Number(view.getBigUint64(8, true));
    copy.baseEpoch = Number(view.getBigUint64(16, true));
    copy.incomplete = record.kind === 1;
    if (fresh) copy.last = record.index;
    else if (copy.last > record.index) cut(copy, record.index + 1);
    copy.last = Math.max(copy.last, copy.base); // lower only where records were lost
  }
}

/** The COPY record of a copy as it is now. */
export function copyRecord(copy: Copy): LogRecord {
  const payload = new Uint8Array(COPY_PAYLOAD);
  const view = viewOf(payload);
  view.setBigUint64(0, BigInt(copy.floor), true);
  view.setBigUint64(8, BigInt(copy.base), true);
  view.setBigUint64(16, BigInt(copy.baseEpoch), true);
  return control(RECORD_TYPE.copy, copy.bucket, { index: copy.last, kind: copy.incomplete ? 1 : 0, payload });
}

/** Entries from this index on must stay: above the floor, not yet in a checkpoint, or the last, whose epoch the replica needs. */
export function keptFrom(copy: Copy): number {
  return Math.min(copy.floor, copy.applied + 1, copy.last);
}

/** The extent that holds an index, or undefined. */
export function locate(copy: Copy, index: number): Extent | undefined {
  const extent = copy.extents[extentAt(copy, index)];
  return extent !== undefined && extent.from <= index ? extent : undefined;
}

export function offsetOf(extent: Extent, index: number): number {
  return extent.offsets[index - extent.first] as number;
}

/** The first index above base and floor that ought to be there and is not; undefined in a whole copy. */
export function firstHole(copy: Copy): number | undefined {
  let expected = Math.max(copy.base + 1, copy.floor);
  for (const extent of copy.extents) {
    if (extent.to <= expected) continue;
    if (extent.from > expected) return expected;
    expected = extent.to;
  }
  return expected <= copy.last ? expected : undefined;
}

/** Cuts entries at `index` and above. */
export function cut(copy: Copy, index: number): void {
  const extents = copy.extents;
  for (let tail = extents[extents.length - 1]; tail !== undefined && tail.to > index; tail = extents[extents.length - 1]) {
    if (tail.from < index) {
      tail.to = index;
      break;
    }
    tail.to = tail.from;
    extents.pop();
  }
  copy.last = index - 1;
}

/** Takes an extent's remaining entries out of its copy: its segment goes. */
export function forget(copies: Copies, extent: Extent): void {
  const extents = copies.get(extent.bucket)?.extents;
  const at = extents?.indexOf(extent) ?? -1;
  if (at >= 0) extents?.splice(at, 1);
  extent.to = extent.from;
}

export function recoveredCopy(copy: Copy): RecoveredCopy {
  const epochs: { epoch: number; first: number }[] = [];
  for (const extent of copy.extents) {
    const first = Math.max(extent.from, copy.floor);
    if (first < extent.to && epochs[epochs.length - 1]?.epoch !== extent.epoch) epochs.push({ epoch: extent.epoch, first });
  }
  const { bucket, floor, base, baseEpoch, last, incomplete } = copy;
  return { bucket, floor, base, baseEpoch, last, epochs, incomplete };
}

function newExtent(type: Extent["type"], segment: Segment, bucket: number, index: number, epoch: number, offset: number): Extent {
  const offsets = new Uint32Array(FIRST_OFFSETS);
  offsets[0] = offset;
  const extent: Extent = { type, segment, bucket, epoch, first: index, offsets, written: 1, from: index, to: index + 1 };
  segment.extents.push(extent);
  segment.items?.push(extent);
  return extent;
}

function addOffset(extent: Extent, offset: number): void {
  if (extent.written === extent.offsets.length) {
    const grown = new Uint32Array(extent.written * 2);
    grown.set(extent.offsets);
    extent.offsets = grown;
  }
  extent.offsets[extent.written] = offset;
  extent.written += 1;
  extent.to += 1;
}

/** Position in the copy's extents of the first that ends above `index`. */
function extentAt(copy: Copy, index: number): number {
  const extents = copy.extents;
  let low = 0;
  let high = extents.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if ((extents[middle] as Extent).to > index) high = middle;
    else low = middle + 1;
  }
  return low;
}

/** Takes one entry out of the extent at a position, which is split where the entry stands inside. */
function takeOut(copy: Copy, at: number, index: number): void {
  const extent = copy.extents[at] as Extent;
  if (extent.from === index) extent.from += 1;
  else if (extent.to === index + 1) extent.to = index;
  else {
    const behind = { ...extent, from: index + 1 };
    extent.to = index;
    copy.extents.splice(at + 1, 0, behind);
    extent.segment.extents.push(behind);
  }
  if (extent.from === extent.to) copy.extents.splice(at, 1);
}

function empty(copy: Copy): void {
  for (const extent of copy.extents) extent.to = extent.from;
  copy.extents.length = 0;
  copy.filling = undefined;
}

// Recovery of the log (docs/storage.md, "Recovery"; R21–R23): what is proved to be durable is kept, what is above it is written again, the rest is cut or named as damage.

import { join } from "node:path";
import { assert } from "../base/assert.ts";
import { copyRecord, Copies, cut, firstHole, locate, recoveredCopy } from "./copies.ts";
import { StorageError } from "./errors.ts";
import { encodeFooter, isExtent } from "./footer.ts";
import { Group, GROUP_HEADER } from "./group.ts";
import type { ScannedGroup } from "./group.ts";
import type { RecoveredCopy } from "./port.ts";
import { alignUp, control, RECORD_HEADER, RECORD_TYPE, SEGMENT_HEADER } from "./record.ts";
import type { LogRecord, SegmentHeader } from "./record.ts";
import { findChain, openSegments, recordsOf } from "./scan.ts";
import type { Part, SegmentFile } from "./scan.ts";
import { anyNumber, enter, freeName, layOut, newSegment, randomTag, segmentName } from "./segment.ts";
import type { Segment } from "./segment.ts";
import type { LogSettings } from "./settings.ts";
import { isFull, readWhole } from "./vfs.ts";
import type { Vfs, VfsFile } from "./vfs.ts";

/** Its presence makes the next opening scan every segment, whatever the footers say. */
export const VERIFY_FILE = "verify";
const RECOVERY_FILE = "recovery";

export interface Recovered {
  readonly clean: boolean;
  readonly damage: readonly string[];
  readonly recoveredCopies: readonly RecoveredCopy[];
  readonly copies: Copies;
  /** Ascending by number; the last one is active. */
  readonly segments: Segment[];
  readonly retiredThrough: number;
  /** Every group up to here is durable. */
  readonly durable: number;
  readonly nextNumber: number;
  /** Names of files that may become segments. */
  readonly free: string[];
}

/** One damage may show itself in thousands of places: this many are named. */
const DAMAGE_NAMED = 20;

export async function recover(vfs: Vfs, directory: string, storeId: string, { segmentBytes, opensDamaged }: LogSettings): Promise<Recovered> {
  const names = await vfs.list(directory);
  const files = await openSegments(vfs, directory, names);
  const chain = await findChain(files, names.includes(VERIFY_FILE));
  const work = new Work(chain.durableThrough);

  const retired = retiredBy(chain.parts, chain.durableThrough);
  const held = work.walk(chain.parts.filter((part) => part.segment.number > retired));
  const retiredThrough = Math.max(retired, retiredBy(held, Number.MAX_SAFE_INTEGER));
  const parts = held.filter((part) => part.segment.number > retiredThrough);
  for (const { segment, what } of chain.damage) if (work.isNews(segment)) work.damaged(`segment ${segment} ${what}`);
  if (chain.missing > retiredThrough && work.isNews(chain.missing)) work.damaged(`segment ${chain.missing} is missing, or its header is damaged`);

  await work.fold(parts);
  const kept = work.cutAt(parts);
  const written = await work.writeAgain(parts, { storeId, bytes: segmentBytes, number: Math.max(0, ...names.map(anyNumber)) + 1, kept, retiredThrough });

  if (work.damage.length > 0 && !opensDamaged) throw new StorageError("damaged", damageReport(directory, work.damage));

  const file = await laidOutFile(vfs, directory, names, written.header);
  for (const { at, bytes } of written.groups) await file.write(bytes, at);
  await enter(vfs, directory, RECOVERY_FILE, written.segment.number); // R23: from here on the new segment is the log's end
  written.segment.file = file;

  await sealParts(kept, work.damage.length > 0);
  const keptNumbers = new Set([...kept.map((segment) => segment.number), written.segment.number]);
  await setAside(vfs, directory, files.filter((other) => !keptNumbers.has(other.number)), retiredThrough, work.damage.length > 0);
  if (names.includes(VERIFY_FILE)) await vfs.remove(join(directory, VERIFY_FILE));
  await vfs.syncDirectory(directory);

  const left = await vfs.list(directory);
  return {
    clean: work.damage.length === 0,
    damage: work.damage,
    recoveredCopies: [...work.copies.all()].map(recoveredCopy),
    copies: work.copies,
    segments: [...kept, written.segment],
    retiredThrough,
    durable: written.segment.lastSequence,
    nextNumber: Math.max(...left.map(anyNumber)) + 1,
    free: left.filter((name) => name.startsWith("free-")),
  };
}

function damageReport(directory: string, damage: readonly string[]): string {
  return (
    `The log ${directory} is damaged below what was known to be on disk, so answered messages may be missing from it:\n` +
    `${damage.map((line) => `  ${line}`).join("\n")}\n` +
    `Nothing was changed. Restore the whole data directory from a copy, or move it away to start empty.`
  );
}

/** What a recovery has found so far. */
class Work {
  readonly copies = new Copies();
  readonly damage: string[] = [];
  readonly #durableThrough: number;
  /** Damage below this segment was reported by an earlier recovery. */
  #reportedBelow = 0;
  #unclean = false;
  /** What the recovery said that found the log unclean: it is said again until the node has registered as such. */
  #foundEarlier: readonly string[] = ["an earlier start found damage, and the node has not registered since"];

  constructor(durableThrough: number) {
    this.#durableThrough = durableThrough;
  }

  isNews(segment: number): boolean {
    return segment >= this.#reportedBelow;
  }

  damaged(what: string): void {
    if (this.damage.length < DAMAGE_NAMED && !this.damage.includes(what)) this.damage.push(what);
  }

  /** Step 4: follows sequence and crc from the oldest group; returns the parts with the groups that count. */
  walk(parts: readonly Part[]): Part[] {
    this.#reportedBelow = Math.max(0, ...parts.filter((part) => part.header.damageReported).map((part) => part.segment.number));
    const held: Part[] = [];
    let sequence = 0;
    let crc = 0;
    let torn = false;
    for (const part of parts) {
      const groups: ScannedGroup[] = [];
      const spans = part.footer === undefined ? part.groups : [spanOf(part.footer.header)];
      for (const span of spans) {
        const joins = sequence === 0 || (spanFirst(span) === sequence + 1 && span.crcBefore === crc);
        if (!joins) {
          if (sequence >= this.#durableThrough) torn = true; // beyond D: never acknowledged, cut
          else if (spanFirst(span) <= sequence) continue;
          else if (this.isNews(part.segment.number)) this.damaged(`segment ${part.segment.number}: group ${sequence + 1} is missing or damaged`);
        }
        if (torn) break;
        sequence = span.sequence;
        crc = span.crc;
        if (part.footer === undefined) groups.push(span as ScannedGroup);
      }
      const { segment } = part;
      if (part.footer === undefined) setSpan(segment, groups);
      else Object.assign(segment, { firstSequence: part.footer.header.firstSequence, lastSequence: part.footer.header.lastSequence,
        crcBefore: part.footer.header.crcBefore, lastCrc: part.footer.header.lastCrc, end: part.limit, items: undefined });
      held.push({ ...part, groups });
      if (torn) break;
    }
    if (sequence < this.#durableThrough) this.damaged(`group ${sequence + 1}, behind segment ${held[held.length - 1]?.segment.number ?? 0}, is missing or damaged; group ${this.#durableThrough} was durable`);
    return held;
  }

  /** Applies every record of the groups up to D, as the log did when it wrote them. */
  async fold(parts: readonly Part[]): Promise<void> {
    for (const part of parts) {
      if (part.footer !== undefined) {
        for (const item of part.footer.items) {
          if (!isExtent(item)) this.#apply(item, part.segment, 0);
          else if (this.#joins(item.bucket, item.first, item.type === RECORD_TYPE.copied, item.epoch, part.segment)) this.copies.run(item);
        }
        continue;
      }
      const image = await readWhole(part.segment.file as VfsFile);
      for (const group of part.groups) {
        if (group.sequence > this.#durableThrough) break;
        for (const { record, offset } of recordsOf(image, group)) this.#apply(record, part.segment, offset);
      }
    }
  }

  /** The segments that stay, the last of them cut behind group D. */
  cutAt(parts: readonly Part[]): Segment[] {
    for (const part of parts) {
      if (part.footer === undefined) setSpan(part.segment, part.groups.filter((group) => group.sequence <= this.#durableThrough));
    }
    const last = parts.findLastIndex((part) => part.segment.lastSequence > 0);
    return parts.slice(0, last + 1).map((part) => part.segment);
  }

  /** Step 5: the new segment, with everything above D in it once more. */
  async writeAgain(parts: readonly Part[], plan: { storeId: string; bytes: number; number: number; kept: readonly Segment[]; retiredThrough: number }):
  Promise<{ header: SegmentHeader; segment: Segment; groups: { at: number; bytes: Uint8Array }[] }> {
    const before = plan.kept[plan.kept.length - 1];
    const groups: { at: number; bytes: Uint8Array }[] = [];
    const segment = newSegment(plan.number, randomTag(), plan.bytes);
    Object.assign(segment, { firstSequence: (before?.lastSequence ?? 0) + 1, lastSequence: before?.lastSequence ?? 0, crcBefore: before?.lastCrc ?? 0, lastCrc: before?.lastCrc ?? 0 });
    const durableThrough = segment.lastSequence;
    const add = (records: readonly LogRecord[], from = segment): void => {
      const bytes = records.reduce((sum, record) => sum + RECORD_HEADER + record.payload.length, GROUP_HEADER);
      const group = new Group(segment, segment.lastSequence + 1, segment.end, new Uint8Array(alignUp(bytes)), alignUp(bytes));
      for (const record of records) if (this.#fits(record, from)) this.#apply(record, segment, group.addRecord(record));
      groups.push({ at: segment.end, bytes: group.finish(durableThrough, segment.lastCrc) });
      Object.assign(segment, { end: segment.end + group.size, lastSequence: group.sequence, lastCrc: group.crc });
    };

    add(openingRecords(this.copies, before, plan.retiredThrough, this.#unclean));
    for (const part of parts) {
      const above = part.groups.filter((group) => group.sequence > this.#durableThrough);
      if (above.length === 0) continue;
      const image = await readWhole(part.segment.file as VfsFile);
      for (const group of above) {
        const records = [...recordsOf(image, group)].map(({ record }) => record);
        add(records.filter((record) => record.type !== RECORD_TYPE.link), part.segment);
      }
    }
    this.#cutHoles(); // not before: an entry may be missing at D, and have been copied forward above it
    if (this.#unclean) for (const line of this.#foundEarlier) this.damaged(line);
    if (this.damage.length > 0) {
      for (const copy of this.copies.all()) copy.incomplete = true; // R22
      add([control(RECORD_TYPE.unclean, 0, { kind: 1, payload: Buffer.from(this.damage.join("\n")) }), ...[...this.copies.all()].map(copyRecord)]);
    }
    const bytes = Math.max(plan.bytes, segment.end);
    const header: SegmentHeader = {
      number: plan.number, tag: segment.tag, bytes, byRecovery: true, damageReported: this.damage.length > 0, syncedThrough: segment.lastSequence, storeId: plan.storeId,
    };
    return { header, segment: Object.assign(segment, { bytes }), groups };
  }

  #apply(record: LogRecord, segment: Segment, offset: number): void {
    const { type, bucket, index, epoch } = record;
    if (type === RECORD_TYPE.entry || type === RECORD_TYPE.copied) {
      if (!this.#joins(bucket, index, type === RECORD_TYPE.copied, epoch, segment)) return;
      const copy = this.copies.ensure(bucket);
      if (type === RECORD_TYPE.entry) this.copies.append(copy, segment, index, epoch, offset);
      else this.copies.fill(copy, segment, index, epoch, offset);
      return;
    }
    if (type === RECORD_TYPE.unclean) {
      this.#unclean = record.kind === 1;
      if (record.payload.length > 0) this.#foundEarlier = Buffer.from(record.payload).toString("utf8").split("\n");
    }
    if (type === RECORD_TYPE.copy) {
      const known = this.copies.get(bucket);
      if (known !== undefined && known.last < index && this.isNews(segment.number)) this.damaged(`bucket ${bucket}: entries ${known.last + 1} to ${index} are missing`);
    }
    this.copies.control(record);
    segment.items?.push({ ...record, payload: new Uint8Array(record.payload) });
  }

  /** Does an entry join on to what is known of its bucket? Where it does not, something before it was lost. */
  #joins(bucket: number, index: number, copied: boolean, epoch: number, segment: Segment): boolean {
    const copy = this.copies.ensure(bucket);
    const held = copied ? locate(copy, index) : undefined;
    if (copied ? index <= copy.last && (held === undefined || held.epoch === epoch) : index > copy.base && index <= copy.last + 1) return true;
    if (this.isNews(segment.number)) this.damaged(`bucket ${bucket}: entry ${index} does not join on to ${copy.last}`);
    return false;
  }

  #fits(record: LogRecord, segment: Segment): boolean {
    const { type, bucket, index, epoch } = record;
    if (type !== RECORD_TYPE.entry && type !== RECORD_TYPE.copied) return true;
    return this.#joins(bucket, index, type === RECORD_TYPE.copied, epoch, segment);
  }

  #cutHoles(): void {
    for (const copy of this.copies.all()) {
      const hole = firstHole(copy);
      if (hole === undefined) continue;
      this.damaged(`bucket ${copy.bucket}: entry ${hole} is missing`);
      cut(copy, Math.max(hole, copy.base + 1));
    }
  }
}

/** What a segment begins with: where it joins on, and what is known of every copy. */
export function openingRecords(copies: Copies, before: Segment | undefined, retiredThrough: number, unclean: boolean): LogRecord[] {
  const records = [control(RECORD_TYPE.link, before?.number ?? 0, { index: before?.end ?? 0, epoch: retiredThrough })];
  for (const copy of copies.all()) records.push(copyRecord(copy));
  if (unclean) records.push(control(RECORD_TYPE.unclean, 0, { kind: 1 }));
  return records;
}

interface Span {
  readonly sequence: number;
  readonly crc: number;
  readonly crcBefore: number;
  readonly firstSequence?: number;
}

function spanOf(footer: { firstSequence: number; lastSequence: number; crcBefore: number; lastCrc: number }): Span {
  return { sequence: footer.lastSequence, crc: footer.lastCrc, crcBefore: footer.crcBefore, firstSequence: footer.firstSequence };
}

function spanFirst(span: Span): number {
  return span.firstSequence ?? span.sequence;
}

function setSpan(segment: Segment, groups: readonly ScannedGroup[]): void {
  const first = groups[0];
  const last = groups[groups.length - 1];
  Object.assign(segment, { firstSequence: first?.sequence ?? 0, crcBefore: first?.crcBefore ?? 0, lastSequence: last?.sequence ?? 0, lastCrc: last?.crc ?? 0,
    end: last?.end ?? SEGMENT_HEADER });
}

/** The greatest number that LINK or RETIRED name as gone, in groups up to a sequence. */
function retiredBy(parts: readonly Part[], through: number): number {
  let retired = 0;
  for (const part of parts) {
    retired = Math.max(retired, part.link?.retiredThrough ?? 0);
    for (const item of part.footer?.items ?? []) if (!isExtent(item) && item.type === RECORD_TYPE.retired) retired = Math.max(retired, item.index);
    for (const group of part.groups) if (group.sequence <= through) retired = Math.max(retired, group.retired);
  }
  return retired;
}

/** A file named `recovery` with the new segment's size and header. Nothing of the log is touched. */
async function laidOutFile(vfs: Vfs, directory: string, names: readonly string[], header: SegmentHeader): Promise<VfsFile> {
  const path = join(directory, RECOVERY_FILE);
  const free = names.find((name) => name.startsWith("free-"));
  if (!names.includes(RECOVERY_FILE) && free !== undefined) await vfs.rename(join(directory, free), path);
  const file = await vfs.open(path);
  await layOut(file, header);
  return file;
}

/** Step 6: a footer, and no more room, for what was never sealed or lost its footer. A damaged log's bytes are left as they are. */
async function sealParts(kept: readonly Segment[], damaged: boolean): Promise<void> {
  for (const segment of kept) {
    const items = segment.items;
    segment.sealed = true;
    segment.items = undefined;
    if (items === undefined || damaged) continue;
    assert(segment.file !== undefined, "a kept segment is open");
    const footer = encodeFooter(segment, items);
    try {
      await segment.file.write(footer, segment.end);
      await segment.file.truncate(segment.end + footer.length);
    } catch (error) {
      if (!isFull(error)) throw error; // without a footer the next opening scans
    }
  }
}

/** Files that are no part of the log any more. Damaged ones are never deleted. */
async function setAside(vfs: Vfs, directory: string, files: readonly SegmentFile[], retiredThrough: number, damaged: boolean): Promise<void> {
  for (const { number, file } of files) {
    await file.close();
    const name = damaged && number > retiredThrough ? `damaged-${segmentName(number)}` : freeName(number);
    await vfs.rename(join(directory, segmentName(number)), join(directory, name));
  }
}

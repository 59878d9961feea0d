// What the log does off the hot path: the next segment is prepared, full ones are sealed, old ones retired, what they still hold copied forward.

import { join } from "node:path";
import type { Entry } from "../core/entry.ts";
import { forget, keptFrom, locate } from "./copies.ts";
import type { Copies, Extent } from "./copies.ts";
import { concerns, eraseIn } from "./erase.ts";
import { encodeFooter } from "./footer.ts";
import type { Erasure, Ticket } from "./port.ts";
import { control, RECORD_TYPE } from "./record.ts";
import type { LogRecord } from "./record.ts";
import { VERIFY_FILE } from "./recovery.ts";
import type { Recovered } from "./recovery.ts";
import { enter, freeName, layOut, newSegment, randomTag, segmentName } from "./segment.ts";
import type { Segment } from "./segment.ts";
import type { LogSettings } from "./settings.ts";
import { isFull, writeWhole } from "./vfs.ts";
import type { Vfs } from "./vfs.ts";

/** What the log does for its upkeep. */
export interface UpkeepHost {
  write(record: LogRecord): Ticket;
  read(bucket: number, indexes: readonly number[], maxBytes: number): Promise<Entry[]>;
  /** The next segment has its file: groups that wait for it can go. */
  prepared(): void;
  full(who: object, full: boolean): void;
  failed(error: unknown): void;
}

/** Bytes copied forward before other work gets a turn. */
const COPY_BYTES = 256 * 1024;

export class Upkeep {
  /** Ascending by number; the last one is active. */
  readonly segments: Segment[];
  /** Greatest number whose RETIRED is durable. */
  retiredThrough: number;
  /** UNCLEAN holds. */
  unclean: boolean;
  readonly #copies: Copies;
  readonly #vfs: Vfs;
  readonly #directory: string;
  readonly #storeId: string;
  readonly #settings: LogSettings;
  readonly #host: UpkeepHost;
  readonly #free: string[];
  readonly #retiring: { readonly segment: Segment; readonly ticket: Ticket }[] = [];
  readonly #tasks = new Set<Promise<void>>();
  #next: Segment | undefined;
  #nextNumber: number;
  #scheduled = false;
  #copying = false;
  #closed = false;
  #wake: (() => void) | undefined;

  constructor(recovered: Recovered, vfs: Vfs, directory: string, storeId: string, settings: LogSettings, host: UpkeepHost) {
    this.segments = recovered.segments;
    this.retiredThrough = recovered.retiredThrough;
    this.unclean = !recovered.clean;
    this.#copies = recovered.copies;
    this.#vfs = vfs;
    this.#directory = directory;
    this.#storeId = storeId;
    this.#settings = settings;
    this.#host = host;
    this.#free = recovered.free;
    this.#nextNumber = recovered.nextNumber;
  }

  /** The segment to go on in; its file may still be under way. */
  next(): Segment {
    this.prepare();
    const segment = this.#next as Segment;
    this.#next = undefined;
    this.segments.push(segment);
    return segment;
  }

  /** Begins to prepare the next segment, if that was not done. */
  prepare(): void {
    if (this.#next !== undefined) return;
    const segment = newSegment(this.#nextNumber, randomTag(), this.#settings.segmentBytes);
    this.#nextNumber += 1;
    this.#next = segment;
    this.#run(() => this.#prepareFile(segment));
  }

  /** Everything up to `ticket` is durable: seals and retires what that allows. */
  durable(ticket: Ticket): void {
    for (let i = 0; i < this.segments.length - 1; i += 1) {
      const segment = this.segments[i] as Segment;
      const behind = (this.segments[i + 1] as Segment).firstSequence;
      // A footer tells that a group behind it was durable: without the next segment, the log has lost its end.
      if (!segment.sealed && behind > 0 && behind <= ticket) this.#seal(segment);
    }
    // A file that is being read is looked at again after the next group.
    for (let first = this.#retiring[0]; first !== undefined && first.ticket <= ticket && first.segment.readers === 0; first = this.#retiring[0]) {
      this.#retiring.shift();
      this.retiredThrough = first.segment.number;
      this.#recycle(first.segment);
    }
  }

  /** Looks for segments to retire, once at the end of the turn. */
  soon(): void {
    if (this.#scheduled || this.#closed) return;
    this.#scheduled = true;
    setImmediate(() => {
      this.#scheduled = false;
      if (!this.#closed) this.#retire();
    });
  }

  /** A read found damage: the next opening scans everything; the node stops. */
  async damageRead(error: Error): Promise<void> {
    try {
      await writeWhole(this.#vfs, this.#directory, VERIFY_FILE, Buffer.from(`${error.message}\n`));
    } finally {
      this.#host.failed(error);
    }
  }

  /** Blanks payloads in the sealed segments that hold such entries; the pool's files hold bytes of earlier lives, so they go. */
  async erase(erasure: Erasure): Promise<{ readonly blanked: number; readonly isWhole: boolean }> {
    let blanked = 0;
    let isWhole = true;
    for (const name of this.#free.splice(0)) await this.#vfs.remove(join(this.#directory, name));
    for (const segment of [...this.segments]) {
      if (!concerns(segment, erasure.ranges)) continue;
      if (!segment.sealed || segment.readers > 0 || segment.retired) {
        isWhole = false; // its footer is being written, it is being read, or it is not full yet
        continue;
      }
      segment.readers += 1;
      try {
        const found = await eraseIn(this.#vfs, this.#directory, segment, erasure);
        blanked += found ?? 0;
        if (found === undefined) isWhole = false;
      } finally {
        segment.readers -= 1;
      }
    }
    return { blanked, isWhole };
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.#wake?.();
    await Promise.all(this.#tasks);
    for (const segment of [...this.segments, ...this.#retiring.map((one) => one.segment)]) await segment.file?.close();
    if (this.#next?.file !== undefined) await this.#next.file.close();
  }

  async #prepareFile(segment: Segment): Promise<void> {
    const header = { number: segment.number, tag: segment.tag, bytes: segment.bytes, byRecovery: false, damageReported: false, syncedThrough: 0, storeId: this.#storeId };
    const name = this.#free.shift() ?? freeName(segment.number);
    const file = await this.#vfs.open(join(this.#directory, name));
    while (!this.#closed) {
      try {
        await layOut(file, header);
        await enter(this.#vfs, this.#directory, name, segment.number);
        this.#host.full(segment, false);
        segment.file = file;
        this.#host.prepared();
        return;
      } catch (error) {
        if (!isFull(error)) throw error;
        this.#host.full(segment, true);
        await this.#pause();
      }
    }
    await file.close();
  }

  async #pause(): Promise<void> {
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, this.#settings.fullRetryMs);
      this.#wake = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }

  #seal(segment: Segment): void {
    const items = segment.items;
    segment.sealed = true;
    segment.items = undefined;
    if (items === undefined || segment.file === undefined) return;
    const file = segment.file;
    for (const extent of segment.extents) trim(extent);
    const footer = encodeFooter(segment, items);
    segment.readers += 1;
    this.#run(async () => {
      try {
        await file.write(footer, segment.end);
      } catch (error) {
        if (!isFull(error)) throw error; // without a footer the next opening scans
      } finally {
        segment.readers -= 1;
      }
    });
    this.soon();
  }

  #retire(): void {
    if (this.unclean) return; // what a damaged log had is left as it is until the node has registered as such (R22)
    let last: Segment | undefined;
    const gone: Segment[] = [];
    while (this.segments.length > 1) {
      const oldest = this.segments[0] as Segment;
      if (!oldest.sealed || oldest.extents.some((extent) => this.#kept(extent) > 0)) break;
      for (const extent of oldest.extents) forget(this.#copies, extent);
      this.segments.shift();
      gone.push(oldest);
      last = oldest;
    }
    if (last !== undefined) {
      const ticket = this.#host.write(control(RECORD_TYPE.retired, 0, { index: last.number }));
      for (const segment of gone) this.#retiring.push({ segment, ticket });
    }
    this.#copyForward();
  }

  /** Entries of an extent that must stay. */
  #kept(extent: Extent): number {
    const copy = this.#copies.get(extent.bucket);
    return copy === undefined ? 0 : Math.max(0, extent.to - Math.max(extent.from, keptFrom(copy)));
  }

  /** Where a slow bucket pins the oldest segment, what is kept of it is written again (R24: it replaces nothing). */
  #copyForward(): void {
    const oldest = this.segments[0] as Segment;
    if (this.#copying || !oldest.sealed) return;
    const couldGo = this.segments.filter((segment) => segment.sealed).reduce((sum, segment) => sum + 1 - this.#keptShare(segment), 0);
    if (couldGo <= this.#settings.pinnedSegments || this.#keptShare(oldest) > 0.5) return;
    this.#copying = true;
    this.#run(async () => {
      for (const extent of [...oldest.extents]) {
        while (!this.#closed && this.#kept(extent) > 0) await this.#copyPart(extent);
      }
      this.#copying = false;
      this.soon();
    });
  }

  #keptShare(segment: Segment): number {
    let kept = 0;
    let written = 0;
    for (const extent of segment.extents) {
      kept += this.#kept(extent);
      written += extent.written;
    }
    return written === 0 ? 0 : kept / written;
  }

  async #copyPart(extent: Extent): Promise<void> {
    const copy = this.#copies.get(extent.bucket);
    if (copy === undefined) return;
    const from = Math.max(extent.from, keptFrom(copy));
    extent.from = from; // what is below may be forgotten
    const entries = await this.#host.read(extent.bucket, Array.from({ length: extent.to - from }, (_, i) => from + i), COPY_BYTES);
    for (const entry of entries) {
      const current = this.#copies.get(extent.bucket);
      // Cut or replaced while it was read: what is not in force is not copied.
      if (current === undefined || locate(current, entry.index) !== extent) continue;
      this.#host.write({ type: RECORD_TYPE.copied, bucket: extent.bucket, ...entry });
    }
  }

  /** A retired segment's file joins the pool, or goes where that is full. */
  #recycle(segment: Segment): void {
    segment.retired = true;
    const name = freeName(segment.number);
    this.#run(async () => {
      await segment.file?.close();
      const path = join(this.#directory, segmentName(segment.number));
      if (this.#free.length < this.#settings.poolSegments) {
        await this.#vfs.rename(path, join(this.#directory, name));
        this.#free.push(name);
      } else {
        await this.#vfs.remove(path);
      }
    });
  }

  #run(task: () => Promise<void>): void {
    const running: Promise<void> = task().catch((error: unknown) => this.#host.failed(error)).finally(() => this.#tasks.delete(running));
    this.#tasks.add(running);
  }
}

/** A sealed segment's extents grow no more. */
function trim(extent: Extent): void {
  if (extent.offsets.length > extent.written) extent.offsets = extent.offsets.slice(0, extent.written);
}

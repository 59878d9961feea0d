// The streams of all devices at once, as one follows the buckets' logs: in order within each device, between devices as it comes.

import { BellhopError } from "../base/errors.ts";
import type { BucketCopy } from "../core/bucket.ts";
import type { CoreNode } from "../core/node.ts";
import { devicesOf, offsetAt, view } from "../core/stream/view.ts";
import type { Log } from "../storage/port.ts";
import type { EntryType, StreamEntry } from "./api.ts";
import { entriesAt } from "./entries.ts";

/** Of each bucket the log index that was looked at last. */
export type FeedPosition = number[];

export type FeedItem =
  | { readonly type: "entry"; readonly device: string; readonly entry: StreamEntry }
  /** Entries of a bucket, or of one device that keeps less than the broker, are no longer kept. */
  | { readonly type: "bucketGap"; readonly bucket: number; readonly entries: number }
  | { readonly type: "deviceGap"; readonly device: string; readonly from: number; readonly to: number };

export interface FeedLimits {
  readonly items: number;
  readonly bytes: number;
  readonly types: readonly EntryType[] | undefined;
}

/** Log entries of one bucket read at once, before the next bucket has its turn. */
const READ_ENTRIES = 256;

export class Feed {
  readonly #core: CoreNode;
  readonly #log: Log;
  readonly #watchAll: (moved: () => void) => () => void;
  /** The bucket that the next read begins with: behind the last one that filled a page, so that a busy one starves no other. */
  #begin = 0;

  constructor(core: CoreNode, log: Log, watchAll: (moved: () => void) => () => void) {
    this.#core = core;
    this.#log = log;
    this.#watchAll = watchAll;
  }

  /** Calls `moved` at the end of each turn in which something came, until the returned function is called. */
  watch(moved: () => void): () => void {
    return this.#watchAll(moved);
  }

  /** Behind everything that is there. */
  end(): FeedPosition {
    return this.#copies().map(({ machine }) => machine.index);
  }

  /** Before everything that is kept. */
  start(): FeedPosition {
    return this.#copies().map(({ machine }) => machine.floor - 1);
  }

  /** @throws BellhopError `forgotten` for a position that was not given by this broker's data */
  check(position: FeedPosition): void {
    const copies = this.#copies();
    if (position.length !== copies.length || copies.some(({ machine, replica }, bucket) => replica.isOpen && position[bucket]! > machine.index)) {
      throw new BellhopError("forgotten", "The position is not one of this broker's data. Begin anew with after=start or after=end.");
    }
  }

  isAtEnd(position: FeedPosition): boolean {
    return this.#copies().every(({ machine }, bucket) => position[bucket]! >= machine.index);
  }

  /** What comes behind the position, which moves with it; stops at the first limit that is reached. Empty at the end. */
  async read(position: FeedPosition, limits: FeedLimits): Promise<FeedItem[]> {
    const items: FeedItem[] = [];
    let bytes = 0;
    const copies = this.#copies();
    const begin = this.#begin;
    for (let turn = 0; turn < copies.length; turn += 1) {
      const copy = copies[(begin + turn) % copies.length]!;
      const { machine, bucket } = copy;
      const first = machine.floor;
      if (position[bucket]! + 1 < first) {
        items.push({ type: "bucketGap", bucket, entries: first - 1 - position[bucket]! });
        position[bucket] = first - 1;
      }
      const from = position[bucket]! + 1;
      const count = Math.min(machine.index - from + 1, READ_ENTRIES, limits.items - items.length);
      if (count <= 0) continue;
      const indexes = Array.from({ length: count }, (_, i) => from + i);
      for (const entry of await entriesAt(this.#log, copy, indexes, Math.max(1, limits.bytes - bytes))) {
        if (entry.index !== position[bucket]! + 1) break; // forgotten meanwhile: the next read tells the gap
        position[bucket] = entry.index;
        bytes += entry.payload.length;
        for (const device of devicesOf(entry)) this.#show(copy, entry, device, limits.types, items);
      }
      if (items.length >= limits.items || bytes >= limits.bytes) {
        this.#begin = (bucket + 1) % copies.length;
        break;
      }
    }
    return items;
  }

  #show({ machine }: BucketCopy, entry: Parameters<typeof view>[0], id: string, types: readonly EntryType[] | undefined, items: FeedItem[]): void {
    const device = machine.devices.find(id);
    const offset = device === undefined ? undefined : offsetAt(machine, device, entry.index);
    if (device === undefined || offset === undefined) return; // removed, or an entry that changed nothing
    if (offset < device.first) {
      const last = items.at(-1);
      const joins = last?.type === "deviceGap" && last.device === id;
      if (joins) items.pop();
      items.push({ type: "deviceGap", device: id, from: joins ? last.from : offset, to: offset });
      return;
    }
    const shown = view(entry, id, offset);
    if (types === undefined || types.includes(shown.type)) items.push({ type: "entry", device: id, entry: shown });
  }

  /** By bucket. @throws BellhopError `bucket_paused` where this node lacks one */
  #copies(): readonly BucketCopy[] {
    return this.#core.table.buckets.map(({ id }) => {
      const copy = this.#core.copy(id);
      if (copy === undefined) throw new BellhopError("bucket_paused", `The feed is read from a node's own copies, and this one has none of bucket ${id}: ask a node that has all (GET /v1/cluster says how many each has), or read by device.`);
      return copy;
    });
  }
}

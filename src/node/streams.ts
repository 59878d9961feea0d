// Reads of this node's own copies: pages of committed entries, watchers, views for people (R34: what is applied here).

import { BellhopError } from "../base/errors.ts";
import type { BucketCopy } from "../core/bucket.ts";
import { bucketOf } from "../core/hash.ts";
import type { Entry } from "../core/entry.ts";
import type { CoreNode } from "../core/node.ts";
import type { Device } from "../core/stream/device.ts";
import { earliest, indexesOf, view } from "../core/stream/view.ts";
import type { Log } from "../storage/port.ts";
import type { CredentialView, DeviceView, Explanation, OffsetPlace, ReadOptions, StateDocument, StatePair, StreamEntry, StreamPage, StreamWatcher } from "./api.ts";
import { entriesAt, residentAt } from "./entries.ts";

/** Log indexes looked up at once; a page of more goes on from there. */
const LOOKUP_MAX = 4096;
export interface BucketDevices {
  readonly devices: readonly DeviceView[];
  /** The last device looked at; undefined at the bucket's end. */
  readonly next: string | undefined;
  readonly looked: number;
}

/** What the bucket's copy tells; the rest is of the node that holds the device's socket. */
export type BucketExplanation = Omit<Explanation, "window" | "followers" | "waits">;

export class Streams {
  readonly #core: CoreNode;
  readonly #log: Log;
  readonly #watchers = new Map<string, Set<StreamWatcher>>();
  readonly #feeds = new Set<() => void>();
  #appliedAtTell = 0;

  constructor(core: CoreNode, log: Log) {
    this.#core = core;
    this.#log = log;
  }

  async read(id: string, options: ReadOptions): Promise<StreamPage> {
    const copy = this.#copyOf(id);
    const wanted = wantedOf(copy, id, options);
    return wanted === undefined ? nothingBehind(options.after) : pageOf(wanted, options, await entriesAt(this.#log, copy, wanted.indexes, options.maxBytes));
  }

  /** undefined: something of the page is only on the disk. */
  readNow(id: string, options: ReadOptions): StreamPage | undefined {
    const copy = this.#copyOf(id);
    const wanted = wantedOf(copy, id, options);
    if (wanted === undefined) return nothingBehind(options.after);
    const entries = residentAt(copy, wanted.indexes);
    return entries === undefined ? undefined : pageOf(wanted, options, entries);
  }

  watch(id: string, watcher: StreamWatcher): () => void {
    const { machine } = this.#copyOf(id);
    const watchers = this.#watchers.get(id) ?? new Set();
    this.#watchers.set(id, watchers.add(watcher));
    machine.watch(id);
    return () => {
      if (!watchers.delete(watcher)) return;
      machine.unwatch(id);
      if (watchers.size === 0) this.#watchers.delete(id);
    };
  }

  /** Whoever follows all devices: called at the end of a turn in which something was applied. Ends when the returned function is called. */
  watchAll(moved: () => void): () => void {
    this.#feeds.add(moved);
    return () => this.#feeds.delete(moved);
  }

  /** Tells the watchers of what moved in this turn. */
  tellWatchers(): void {
    if (this.#watchers.size > 0) this.#tellOfDevices();
    if (this.#feeds.size > 0) this.#tellFeeds();
  }

  #tellOfDevices(): void {
    for (const { machine } of this.#core.copies) {
      for (const [id, types] of machine.takeMoved() ?? []) {
        const end = machine.devices.find(id)?.end ?? 0;
        for (const watcher of this.#watchers.get(id) ?? []) watcher.moved(end, types);
      }
    }
  }

  /** A sum says whether any bucket moved: all that a feed costs a turn. */
  #tellFeeds(): void {
    let applied = 0;
    for (const { machine } of this.#core.copies) applied += machine.index;
    if (applied === this.#appliedAtTell) return;
    this.#appliedAtTell = applied;
    for (const moved of this.#feeds) moved();
  }

  device(id: string): DeviceView | undefined {
    const { machine } = this.#copyOf(id);
    const device = machine.devices.find(id);
    return device === undefined ? undefined : viewOf(device, earliest(machine, device));
  }

  credentials(id: string): readonly CredentialView[] | undefined {
    return this.#copyOf(id).machine.devices.find(id)?.credentials.map(({ name, created }) => ({ name, created }));
  }

  /** In the order of the devices' places in the bucket; at most `most` are looked at. */
  devices(bucket: number, after: string, limit: number, prefix: string, most: number): BucketDevices {
    const { machine } = this.#copyIn(bucket);
    const views: DeviceView[] = [];
    let looked = 0;
    for (const device of machine.devices.list(after)) {
      looked += 1;
      if (device.id.startsWith(prefix)) views.push(viewOf(device, earliest(machine, device)));
      if (views.length === limit || looked === most) return { devices: views, next: device.id, looked };
    }
    return { devices: views, next: undefined, looked };
  }

  state(id: string): StatePair | undefined {
    const { machine } = this.#copyOf(id);
    if (machine.devices.find(id) === undefined) return undefined;
    const document = (which: "reported" | "desired"): StateDocument => {
      const { text, version, offset } = machine.document(id, which);
      return { document: text, version, offset };
    };
    return { reported: document("reported"), desired: document("desired") };
  }

  explain(id: string): BucketExplanation | undefined {
    const { bucket, replica } = this.#copyOf(id);
    const seen = this.device(id);
    if (seen === undefined) return undefined;
    const { leader, epoch, members } = this.#core.table.bucket(bucket);
    return { ...seen, bucket, leader, epoch, members: members.map(({ node }) => node), commit: replica.commit, applied: replica.applied };
  }

  /** Where an offset stands in the log; undefined when it is not kept or not there. */
  place(id: string, offset: number): OffsetPlace | undefined {
    const copy = this.#copyOf(id);
    const device = copy.machine.devices.find(id);
    const index = device === undefined ? undefined : indexesOf(copy.machine, device, offset, offset).indexes[0];
    return index === undefined ? undefined : { bucket: copy.bucket, index };
  }

  #copyOf(id: string): BucketCopy {
    return this.#copyIn(bucketOf(id, this.#core.table.buckets.length));
  }

  #copyIn(bucket: number): BucketCopy {
    const copy = this.#core.copy(bucket);
    if (copy === undefined) throw new BellhopError("bucket_paused", `No copy of bucket ${bucket} is on this node.`);
    return copy;
  }
}

/** What a page of a stream is made of. */
interface Wanted extends Pick<StreamPage, "earliest" | "end" | "gap"> {
  readonly device: string;
  readonly after: number;
  /** Log indexes from this offset on. */
  readonly first: number;
  readonly indexes: readonly number[];
}

/** undefined: the device is not known. */
function wantedOf({ machine }: BucketCopy, id: string, options: ReadOptions): Wanted | undefined {
  const device = machine.devices.find(id);
  if (device === undefined) return undefined;
  const first = earliest(machine, device);
  const after = Math.min(options.after, device.end);
  const gap = after + 1 < first ? { from: after + 1, to: first - 1 } : undefined;
  const from = Math.max(after + 1, first);
  const to = Math.min(device.end, after + LOOKUP_MAX, options.types === undefined ? from + options.limit - 1 : Infinity);
  return { device: id, after, earliest: first, end: device.end, gap, ...indexesOf(machine, device, from, to) };
}

function nothingBehind(after: number): StreamPage {
  return { entries: [], next: after, earliest: 1, end: 0, gap: undefined };
}

function pageOf({ device, after, first, indexes, earliest, end, gap }: Wanted, options: ReadOptions, found: readonly Entry[]): StreamPage {
  const entries: StreamEntry[] = [];
  let next = gap?.to ?? after;
  let bytes = 0;
  for (const [i, entry] of found.entries()) {
    const offset = first + i;
    if (entry.index !== indexes[i]) break; // forgotten meanwhile: the next page tells the gap
    const shown = view(entry, device, offset);
    if (options.types === undefined || options.types.includes(shown.type)) {
      if (entries.length > 0 && (entries.length >= options.limit || bytes + shown.body.length > options.maxBytes)) break;
      entries.push(shown);
      bytes += shown.body.length;
    }
    next = offset;
  }
  return { entries, next, earliest, end, gap };
}

function viewOf(device: Device, first: number): DeviceView {
  const own = device.own;
  return {
    device: device.id,
    connected: (own?.attachment ?? 0) > 0,
    end: device.end,
    earliest: first,
    session: own?.number ?? 0,
    lastSeries: own?.last ?? 0,
    delivered: device.delivered,
    handled: device.handled,
    lastTime: device.lastTime,
    retain: device.retain,
  };
}

// Reads of devices' streams and state on this node: pages of committed entries, watchers, views for people (R34: what is applied here).

import { BellhopError } from "../base/errors.ts";
import type { BucketCopy } from "../core/bucket.ts";
import { bucketOf } from "../core/hash.ts";
import type { CoreNode } from "../core/node.ts";
import type { Device } from "../core/stream/device.ts";
import { earliest, indexesOf, view } from "../core/stream/view.ts";
import type { Log } from "../storage/port.ts";
import type { CredentialView, DevicePage, DeviceView, Explanation, OffsetPlace, ReadOptions, StateDocument, StreamEntry, StreamPage, StreamWatcher } from "./api.ts";
import { entriesAt } from "./entries.ts";

/** Log indexes looked up at once; a page of more goes on from there. */
const LOOKUP_MAX = 4096;
/** Devices looked at for one page of their list; a prefix that few have takes more pages. */
const LISTED_MAX = 10_000;

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

  get watched(): number {
    return this.#watchers.size;
  }

  async read(id: string, options: ReadOptions): Promise<StreamPage> {
    const copy = this.#copyOf(id);
    const device = copy.machine.devices.find(id);
    if (device === undefined) return { entries: [], next: options.after, earliest: 1, end: 0, gap: undefined };
    const first = earliest(copy.machine, device);
    const after = Math.min(options.after, device.end);
    const gap = after + 1 < first ? { from: after + 1, to: first - 1 } : undefined;
    const from = Math.max(after + 1, first);
    const wanted = indexesOf(copy.machine, device, from, Math.min(device.end, after + LOOKUP_MAX, options.types === undefined ? from + options.limit - 1 : Infinity));
    const end = device.end;
    const found = await entriesAt(this.#log, copy, wanted.indexes, options.maxBytes);
    const entries: StreamEntry[] = [];
    let next = gap?.to ?? after;
    let bytes = 0;
    for (const [i, entry] of found.entries()) {
      const offset = wanted.first + i;
      if (entry.index !== wanted.indexes[i]) break; // forgotten meanwhile: the next page tells the gap
      const shown = view(entry, id, offset);
      if (options.types === undefined || options.types.includes(shown.type)) {
        if (entries.length > 0 && (entries.length >= options.limit || bytes + shown.body.length > options.maxBytes)) break;
        entries.push(shown);
        bytes += shown.body.length;
      }
      next = offset;
    }
    return { entries, next, earliest: first, end, gap };
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

  /** By bucket, and within it in the order of the devices' places. */
  devices(after: string, limit: number, prefix: string): DevicePage {
    const views: DeviceView[] = [];
    const start = after === "" ? 0 : this.#bucketOf(after);
    let looked = 0;
    for (let bucket = start; bucket < this.#core.table.buckets.length; bucket += 1) {
      const machine = this.#core.copy(bucket)?.machine;
      if (machine === undefined) continue;
      for (const device of machine.devices.list(bucket === start ? after : "")) {
        looked += 1;
        if (device.id.startsWith(prefix)) views.push(viewOf(device, earliest(machine, device)));
        if (views.length === limit || looked === LISTED_MAX) return { devices: views, next: device.id };
      }
    }
    return { devices: views, next: undefined };
  }

  state(id: string): { readonly reported: StateDocument; readonly desired: StateDocument } | undefined {
    const { machine } = this.#copyOf(id);
    if (machine.devices.find(id) === undefined) return undefined;
    const document = (which: "reported" | "desired"): StateDocument => {
      const { text, version, offset } = machine.document(id, which);
      return { document: text, version, offset };
    };
    return { reported: document("reported"), desired: document("desired") };
  }

  explain(id: string): Explanation | undefined {
    const copy = this.#copyOf(id);
    const seen = this.device(id);
    if (seen === undefined) return undefined;
    const record = this.#core.table.bucket(copy.bucket);
    const line = this.#core.gateway.lineOf(id);
    const waits = line === undefined || line.waiting.messages === 0 ? undefined : { ...line.waiting, why: this.#why(line.state) };
    return {
      ...seen,
      bucket: copy.bucket,
      leader: record.leader,
      epoch: record.epoch,
      members: record.members.map(({ node }) => node),
      window: line?.window ?? 0,
      followers: this.#watchers.get(id)?.size ?? 0,
      waits,
      commit: copy.replica.commit,
      applied: copy.replica.applied,
    };
  }

  /** Where an offset stands in the log; undefined when it is not kept or not there. */
  place(id: string, offset: number): OffsetPlace | undefined {
    const copy = this.#copyOf(id);
    const device = copy.machine.devices.find(id);
    const index = device === undefined ? undefined : indexesOf(copy.machine, device, offset, offset).indexes[0];
    return index === undefined ? undefined : { bucket: copy.bucket, index };
  }

  #why(state: string): "commit" | "storage_full" | "bucket_paused" {
    if (this.#core.storageFull) return "storage_full";
    return state === "attached" ? "commit" : "bucket_paused";
  }

  #bucketOf(id: string): number {
    return bucketOf(id, this.#core.table.buckets.length);
  }

  #copyOf(id: string): BucketCopy {
    const copy = this.#core.copy(this.#bucketOf(id));
    if (copy === undefined) throw new BellhopError("bucket_paused", "No copy of the device's bucket is on this node.");
    return copy;
  }
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

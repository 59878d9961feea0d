// Watches of devices' streams through this node: at its own copy where that is current, else at the bucket's leader, and moved whenever that changes.

import { STREAM_TYPE } from "../core/stream/view.ts";
import type { Links } from "../peer/links.ts";
import type { Move, ReadMessage } from "../peer/reads.ts";
import type { StreamWatcher } from "./api.ts";
import type { Reads } from "./reads.ts";
import type { Streams } from "./streams.ts";

export const ALL_TYPES = STREAM_TYPE.uplink | STREAM_TYPE.downlink | STREAM_TYPE.presence | STREAM_TYPE.state;

/** Where watches are is looked at this often, in milliseconds; one that was refused is asked for again after this too. */
const LOOK_MS = 20;
/** Watches that one other node may have here. */
const PEER_WATCHES_MAX = 200_000;
/** What is not wanted at once is told after so many entries. */
const PASS_ENTRIES = 256;

/** One watched device, for all that watch it here. */
interface Watched extends StreamWatcher {
  readonly device: string;
  readonly bucket: number;
  /** With the types (bits) that each wants to hear of at once. */
  readonly watchers: Map<StreamWatcher, number>;
  /** "": this node's copy; undefined: nowhere yet, or no more. */
  place: string | undefined;
  /** Bits that the place was asked for. */
  types: number;
  /** Where the stream ended when it was last told; undefined until then. */
  end: number | undefined;
  leave: () => void;
}

export class Watches {
  readonly #streams: Streams;
  readonly #reads: Reads;
  readonly #links: Links | undefined;
  readonly #wake: () => void;
  readonly #devices = new Map<string, Watched>();
  readonly #buckets = new Map<number, Set<Watched>>();
  /** Those that are at another node's copy, by their numbers. */
  readonly #remote = new Map<number, Watched>();
  /** Who is told at the end of the turn where its stream ends. */
  readonly #fresh = new Map<StreamWatcher, Watched>();
  /** Watches of other nodes' watchers here, by node and number: each function ends one. */
  readonly #ofPeers = new Map<string, Map<number, () => void>>();
  /** What other nodes are to be told, one move for each watch. */
  readonly #moves = new Map<string, Map<number, Move>>();
  #number = 0;
  #lookAt = 0;

  /** `wake`: a turn is to follow, with `turned` at its end. */
  constructor(streams: Streams, reads: Reads, links: Links | undefined, wake: () => void) {
    this.#streams = streams;
    this.#reads = reads;
    this.#links = links;
    this.#wake = wake;
  }

  /** Devices watched here. */
  get count(): number {
    return this.#devices.size;
  }

  watchersOf(device: string): number {
    return this.#devices.get(device)?.watchers.size ?? 0;
  }

  /** Where the stream is known to end, by what its watchers were told. */
  endOf(device: string): number {
    return this.#devices.get(device)?.end ?? 0;
  }

  /** The watcher is told where the stream ends soon after, and again whenever its watch has moved to another copy. */
  watch(device: string, watcher: StreamWatcher, types: number): () => void {
    const watched = this.#devices.get(device) ?? this.#add(device);
    watched.watchers.set(watcher, types);
    if (watched.place !== "" && (types & ~watched.types) !== 0) this.#leave(watched);
    if (watched.end !== undefined) this.#fresh.set(watcher, watched);
    if (watched.place === undefined) this.#settle(watched, this.#reads.placeOf(watched.bucket));
    this.#wake();
    return () => {
      this.#fresh.delete(watcher);
      if (!watched.watchers.delete(watcher) || watched.watchers.size > 0) return;
      this.#leave(watched);
      this.#devices.delete(device);
      const inBucket = this.#buckets.get(watched.bucket)!;
      inBucket.delete(watched);
      if (inBucket.size === 0) this.#buckets.delete(watched.bucket);
    };
  }

  /** The end of a turn: who watches an own copy is told by it; the rest is done here. */
  turned(): void {
    for (const [watcher, watched] of this.#fresh) {
      this.#fresh.delete(watcher);
      if (watched.end !== undefined) watcher.moved(watched.end, ALL_TYPES);
    }
    const now = performance.now();
    if (now >= this.#lookAt) {
      this.#lookAt = now + LOOK_MS;
      this.#look();
    }
    if (this.#moves.size === 0) return;
    for (const [node, moves] of this.#moves) {
      if (this.#links?.isFree(node) !== true) continue; // told when it is again, or its watches end with the link
      this.#links.read(node, { type: "moved", moves: [...moves.values()] });
      this.#moves.delete(node);
    }
    this.#links?.flush();
  }

  /** The link to the node was lost: what was watched there is not, and what it watched here neither. */
  lost(node: string): void {
    for (const watched of this.#remote.values()) if (watched.place === node) this.#leave(watched);
    for (const end of this.#ofPeers.get(node)?.values() ?? []) end();
    this.#ofPeers.delete(node);
    this.#moves.delete(node);
  }

  take(from: string, message: Extract<ReadMessage, { type: "watch" | "unwatch" | "unwatched" | "moved" }>): void {
    switch (message.type) {
      case "watch":
        return this.#watchFor(from, message);
      case "unwatch":
        this.#ofPeers.get(from)?.get(message.watch)?.();
        return;
      case "unwatched": {
        const watched = this.#remote.get(message.watch);
        if (watched !== undefined) this.#leave(watched);
        return;
      }
      case "moved":
        for (const [watch, end, types] of message.moves) {
          const watched = this.#remote.get(watch);
          if (watched === undefined) this.#links?.read(from, { type: "unwatch", watch });
          else watched.moved(end, types);
        }
    }
  }

  #add(device: string): Watched {
    const watched: Watched = {
      device, bucket: this.#reads.bucketOf(device), watchers: new Map(), place: undefined, types: 0, end: undefined, leave: () => undefined,
      moved(end, types) {
        this.end = end;
        for (const watcher of this.watchers.keys()) watcher.moved(end, types);
      },
    };
    this.#devices.set(device, watched);
    const inBucket = this.#buckets.get(watched.bucket) ?? new Set();
    this.#buckets.set(watched.bucket, inBucket.add(watched));
    return watched;
  }

  /** Whatever is not where its bucket is read now goes there. */
  #look(): void {
    for (const [bucket, all] of this.#buckets) {
      const place = this.#reads.placeOf(bucket);
      if (place === undefined) continue; // where it is, it may yet be told something
      for (const watched of all) {
        if (watched.place === place) continue;
        this.#leave(watched);
        this.#settle(watched, place);
      }
    }
  }

  #settle(watched: Watched, place: string | undefined): void {
    if (place === undefined) return;
    const { device, bucket } = watched;
    watched.place = place;
    if (place === "") {
      watched.types = ALL_TYPES;
      watched.leave = this.#streams.watch(device, watched);
      watched.end = Math.max(watched.end ?? 0, this.#streams.device(device)?.end ?? 0); // it may be behind what was told elsewhere
      for (const watcher of watched.watchers.keys()) this.#fresh.set(watcher, watched);
      this.#wake();
      return;
    }
    const watch = (this.#number += 1);
    watched.types = [...watched.watchers.values()].reduce((all, types) => all | types, 0);
    this.#remote.set(watch, watched);
    watched.leave = () => {
      this.#remote.delete(watch);
      this.#links?.read(place, { type: "unwatch", watch });
    };
    this.#links?.read(place, { type: "watch", watch, bucket, epoch: this.#reads.epochOf(bucket), device, types: watched.types });
    this.#wake();
  }

  #leave(watched: Watched): void {
    watched.leave();
    watched.leave = () => undefined;
    watched.place = undefined;
  }

  // --- for other nodes ---

  #watchFor(node: string, { watch, bucket, epoch, device, types }: Extract<ReadMessage, { type: "watch" }>): void {
    const watches = this.#ofPeers.get(node) ?? new Map<number, () => void>();
    this.#ofPeers.set(node, watches);
    if (watches.size >= PEER_WATCHES_MAX || watches.has(watch) || !this.#reads.mayAnswer(bucket, epoch)) {
      this.#links?.read(node, { type: "unwatched", watch });
      return;
    }
    let told = this.#streams.device(device)?.end ?? 0;
    const tell = (end: number, came: number): void => {
      told = end;
      const moves = this.#moves.get(node) ?? new Map<number, Move>();
      this.#moves.set(node, moves);
      moves.set(watch, [watch, end, came | (moves.get(watch)?.[2] ?? 0)]);
    };
    const leave = this.#streams.watch(device, {
      moved: (end, came) => {
        const wanted = (came & ~ALL_TYPES) !== 0 || (came & types) !== 0; // a removal is told to all
        if (wanted || end - told >= PASS_ENTRIES) tell(end, came);
      },
    });
    watches.set(watch, () => {
      watches.delete(watch);
      leave();
    });
    tell(told, ALL_TYPES);
    this.#wake();
  }
}

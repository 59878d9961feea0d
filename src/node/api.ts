// What a running node offers to its front-ends (device server, HTTP, command line): the gateway's door and reads of streams.

import type { ErrorCode } from "../base/errors.ts";
import type { ControlEntry } from "../control/port.ts";
import type { GatewayDoor } from "../core/gateway/types.ts";
import type { ApiKey, Keys } from "../core/table/keys.ts";
import type { Table } from "../core/table/table.ts";
import type { MetricName } from "../observe/families.ts";
import type { Feed } from "./feed.ts";
import type { Operator } from "./operator.ts";

export type EntryType = "uplink" | "downlink" | "presence" | "state";

/** One entry of a device's stream. */
export interface StreamEntry {
  readonly offset: number;
  /** Milliseconds since 1970, the leader's at admission (A14). */
  readonly time: number;
  readonly type: EntryType;
  /** "" for the device itself; else the server's publisher name. */
  readonly publisher: string;
  readonly session: number;
  /** 0 where the publisher has no series (keyed publishes, presence, state by a backend). */
  readonly series: number;
  /** uplink and downlink: the msgpack body of core/hop.ts. presence, state: JSON, UTF-8. */
  readonly body: Uint8Array;
  /** Of a backend's change of state: its traceparent, "" for none. */
  readonly trace?: string;
}

export interface StreamPage {
  readonly entries: readonly StreamEntry[];
  /** Pass it as `after` to read on: offset of the last entry looked at. */
  readonly next: number;
  /** Offset of the first entry that is still kept (end + 1 when none is). */
  readonly earliest: number;
  readonly end: number;
  /** Offsets from … to were asked for and are no longer kept. */
  readonly gap: { readonly from: number; readonly to: number } | undefined;
}

export interface ReadOptions {
  readonly after: number;
  /** Most entries in the page. */
  readonly limit: number;
  readonly maxBytes: number;
  /** Only these types; the page may be empty and `next` still move. */
  readonly types?: readonly EntryType[];
}

export interface StateDocument {
  /** JSON text, UTF-8. */
  readonly document: Uint8Array;
  /** 0: never written. */
  readonly version: number;
  /** Offset of its last change. */
  readonly offset: number;
}

export interface StatePair {
  readonly reported: StateDocument;
  readonly desired: StateDocument;
}

export interface DeviceView {
  readonly device: string;
  readonly connected: boolean;
  /** Last offset and the first that is kept. */
  readonly end: number;
  readonly earliest: number;
  readonly session: number;
  readonly lastSeries: number;
  readonly delivered: number;
  readonly handled: number;
  /** Milliseconds since 1970 of the last entry. */
  readonly lastTime: number;
  /** How much of its stream is kept; 0 each: as much as the broker keeps. */
  readonly retain: { readonly seconds: number; readonly entries: number };
}

export interface DevicePage {
  readonly devices: readonly DeviceView[];
  /** The last device looked at: pass it as `after`; undefined when there are no more. */
  readonly next: string | undefined;
}

/** Where an entry stands in the log. */
export interface OffsetPlace {
  readonly bucket: number;
  readonly index: number;
}

/** What is known of a credential beside its digest. */
export interface CredentialView {
  readonly name: string;
  /** Milliseconds since 1970. */
  readonly created: number;
}

export interface ApiKeys {
  /** By name, the digests among them: another map after every change. */
  readonly all: Keys;
  /** Resolves when the control log has it; rejects with `exists`, `limit_reached`, or `deadline` when it was not seen in time. */
  put(key: ApiKey): Promise<void>;
  /** Rejects with `not_found`, or `deadline`. */
  remove(name: string): Promise<void>;
  /** `changed` is called after every change, until the returned function is. */
  watch(changed: () => void): () => void;
}

export interface Explanation extends DeviceView {
  readonly bucket: number;
  readonly leader: string;
  readonly epoch: number;
  readonly members: readonly string[];
  readonly window: number;
  /** Live followers of this device's stream on this node. */
  readonly followers: number;
  /** What waits at this gateway for this device, and why; undefined when nothing does. */
  readonly waits: { readonly messages: number; readonly bytes: number; readonly why: ErrorCode | "commit" } | undefined;
  readonly commit: number;
  readonly applied: number;
}

/** Copies of a bucket that are applied to the same index have the same digest (invariant 17). */
export interface BucketDigest {
  readonly applied: number;
  readonly commit: number;
  /** SHA-256 of the state, hex. */
  readonly digest: string;
}

export interface ControlPage {
  readonly entries: readonly ControlEntry[];
  /** The first position that is kept here; what is below is in the archives. */
  readonly earliest: number;
}

/** The cluster as this node has folded the control log. */
export interface ClusterView {
  /** The node that tells it. */
  readonly self: string;
  /** Since the control log last answered this node; changes wait while it does not, writes go on (R15). */
  readonly controlSeconds: number;
  readonly position: number;
  readonly copies: number;
  readonly minCopies: number;
  readonly buckets: number;
  /** Buckets with fewer live members than `copies`. */
  readonly incomplete: number;
  readonly nodes: readonly NodeView[];
  /** What moves. `leader`: who leads the bucket, and knows how far its learners are. */
  readonly plans: readonly { readonly kind: string; readonly bucket: number; readonly series: number; readonly step: number; readonly target: string[]; readonly leader: string }[];
  /** Of the buckets that this node leads. */
  readonly learners: readonly LearnerView[];
  /** Buckets that nobody leads; the first of them one by one. */
  readonly dark: { readonly count: number; readonly buckets: readonly DarkBucket[] };
  /** Of this node to the others. */
  readonly links: readonly { readonly node: string; readonly up: boolean; readonly waitingBytes: number; readonly bytesIn: number; readonly bytesOut: number }[];
}

export interface NodeView {
  readonly node: string;
  readonly state: "live" | "draining" | "departed";
  readonly incarnation: number;
  readonly zone: string;
  readonly slot: number;
  readonly http: string;
  readonly device: string;
  readonly peer: string;
  /** Its process was heard of by the control log within the last seconds. */
  readonly lease: boolean;
  /** Buckets it leads, is a member of, is about to become a member of. */
  readonly leads: number;
  readonly copies: number;
  readonly learns: number;
}

export interface LearnerView {
  readonly bucket: number;
  readonly node: string;
  /** It has the state and the history, and follows. */
  readonly whole: boolean;
  /** Entries that it lacks. */
  readonly behind: number;
}

export interface DarkBucket {
  readonly bucket: number;
  readonly state: string;
  readonly members: string[];
  readonly why: string;
}

/** Told where the stream ends soon after the watch began, and after commits, at most once a turn; reads then fetch what is new. */
export interface StreamWatcher {
  /** The device's stream now ends at `end`, and an entry of one of these types came (bits: 1 uplink, 2 downlink, 4 presence, 8 state; 16: the device was removed). */
  moved(end: number, types: number): void;
}

export interface NodeApi extends GatewayDoor {
  /** Opens a turn: the clocks are read and a flush follows. A front-end calls it before it hands over frames of a socket. */
  turn(): void;
  /** False: requests stand for longer than they should, or many are held; who can wait hands over no more just now. */
  readonly takesMore: boolean;
  /** A front-end met a broken invariant: the node logs it and stops. */
  fail(error: Error): void;
  // Reads are of this node's own copy where it is current, else of the bucket's leader. They reject with a BellhopError: `bucket_paused`, `bucket_dark`, `overloaded`.
  // They show what this node has answered (read your writes); what was answered through another node may come a moment later, or is waited for by its offset.
  /** Committed entries. A device that is not known has an empty stream. */
  read(device: string, options: ReadOptions): Promise<StreamPage>;
  /** The same at once, where this node's copy may be read and has the page in memory; undefined: it has not. */
  readNow(device: string, options: ReadOptions): StreamPage | undefined;
  /** Ends when the returned function is called. `types` (bits): those that the watcher wants to hear of at once; of others it may hear later, or with these. */
  watch(device: string, watcher: StreamWatcher, types?: number): () => void;
  /** undefined: the device is not known. */
  device(device: string): Promise<DeviceView | undefined>;
  /** In the order they were made; undefined: the device is not known. */
  credentials(device: string): Promise<readonly CredentialView[] | undefined>;
  readonly keys: ApiKeys;
  /** Devices whose id begins with `prefix`; a page may hold fewer than `limit` and not be the last. */
  devices(after: string, limit: number, prefix: string): Promise<DevicePage>;
  place(device: string, offset: number): Promise<OffsetPlace | undefined>;
  /** The streams of all devices at once. */
  readonly feed: Feed;
  /** The table that routes devices to nodes, as this node has folded it. */
  readonly table: Table;
  /** Of this node's copy of the bucket; undefined: it has none. Reads the bucket's whole state in one go. */
  digest(bucket: number): BucketDigest | undefined;
  controlLog(after: number, limit: number): Promise<ControlPage>;
  cluster(): ClusterView;
  readonly operator: Operator;
  /** `least`: an offset of the stream that is known to be there, and applied in what is answered. */
  state(device: string, least?: number): Promise<StatePair | undefined>;
  explain(device: string): Promise<Explanation | undefined>;
  /** HOST:PORT where the leader of the device's bucket serves HTTP; undefined: there is none, or it is this node. */
  leaderOf(device: string): string | undefined;
  status(): NodeStatus;
}

/** What the node itself counts; all of it rises or is as it is now (docs/metrics.md). */
export type NodeNumber = Extract<
  MetricName,
  | "devices_connected" | "streams_watched" | "buckets" | "buckets_led" | "buckets_open" | "entries_total" | "entries_forgotten_total" | "resident_bytes"
  | "log_segments" | "log_bytes" | "log_groups_total" | "log_written_bytes_total" | "storage_full" | "disk_free_bytes"
  | "state_bytes" | "checkpoint_bytes_total" | "checkpoints_total" | "checkpoints_without_room_total" | "removals_pending" | "erased_entries_total"
>;

export interface NodeStatus {
  readonly node: string;
  readonly incarnation: number;
  readonly version: string;
  readonly uptimeSeconds: number;
  readonly ready: boolean;
  /** Why it is not ready, in words. */
  readonly why: readonly string[];
  readonly buckets: { readonly total: number; readonly led: number; readonly open: number };
  readonly devices: { readonly connected: number };
  /** What waits where: the number's name → its value (E4). */
  readonly waiting: Readonly<Record<string, number>>;
  /** Plain counters and gauges, by their names in /metrics without the `bellhop_` in front. */
  readonly numbers: Readonly<Record<NodeNumber, number>>;
}

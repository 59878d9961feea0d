// The replica's contract: what it is told, what it says, and the state machine behind it (replication.md §2).

import type { Entry } from "../entry.ts";
import type { Command, Plan } from "../table/commands.ts";

/** The replicated state machine behind a bucket's log (B13). Changed only by `apply` and `restore`, deterministically. */
export interface Machine {
  /** Applies a committed entry; called once for each index in order, for every kind (a `gov` or `floor` entry carries the time on). */
  apply(entry: Entry): void;
  /** The whole state as of the last applied index, as bytes: equal states give equal bytes. */
  snapshot(): Uint8Array;
  /** Replaces the whole state. */
  restore(snapshot: Uint8Array, applied: number): void;
}

/** What a replica tells the one who admits work (the stream's admission, a counter in the tests). Called inside `Replica` methods; must not call back into the replica but to `propose`. */
export interface Lead {
  /** This replica leads `epoch`, and its Gov entry is committed and applied: work may be admitted (R16). */
  opened(epoch: number): void;
  /** It leads no more: nothing further may be answered for what is not applied. */
  closed(): void;
  /** Every applied entry of this step has been applied: answers may go out now (one call a batch). */
  appliedTo(index: number): void;
  /** A round begun by `confirm()` is over: every member acknowledged this epoch after the question (R34). */
  confirmed(question: number): void;
}

/** A ticket of the node's log: rises with every group; durable tickets are told by `durable`. */
export type Ticket = number;

/** What a replica asks of its driver. Calls only queue; none calls back in. */
export interface ReplicaEffects {
  /** Appends to the log; takes the place of every record of this bucket at its index and above (R24). */
  write(bucket: number, entry: Entry): Ticket;
  /** A RESET record: the copy joins on after `index`, marked incomplete (R22, R24). */
  reset(bucket: number, index: number, epoch: number): Ticket;
  /** History at or below the reset's base. */
  fill(bucket: number, entries: readonly Entry[]): Ticket;
  mark(bucket: number, incomplete: boolean): Ticket;
  /** Entries below may be forgotten. */
  floor(bucket: number, index: number): void;
  /** Reads entries from … to of the log that are not in memory; answered by `loaded` with a prefix (at least one), or with none when the range is gone. At most one load is out for each purpose. */
  load(bucket: number, purpose: LoadPurpose, from: number, to: number): void;
  /** Stores the state machine that was just restored, atomically with its index; `Replica.installed(applied)` is called once that is durable. */
  install(bucket: number, applied: number): void;
  send(to: string, message: PeerMessage): void;
  /** Puts a command on the control log; it may be lost or doubled: asked for again until the table shows it. */
  propose(command: Command): void;
}

/** `apply`: for the state machine; else the id of the peer that the entries are for. */
export type LoadPurpose = "apply" | { readonly peer: string };

/** Where a replica starts from: what recovery found (see storage/port.ts). */
export interface CopyAtStart {
  readonly floor: number;
  readonly base: number;
  readonly baseEpoch: number;
  readonly last: number;
  readonly epochs: readonly EpochStart[];
  readonly incomplete: boolean;
  /** The index up to which the state machine is applied (its checkpoint). */
  readonly applied: number;
  /** Time of the entry at `last`, 0 when there is none: admission never goes below it (R32). */
  readonly lastTime: number;
}

/** What a replica needs of the table beside its bucket's record. */
export interface TableView {
  /** Below this many members no entry commits (B4, R14). */
  readonly minCopies: number;
  /** The plan that runs for this bucket, if one does (R8, R18). */
  readonly plan: Plan | undefined;
}

/** Every bound of a replica, with its unit. */
export interface ReplicaLimits {
  /** Bytes of applied and durable entries kept in memory for lagging peers and readers; what is not yet applied and durable is kept in any case. */
  readonly residentBytes: number;
  /** Most bytes of entries in one Append or History message (one entry goes in any case). */
  readonly appendBytes: number;
  /** Most unacknowledged bytes towards one peer, before sending waits for its acks. */
  readonly inflightBytes: number;
  /** Bytes of a snapshot's part; at most 512 KiB (R10). */
  readonly partBytes: number;
  /** A learner fewer entries behind than this is near (R17). */
  readonly nearEntries: number;
  /** Milliseconds without an answer after which a message is sent, and a proposal made, again. */
  readonly resendMs: number;
  /** Milliseconds after which an idle peer is sent an empty Append. */
  readonly heartbeatMs: number;
  /** A member that alone lacks for fewer milliseconds what all others have is not slow (R6). */
  readonly slowMs: number;
  /** Milliseconds without progress after which a learner's attempt is dropped, so that what it pins is bounded (R17). */
  readonly acclimationMs: number;
}

export interface EpochStart {
  readonly epoch: number;
  readonly first: number;
}

/** Messages between replicas of one bucket. Every message names the sender's node and incarnation and the receiver's incarnation; others are dropped. */
export type PeerMessage = PeerHeader & PeerBody;

export interface PeerHeader {
  readonly bucket: number;
  readonly from: string;
  readonly fromIncarnation: number;
  readonly toIncarnation: number;
  readonly epoch: number;
  /** The receiver's (leader → member) or the sender's (member → leader) attempt (R7, R14). */
  readonly attempt: number;
}

export type PeerBody =
  /** R12. `round`: the newest confirmation round (R34). `entries` may be empty (probe, idle commit). */
  | { readonly type: "append"; readonly prev: number; readonly prevEpoch: number; readonly entries: readonly Entry[]; readonly commit: number; readonly round: number }
  /** Durable up to `match = prev + entries` of the Append acknowledged, never the log's end (R13). `whole`: state and history are complete up to it (R17). */
  | { readonly type: "appended"; readonly match: number; readonly whole: boolean; readonly round: number }
  /** Refused: `promised` is the receiver's, `hint` the last index before the conflict (R13). */
  | { readonly type: "refused"; readonly promised: number; readonly hint: number; readonly round: number }
  /** A learner reports (R17): what it has. */
  | { readonly type: "report"; readonly epochs: readonly EpochStart[]; readonly floor: number; readonly base: number; readonly last: number; readonly whole: boolean }
  /** A part of a snapshot at `index`; parts in order, `part` from 0, `bytes` joined make the state. */
  | {
      readonly type: "snapshot";
      readonly index: number;
      readonly indexEpoch: number;
      /** Time of the entry at `index` (R32). */
      readonly time: number;
      readonly floor: number;
      readonly epochs: readonly EpochStart[];
      readonly part: number;
      readonly parts: number;
      readonly bytes: Uint8Array;
    }
  /** Retained entries at or below the snapshot's index, ascending from the floor (R17). */
  | { readonly type: "history"; readonly index: number; readonly entries: readonly Entry[] }
  /** The learner's progress: durable snapshot parts and history. */
  | { readonly type: "installed"; readonly index: number; readonly parts: number; readonly historyTo: number };

export type Message<T extends PeerBody["type"]> = PeerHeader & Extract<PeerBody, { readonly type: T }>;

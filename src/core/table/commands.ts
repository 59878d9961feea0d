// The commands of the control log and the state they fold into (replication.md §1, R2–R10).
// A guard that fails makes a command a no-op; an unknown command stops the node.

import type { KeyCommand } from "./keys.ts";

export interface Node {
  readonly id: string;
  /** Id of the node's data directory (R21). */
  readonly store: string;
  /** Rises with every Register. */
  readonly incarnation: number;
  /** Id of the batch that registered this incarnation: a process that finds another batch's here is not the node any more, and stops (R4). */
  readonly registration: string;
  /** The table's version at that batch: of two nodes, the one with the lower was there first (R6). */
  readonly registered: number;
  readonly address: NodeAddress;
  readonly zone: string;
  /** Arrival order; followers are the leader's neighbours by slot, wrapping (B2). */
  readonly slot: number;
  readonly state: "live" | "draining" | "departed";
}

/** Advertised addresses, HOST:PORT. */
export interface NodeAddress {
  readonly http: string;
  readonly device: string;
  readonly peer: string;
}

export interface Member {
  readonly node: string;
  readonly incarnation: number;
  /** The attempt under which it joined; 0 for the first government (R7). */
  readonly attempt: number;
}

export interface Bucket {
  readonly id: number;
  /** Rises with every change of this record. */
  readonly version: number;
  readonly epoch: number;
  readonly leader: string;
  readonly members: readonly Member[];
  readonly learners: readonly Member[];
  readonly state: "idle" | "on" | "splitting" | "dark";
  /** Rises only with ForceUnclean (R9). */
  readonly generation: number;
  /** Only while dark: the store that held the last whole copy; its whole return ends the dark (R22). */
  readonly lostStore?: string;
}

export interface Settings {
  readonly copies: 1 | 3 | 5;
  /** 1 … copies: a bucket with fewer members takes no write. */
  readonly minCopies: number;
}

/** Buckets of a table, at most. */
export const BUCKET_COUNT_MAX = 65_536;

/** The steps of a plan. A plan ends when it steps past the last one, or with its Retire. */
export const PLAN_STEP = {
  /** The nodes of the target become learners, and their leader promotes them. */
  join: 0,
  /** Handover to the first of the target. */
  lead: 1,
  /** The leader retires, after its barrier, whom the target does not name. */
  leave: 2,
} as const;

/** A plan for one bucket; whoever comes next knows where the last one stopped (R10). */
export interface Plan {
  /** The table's plan series, raised by one for this plan; raised by every departure too, which cancels all plans (R5). */
  readonly series: number;
  /** One of PLAN_STEP. */
  readonly step: number;
  readonly kind: "migrate" | "recover" | "drain" | "split" | "copies";
  readonly bucket: number;
  /** The members wanted at the end, leader first. */
  readonly target: readonly string[];
}

export type Command =
  | KeyCommand
  | { readonly type: "begin"; readonly bucketCount: number; readonly copies: 1 | 3 | 5; readonly minCopies: number }
  | { readonly type: "settings"; readonly settings: Settings }
  | {
      readonly type: "register";
      readonly node: string;
      readonly store: string;
      readonly seen: number;
      /** What recovery proved of the store as a whole (R21). */
      readonly clean: boolean;
      /** Buckets whose copies are marked incomplete: unclean for these, whatever `clean` says (R22). */
      readonly incomplete?: readonly number[];
      readonly address: NodeAddress;
      readonly zone: string;
    }
  | { readonly type: "depart"; readonly node: string; readonly incarnation: number; readonly by: string; readonly byIncarnation: number; readonly alive: readonly string[] }
  | { readonly type: "drain"; readonly node: string; readonly incarnation: number; readonly on: boolean }
  | { readonly type: "addLearner"; readonly bucket: number; readonly epoch: number; readonly node: string; readonly incarnation: number; readonly attempt: number }
  | { readonly type: "dropLearner"; readonly bucket: number; readonly node: string; readonly attempt: number }
  | { readonly type: "promote"; readonly bucket: number; readonly epoch: number; readonly node: string; readonly attempt: number; readonly incarnation: number }
  | { readonly type: "handover"; readonly bucket: number; readonly epoch: number; readonly to: string; readonly series: number; readonly step: number }
  | { readonly type: "retire"; readonly bucket: number; readonly epoch: number; readonly nodes: readonly string[]; readonly series: number; readonly step: number }
  | { readonly type: "plan"; readonly plan: Plan }
  | { readonly type: "step"; readonly bucket: number; readonly series: number; readonly step: number }
  | { readonly type: "cancel"; readonly bucket: number; readonly series: number }
  | { readonly type: "forceUnclean"; readonly bucket: number; readonly node: string; readonly incarnation: number };

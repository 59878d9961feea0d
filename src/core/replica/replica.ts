// One bucket's replica on one node: takes on the role that the table gives it and hands each event to that role (replication.md §2).
// Pure and synchronous: what is to be done goes out through the effects.

import { assert } from "../../base/assert.ts";
import type { Entry } from "../entry.ts";
import type { Bucket, Member } from "../table/commands.ts";
import { Copy } from "./copy.ts";
import { Follower } from "./follower.ts";
import { Leader } from "./leader.ts";
import type { CopyAtStart, Lead, LoadPurpose, Machine, PeerMessage, ReplicaEffects, ReplicaLimits, TableView, Ticket } from "./types.ts";

export type Role = "leader" | "follower" | "learner" | "idle";

export interface ReplicaOptions {
  readonly bucket: number;
  readonly node: string;
  readonly incarnation: number;
  readonly copy: CopyAtStart;
  readonly machine: Machine;
  readonly lead: Lead;
  readonly effects: ReplicaEffects;
  readonly limits: ReplicaLimits;
}

/** What a leader knows of a peer, for `explain` and metrics. */
export interface PeerView {
  readonly node: string;
  readonly match: number;
  readonly isMember: boolean;
  readonly joining: boolean;
  readonly whole: boolean;
  /** Milliseconds of the monotonic clock. */
  readonly heardAt: number;
  /** Milliseconds for which it alone has kept the others waiting, each time for `slowMs` or longer, since it last was quicker (R6). */
  readonly heldBackMs: number;
}

export class Replica {
  readonly bucket: number;
  readonly #copy: Copy;
  readonly #lead: Lead;
  readonly #follower: Follower;
  #leader: Leader | undefined;
  #role: Role = "idle";
  #version = 0;
  #epoch = 0;

  constructor(options: ReplicaOptions) {
    this.bucket = options.bucket;
    this.#copy = new Copy(options.bucket, options.node, options.incarnation, options.copy, options.machine, options.effects, options.limits);
    this.#lead = options.lead;
    this.#follower = new Follower(this.#copy);
  }

  get role(): Role {
    return this.#role;
  }

  /** The epoch of the table's record. */
  get epoch(): number {
    return this.#epoch;
  }

  get promised(): number {
    return this.#copy.promised;
  }

  get commit(): number {
    return this.#copy.commit;
  }

  get applied(): number {
    return this.#copy.applied;
  }

  get last(): number {
    return this.#copy.log.last;
  }

  get durableTo(): number {
    return this.#copy.log.durableTo;
  }

  get floor(): number {
    return this.#copy.log.floor;
  }

  /** The Gov entry's index while it leads, else 0. */
  get govIndex(): number {
    return this.#leader?.govIndex ?? 0;
  }

  /** It leads, and admits and answers work. */
  get isOpen(): boolean {
    return this.#leader?.isOpen ?? false;
  }

  /** Its copy may be read: it leads and is open, or follows a leader that it hears and has applied what that one said (R34). */
  get isCurrent(): boolean {
    return this.#leader === undefined ? this.#role === "follower" && this.#follower.isCurrent : this.#leader.isOpen;
  }

  /** Its copy lacks neither state nor history (R22). */
  get whole(): boolean {
    return !this.#copy.incomplete;
  }

  get residentBytes(): number {
    return this.#copy.log.residentBytes;
  }

  /** While it leads: the nodes that must acknowledge although the table does not name them members yet. */
  get joining(): readonly string[] {
    return this.#leader === undefined ? [] : this.#leader.peers.filter((peer) => peer.joining).map((peer) => peer.node);
  }

  /** While it leads: what it knows of the others. */
  get peers(): readonly PeerView[] {
    return this.#leader?.peers ?? [];
  }

  /** The epoch of the entry at `index`; undefined where the log does not reach or has forgotten. */
  epochAt(index: number): number | undefined {
    return this.#copy.log.epochAt(index);
  }

  /** The entry, if it is in memory. */
  entry(index: number): Entry | undefined {
    return this.#copy.log.get(index);
  }

  /**
   * A new record of this bucket, or a change of what else the view shows. Records come in the order of the table.
   * @param wall milliseconds since 1970, for a Gov entry
   */
  table(record: Bucket, view: TableView, wall: number): void {
    assert(record.id === this.bucket && record.version >= this.#version, "a bucket's records come in order");
    this.#version = record.version;
    this.#epoch = record.epoch;
    const copy = this.#copy;
    copy.generation = record.generation;
    const isMe = ({ node, incarnation }: Member): boolean => node === copy.node && incarnation === copy.incarnation;
    const member = record.members.find(isMe);
    const learner = record.learners.find(isMe);
    const standing = member ?? learner;
    if (standing === undefined || record.state === "dark") return this.#idle();
    const leader = record.members.find(({ node }) => node === record.leader);
    assert(leader !== undefined, "a leader is a member");
    const leads = leader === member && record.epoch >= copy.promised;
    if (leads) this.#takeLead(record, view, wall);
    else this.#follow(member === undefined ? "learner" : "follower");
    if (record.epoch > copy.promised) copy.promise(record.epoch);
    this.#follower.named(member === undefined ? "learner" : "member", standing.attempt, leader);
  }

  /** @param now milliseconds of a monotonic clock, here and below */
  receive(message: PeerMessage, now: number): void {
    const copy = this.#copy;
    copy.now = now;
    if (message.bucket !== this.bucket || message.toIncarnation !== copy.incarnation || this.#role === "idle") return;
    if (this.#leader !== undefined && message.epoch > this.#leader.epoch) this.#stepDown(message.epoch); // R13
    switch (message.type) {
      case "append":
      case "snapshot":
      case "history":
        assert(message.epoch !== this.#leader?.epoch, "an epoch has one leader"); // invariant 1
        return this.#follower.receive(message);
      case "appended":
      case "refused":
      case "report":
      case "installed":
        return this.#leader?.receive(message);
    }
  }

  /** Every group up to `ticket` is durable. */
  durable(ticket: Ticket): void {
    const moved = this.#copy.log.durable(ticket);
    if (this.#leader === undefined) this.#follower.durable(ticket, moved);
    else if (moved) this.#leader.durable();
  }

  /** The answer to `effects.load`. */
  loaded(purpose: LoadPurpose, entries: readonly Entry[]): void {
    this.#copy.loaded(purpose);
    if (purpose !== "apply") this.#leader?.loaded(purpose.peer, entries);
    else if (this.#copy.applyLoaded(entries)) this.#leader?.applied();
  }

  /** The state of `effects.install` is durable. */
  installed(applied: number): void {
    this.#follower.installed(applied);
  }

  /** Only while open. Answers the entry's index; it is written at once, and sent with `flush`. */
  propose(payload: Uint8Array, wall: number): number {
    assert(this.#leader !== undefined, "only a leader admits work");
    return this.#leader.propose(payload, wall);
  }

  /** Only while open: moves the floor to `floor`, or as far as it may move; 0 when it may not (R17). */
  proposeFloor(floor: number, wall: number): number {
    assert(this.#leader !== undefined, "only a leader admits work");
    return this.#leader.proposeFloor(floor, wall);
  }

  /** Begins a round and answers its number; `lead.confirmed` tells when it is over (R34). Only while leading. */
  confirm(): number {
    assert(this.#leader !== undefined, "only a leader confirms");
    return this.#leader.confirm();
  }

  /** The end of a turn: what is new goes to the peers. */
  flush(now: number): void {
    this.#copy.now = now;
    this.#leader?.flush();
  }

  /** Time passes: the only cure for what was lost. */
  tick(now: number): void {
    this.#copy.now = now;
    if (this.#leader !== undefined) return this.#leader.tick();
    this.#copy.applyCommitted();
    this.#follower.tick();
  }

  #takeLead(record: Bucket, view: TableView, wall: number): void {
    if (this.#leader?.epoch === record.epoch) return this.#leader.update(record, view);
    this.#leader?.close();
    if (this.#copy.incomplete) this.#copy.acceptLoss(); // only ForceUnclean lets such a copy lead
    this.#role = "leader";
    this.#leader = new Leader(this.#copy, this.#lead, record, view, wall);
  }

  #idle(): void {
    this.#follow("idle");
    this.#follower.stop();
  }

  /** Leads no more. */
  #follow(role: Role): void {
    this.#leader?.close();
    this.#leader = undefined;
    this.#role = role;
  }

  /** A higher epoch was heard of: promised before anything else is done (R13). */
  #stepDown(epoch: number): void {
    this.#copy.promise(epoch);
    this.#follow("follower");
  }
}

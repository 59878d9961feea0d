// The receiving side: accepts a leader's Appends, acknowledges what is durable, and follows its commit (R13).
// A learner is a follower whose copy may need a snapshot first.

import { assert } from "../../base/assert.ts";
import type { Member } from "../table/commands.ts";
import type { Copy } from "./copy.ts";
import { Acclimation } from "./learner.ts";
import type { Message, PeerBody, PeerHeader, PeerMessage, Ticket } from "./types.ts";

interface Address {
  readonly node: string;
  readonly incarnation: number;
}

/** A copy whose leader was not heard for so long is not read any more (R34); in milliseconds, some heartbeats. */
const CURRENT_MS = 3000;

const NOBODY: Address = { node: "", incarnation: 0 };

export class Follower {
  readonly #copy: Copy;
  readonly #acclimation: Acclimation;
  /** What the table names this node; "none" answers nothing. */
  #standing: "member" | "learner" | "none" = "none";
  #attempt = 0;
  /** The leader by its own messages in this epoch, before them by the table. */
  #leader = NOBODY;
  /** The epoch for which the following hold. */
  #epoch = 0;
  /** This copy is the leader's up to here: its Appends or its snapshot have established it in this epoch. */
  #matched = 0;
  #round = 0;
  /** An acknowledgement is due once more is durable. */
  #owes = false;
  #heardAt = -Infinity;
  /** The leader's commit, as this epoch's Appends told it; -1: not yet. */
  #told = -1;

  constructor(copy: Copy) {
    this.#copy = copy;
    this.#acclimation = new Acclimation(copy);
  }

  /** The table names this node a member or a learner of the attempt. */
  named(standing: "member" | "learner", attempt: number, leader: Member): void {
    if (attempt !== this.#attempt || this.#standing === "none") this.#epoch = 0;
    this.#standing = standing;
    this.#attempt = attempt;
    if (this.#startEpoch()) this.#leader = leader;
  }

  /** A member that has applied all it was told is committed, by a leader it hears: what is read here lags by the way of one message (R34). */
  get isCurrent(): boolean {
    const { applied, now } = this.#copy;
    return this.#standing === "member" && this.#told >= 0 && applied >= this.#told && now - this.#heardAt < CURRENT_MS;
  }

  /** The table names it no more, or it leads. */
  stop(): void {
    this.#standing = "none";
    this.#owes = false;
  }

  /** A leader's message. */
  receive(message: Message<"append" | "snapshot" | "history">): void {
    if (!this.#accepts(message)) return;
    if (message.type === "append") this.#append(message);
    else if (this.#standing !== "learner") return; // a member's copy is whole: a delayed message of its acclimation
    else if (message.type === "snapshot") this.#snapshot(message);
    else this.#history(message);
  }

  #append(message: Message<"append">): void {
    const copy = this.#copy;
    const { prev, entries } = message;
    if (this.#standing === "learner" && this.#acclimation.needsSnapshot) return this.#report();
    if (!this.#joinsOn(prev, message.prevEpoch)) {
      return this.#standing === "learner" ? this.#report() : this.#refuse(message, this.#hint(prev));
    }
    for (const entry of entries) {
      if (entry.index <= copy.log.last) {
        const known = copy.log.epochAt(entry.index);
        if (known === undefined || known === entry.epoch) continue; // held already, or applied and forgotten
        if (this.#lostByForce(entry.index)) return this.#report();
        assert(entry.index > this.#matched, "within an epoch the leader's log only grows");
        copy.truncate(entry.index); // R13: on conflict truncate the suffix
      }
      copy.write(entry);
    }
    this.#matched = Math.max(this.#matched, prev + entries.length);
    this.#round = Math.max(this.#round, message.round);
    this.#told = Math.max(this.#told, message.commit);
    copy.commitTo(Math.min(message.commit, this.#matched));
    copy.applyCommitted();
    if (this.#ackable() === this.#matched) this.#acknowledge();
    else this.#owes = true;
  }

  #snapshot(message: Message<"snapshot">): void {
    const current = message.index === this.#acclimation.index;
    if (!current && this.#matched > 0 && message.index <= this.#matched) return; // delayed: it would take away what is acknowledged
    if (this.#acclimation.part(message)) {
      this.#matched = message.index;
      this.#owes = true;
    }
    this.#sendProgress();
  }

  #history(message: Message<"history">): void {
    if (message.index !== this.#acclimation.index) return;
    this.#acclimation.history(message.entries);
    this.#sendProgress();
  }

  /** @param moved whether more of the log is durable now */
  durable(ticket: Ticket, moved: boolean): void {
    const became = this.#acclimation.durable(ticket);
    if (moved || became === "restored") this.#copy.applyCommitted();
    if (this.#standing === "none") return;
    if (became === "restored") this.#sendProgress();
    if ((moved && this.#owes) || became === "whole") this.#acknowledge();
  }

  /** The driver has stored the restored state. */
  installed(applied: number): void {
    this.#acclimation.installed(applied);
  }

  /** R17: a learner that hears nothing reports. */
  tick(): void {
    const { now, limits } = this.#copy;
    if (this.#standing !== "learner" || now - this.#heardAt < limits.heartbeatMs + limits.resendMs) return;
    this.#heardAt = now;
    this.#report();
  }

  /** What every message of a leader must pass: the attempt and the epoch's fence. */
  #accepts(message: PeerMessage): boolean {
    const copy = this.#copy;
    if (this.#standing === "none" || message.attempt !== this.#attempt) return false;
    const isStale = message.epoch < copy.promised; // R13: the fence
    if (isStale) {
      this.#refuse(message, 0);
      return false;
    }
    if (message.epoch > copy.promised) copy.promise(message.epoch); // R13: before acting or answering
    this.#startEpoch();
    this.#leader = { node: message.from, incarnation: message.fromIncarnation };
    this.#heardAt = copy.now;
    return true;
  }

  /** What was matched and asked in another epoch counts no more. */
  #startEpoch(): boolean {
    if (this.#epoch === this.#copy.promised) return false;
    this.#epoch = this.#copy.promised;
    this.#matched = 0;
    this.#round = 0;
    this.#owes = false;
    this.#heardAt = -Infinity;
    this.#told = -1;
    this.#acclimation.startEpoch();
    return true;
  }

  #joinsOn(prev: number, prevEpoch: number): boolean {
    const { log } = this.#copy;
    if (prev <= this.#matched) return true;
    if (this.#standing === "member" && prev < log.floor) return true; // committed; a learner may come from before a loss (R9)
    return log.epochAt(prev) === prevEpoch; // R13: prev must match
  }

  /** R13: the last index before the conflicting epoch; what is committed never conflicts. */
  #hint(prev: number): number {
    const { log, commit } = this.#copy;
    if (prev > log.last) return log.last;
    return Math.max(log.firstOfEpochAt(prev) - 1, Math.min(commit, prev - 1));
  }

  /** An operator accepted a loss (R9): what this learner holds as committed is no more, so it needs a snapshot. */
  #lostByForce(index: number): boolean {
    const copy = this.#copy;
    if (index > copy.commit || copy.generation === 0 || this.#standing !== "learner") return false;
    copy.incomplete = true;
    copy.effects.mark(copy.bucket, true);
    return true;
  }

  #ackable(): number {
    return Math.min(this.#matched, this.#copy.log.durableTo); // R13: what matched and is durable, never the log's end
  }

  #acknowledge(): void {
    const { bucket, node, incarnation, promised, incomplete, effects } = this.#copy;
    const match = this.#ackable();
    this.#owes = match < this.#matched;
    effects.send(this.#leader.node, {
      bucket, from: node, fromIncarnation: incarnation, toIncarnation: this.#leader.incarnation, epoch: promised, attempt: this.#attempt,
      type: "appended", match, whole: !incomplete, round: this.#round,
    });
  }

  #refuse(message: PeerMessage, hint: number): void {
    const { promised } = this.#copy;
    const round = message.type === "append" && message.epoch === promised ? message.round : 0;
    this.#send({ type: "refused", promised, hint, round }, { node: message.from, incarnation: message.fromIncarnation });
  }

  /** R17: what this learner has. */
  #report(): void {
    const { log, incomplete } = this.#copy;
    const { epochs, floor, base, last } = log;
    this.#send({ type: "report", epochs: epochs.slice(), floor, base, last, whole: !incomplete }, this.#leader);
  }

  #sendProgress(): void {
    const progress = this.#acclimation.progress();
    if (progress !== undefined) this.#send({ type: "installed", ...progress }, this.#leader);
  }

  #send(body: PeerBody, to: Address): void {
    const { bucket, node, incarnation, promised } = this.#copy;
    const sender = { bucket, from: node, fromIncarnation: incarnation, attempt: this.#attempt };
    const header: PeerHeader = { ...sender, toIncarnation: to.incarnation, epoch: promised };
    this.#copy.effects.send(to.node, { ...header, ...body });
  }
}

// The leading side: Gov at usurp, the commit over all members, acclimation of learners, and the proposals a leader makes (R14–R18, R34).

import { assert } from "../../base/assert.ts";
import { ENTRY_KIND, type Entry, type EntryKind } from "../entry.ts";
import { PLAN_STEP, type Bucket, type Member } from "../table/commands.ts";
import { writeFloor, type Copy } from "./copy.ts";
import { commonIndex } from "./log.ts";
import { Peer, type Leadership } from "./peer.ts";
import { Snapshot } from "./snapshot.ts";
import type { Lead, Message, TableView } from "./types.ts";

const NO_PAYLOAD = new Uint8Array(0);

export class Leader implements Leadership {
  readonly copy: Copy;
  readonly epoch: number;
  /** The index of this epoch's Gov entry: nothing below it commits by counting (R14). */
  readonly govIndex: number;
  peers: Peer[] = [];
  /** Gov is committed and applied: work is admitted and answered. */
  isOpen = false;
  round = 0;
  #confirmed = 0;
  readonly #lead: Lead;
  #record: Bucket;
  #view: TableView;
  #retireAt = -Infinity;

  /** R16: every takeover. The whole tail stays. */
  constructor(copy: Copy, lead: Lead, record: Bucket, view: TableView, wall: number) {
    assert(record.epoch > copy.log.lastEpoch, "nobody has led this epoch before"); // invariant 1
    this.copy = copy;
    this.epoch = record.epoch;
    this.#lead = lead;
    this.#record = record;
    this.#view = view;
    copy.promise(record.epoch); // R16: promise, then append Gov
    this.#setPeers();
    this.govIndex = this.#append(ENTRY_KIND.gov, NO_PAYLOAD, wall);
  }

  /** A new record or view of the same epoch. */
  update(record: Bucket, view: TableView): void {
    this.#record = record;
    this.#view = view;
    this.#setPeers();
    this.#advance();
    this.#retire();
  }

  propose(payload: Uint8Array, wall: number): number {
    assert(this.isOpen, "only an open leader admits work"); // R16
    return this.#append(ENTRY_KIND.machine, payload, wall);
  }

  /** Moves the floor to `floor`, or as far as what is applied and what a learner needs allow. Answers the entry's index, or 0. */
  proposeFloor(floor: number, wall: number): number {
    assert(this.isOpen, "only an open leader admits work");
    let to = Math.min(floor, this.copy.applied);
    for (const peer of this.peers) if (!peer.isMember) to = Math.min(to, peer.needsFrom); // R17: pinned
    if (to <= this.copy.log.floor) return 0;
    return this.#append(ENTRY_KIND.floor, writeFloor(to), wall);
  }

  confirm(): number {
    this.round += 1;
    return this.round;
  }

  flush(): void {
    for (const peer of this.peers) peer.flush();
    this.#settleRounds();
  }

  tick(): void {
    for (const peer of this.peers) {
      if (peer.snapshot === undefined) peer.tick();
      else this.#feed(peer, peer.snapshot);
      if (!peer.isMember) this.#resolve(peer);
    }
    this.#retire();
    this.#advance();
    this.#settleRounds();
    this.#watchLags();
  }

  durable(): void {
    this.#advance();
  }

  /** More was applied. */
  applied(): void {
    this.#open();
    if (this.isOpen) this.#lead.appliedTo(this.copy.applied);
  }

  #open(): void {
    if (this.isOpen) return;
    if (this.copy.applied < this.govIndex) return; // R16: when Gov is committed, then answer
    this.isOpen = true;
    this.#lead.opened(this.epoch);
    this.#retire();
  }

  /** Told also when it never opened: what waited for the opening is answered too. */
  close(): void {
    this.isOpen = false;
    this.#lead.closed();
  }

  /** An answer of a peer to this epoch. */
  receive(message: Message<"appended" | "refused" | "report" | "installed">): void {
    if (message.epoch !== this.epoch) return; // R14: an ack counts only with the leader's own epoch
    const peer = this.peers.find(({ node }) => node === message.from);
    if (peer === undefined) return;
    if (message.fromIncarnation !== peer.incarnation) return; // R14: and the recorded incarnation
    if (message.attempt !== peer.attempt) return; // R14: and attempt
    peer.heardAt = this.copy.now;
    switch (message.type) {
      case "appended":
        return this.#appended(peer, message);
      case "refused":
        return this.#refused(peer, message);
      case "report":
        return this.#reported(peer, message);
      case "installed":
        return this.#installed(peer, message);
    }
  }

  loaded(node: string, entries: readonly Entry[]): void {
    const peer = this.peers.find((candidate) => candidate.node === node);
    // The log may have changed between the question and the answer.
    const current = entries.filter(({ index, epoch }) => this.copy.log.epochAt(index) === epoch);
    if (peer?.snapshot === undefined) peer?.loaded(current);
    else peer.snapshot.loaded(current);
  }

  #append(kind: EntryKind, payload: Uint8Array, wall: number): number {
    const { log } = this.copy;
    const index = log.last + 1;
    const time = Math.max(wall, log.lastTime); // R32: time never falls
    this.copy.write({ index, epoch: this.epoch, kind, time, payload });
    return index;
  }

  #advance(): void {
    this.copy.commitTo(this.#committable());
    if (this.copy.applyCommitted()) this.applied();
    else this.#open();
  }

  /** R14: the least durable match over all that must acknowledge; 0 while nothing may commit. */
  #committable(): number {
    let least = this.copy.log.durableTo; // R14: its own included
    for (const peer of this.peers) {
      const counts = peer.isMember || peer.joining; // R14: the members, and who joins
      if (counts && peer.match < least) least = peer.match;
    }
    if (least < this.govIndex) return 0; // R14: only from Gov on
    if (this.#record.members.length < this.#view.minCopies) return 0; // R14: joining is not counted
    return least;
  }

  /** R6, R15: a member that alone keeps the others waiting is reported, by `heldBackMs`. */
  #watchLags(): void {
    const { log, now } = this.copy;
    for (const peer of this.peers) {
      if (!peer.isMember) continue;
      let others = log.durableTo;
      for (const other of this.peers) if (other.isMember && other !== peer && other.match < others) others = other.match;
      peer.lag.look(peer.match, others, log.last, now);
    }
  }

  #appended(peer: Peer, message: Message<"appended">): void {
    assert(message.match <= this.copy.log.last, "nobody holds more of this epoch than its leader");
    peer.round = Math.max(peer.round, message.round);
    if (message.whole && message.match >= peer.wholeFrom) { // R17: not if a newer snapshot has since taken its place
      peer.whole = true;
      if (peer.snapshot !== undefined) peer.restart(message.match + 1); // the answer to the last of its history was lost
    }
    peer.acknowledged(message.match);
    if (peer.whole && peer.match === this.copy.log.last) peer.movedAt = this.copy.now;
    this.#advance();
    if (!peer.isMember) this.#resolve(peer);
    this.#settleRounds();
  }

  #refused(peer: Peer, message: Message<"refused">): void {
    peer.round = Math.max(peer.round, message.round);
    peer.refused(Math.max(message.hint, this.#surelyHeld(peer)) + 1);
    this.#settleRounds();
  }

  /** R17: a match, or a snapshot. */
  #reported(peer: Peer, message: Message<"report">): void {
    const { log } = this.copy;
    if (peer.snapshot !== undefined || message.last < peer.match) return; // delayed: it has acknowledged more since
    const common = commonIndex(log.epochs, log.last, message.epochs, message.last);
    if (peer.isMember) return peer.refused(Math.max(common, this.#surelyHeld(peer)) + 1);
    const retained = common >= log.floor || (common === 0 && log.floor === 1);
    if (message.whole && message.floor <= log.floor && retained) {
      if (peer.phase === "unknown" || common + 1 < peer.next) peer.restart(Math.max(common, peer.match) + 1);
      return;
    }
    if (peer.joining || (peer.whole && !message.whole)) return; // delayed: it has acknowledged a whole copy since
    const hasState = this.copy.applied >= log.floor - 1 && log.epochAt(this.copy.applied) !== undefined;
    if (hasState) this.#startSnapshot(peer); // else the log is being replayed; it reports again
  }

  #startSnapshot(peer: Peer): void {
    peer.phase = "acclimating";
    peer.whole = false;
    peer.snapshot = new Snapshot(this.copy, peer);
    peer.wholeFrom = peer.snapshot.index;
    peer.snapshot.send();
  }

  #installed(peer: Peer, message: Message<"installed">): void {
    const { snapshot } = peer;
    if (snapshot === undefined || message.index !== snapshot.index) return;
    snapshot.progress(message);
    if (snapshot.isDone) peer.restart(snapshot.index + 1); // R17: the tail from s + 1
  }

  /** An entry in the tail may have moved the floor past what is being sent: then anew. */
  #feed(peer: Peer, snapshot: Snapshot): void {
    if (snapshot.floor < this.copy.log.floor) this.#startSnapshot(peer);
    else snapshot.tick();
  }

  /** What of a member's log needs no question: everything committed is on every member. */
  #surelyHeld(peer: Peer): number {
    return peer.isMember ? Math.max(peer.match, this.copy.commit) : peer.match;
  }

  /** R17: a learner that is near joins and is promoted; one that comes no further is dropped. */
  #resolve(peer: Peer): void {
    const { now, limits } = this.copy;
    if (!peer.joining && this.#isNear(peer)) peer.joining = true; // R17: before Promote is proposed
    if (now - peer.proposedAt < limits.resendMs) return;
    if (now - peer.movedAt >= limits.acclimationMs) {
      peer.proposedAt = now;
      this.copy.effects.propose({ type: "dropLearner", bucket: this.copy.bucket, node: peer.node, attempt: peer.attempt });
    } else if (peer.joining && this.#record.state === "on") {
      peer.proposedAt = now;
      const { node, attempt, incarnation } = peer;
      this.copy.effects.propose({ type: "promote", bucket: this.copy.bucket, epoch: this.epoch, node, attempt, incarnation });
    }
  }

  #isNear(peer: Peer): boolean {
    const { commit, log, limits } = this.copy;
    if (!peer.whole) return false; // R17: history whole
    if (peer.match < commit) return false; // R17: match ≥ commit
    if (peer.match < this.govIndex) return false; // R17: match ≥ govIndex
    return log.last - peer.match <= limits.nearEntries;
  }

  /** R8: after the barrier, who is not wanted any more leaves. */
  #retire(): void {
    const { now, limits, bucket, node } = this.copy;
    const { plan, minCopies } = this.#view;
    if (!this.isOpen || plan === undefined || plan.step !== PLAN_STEP.leave) return; // R8: once Gov is committed
    if (now - this.#retireAt < limits.resendMs) return;
    const stay = this.#record.members.filter((member) => plan.target.includes(member.node) || member.node === node);
    if (stay.length < Math.max(1, minCopies)) return; // R8: never below minCopies
    const nodes = this.#record.members.filter((member) => !stay.includes(member)).map((member) => member.node);
    this.#retireAt = now;
    this.copy.effects.propose({ type: "retire", bucket, epoch: this.epoch, nodes, series: plan.series, step: plan.step });
  }

  /** R34: a round is over when every member has acknowledged this epoch after it began. */
  #settleRounds(): void {
    if (!this.isOpen || this.#confirmed === this.round) return;
    let least = this.round;
    for (const peer of this.peers) if (peer.isMember) least = Math.min(least, peer.round); // R34: every member
    if (least <= this.#confirmed) return;
    this.#confirmed = least;
    this.#lead.confirmed(least);
  }

  /** Members and learners of the record; who is the same under the same incarnation and attempt keeps what is known of it. */
  #setPeers(): void {
    const { members, learners } = this.#record;
    const before = this.peers;
    const peerOf = (member: Member): Peer =>
      before.find((peer) => peer.node === member.node && peer.incarnation === member.incarnation && peer.attempt === member.attempt) ??
      new Peer(this, member, this.copy.log.last + 1);
    const asMembers = members.filter(({ node }) => node !== this.copy.node).map(peerOf);
    const asLearners = learners.map(peerOf);
    for (const peer of asMembers) {
      if (!peer.isMember && peer.phase === "unknown") peer.restart(this.copy.log.last + 1); // R16: probe the members
      peer.isMember = true;
      peer.joining = false; // R17: the table shows the attempt resolved
    }
    this.peers = [...asMembers, ...asLearners];
  }
}

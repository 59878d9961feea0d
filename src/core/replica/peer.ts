// What a leader knows of one member or learner, and the Appends it sends it (R12):
// one probe until the logs are known to join, then a stream within a window.

import { Ring } from "../../base/ring.ts";
import type { Entry } from "../entry.ts";
import type { Member } from "../table/commands.ts";
import type { Copy } from "./copy.ts";
import { Lag } from "./lag.ts";
import { entryBytes } from "./resident.ts";
import type { Snapshot } from "./snapshot.ts";
import type { PeerBody } from "./types.ts";

/** What a leader and its peers share. */
export interface Leadership {
  readonly copy: Copy;
  readonly epoch: number;
  /** The newest confirmation round (R34). */
  readonly round: number;
}

export class Peer {
  readonly node: string;
  readonly incarnation: number;
  readonly attempt: number;
  isMember = false;
  /** It must acknowledge as a member must, from before Promote is proposed until the table shows what became of it (R17). */
  joining = false;
  /** "unknown": where its log joins on is not known · "acclimating": it gets a snapshot and history ·
   * "probe": one Append is out to find where · "stream". */
  phase: "unknown" | "acclimating" | "probe" | "stream" = "unknown";
  /** Durable on the peer up to here, by its acknowledgements in this epoch. */
  match = 0;
  /** Its copy lacks nothing: state and history. */
  whole = false;
  /** Index of the newest snapshot it was sent: whoever acknowledges less speaks of a copy before it. */
  wholeFrom = 0;
  /** The newest round it acknowledged. */
  round = 0;
  heardAt: number;
  /** When it last came further; a learner that does not is dropped. */
  movedAt: number;
  proposedAt = -Infinity;
  /** How long it has kept the others waiting. */
  readonly lag: Lag;
  /** What it is sent while it acclimates. */
  snapshot: Snapshot | undefined;
  /** The next index to send. */
  #next: number;
  /** Where the probe, or the stream after it, began. */
  #from: number;
  /** A probe is out. */
  #probing = false;
  #sentAt = -Infinity;
  #sentRound = 0;
  #sentCommit = 0;
  /** Appends sent and not acknowledged: the index each ends at, and its bytes. */
  readonly #inflight = new Ring<{ readonly end: number; readonly bytes: number }>();
  #inflightBytes = 0;
  readonly #leadership: Leadership;

  constructor(leadership: Leadership, member: Member, next: number) {
    this.#leadership = leadership;
    this.node = member.node;
    this.incarnation = member.incarnation;
    this.attempt = member.attempt;
    this.#next = next;
    this.#from = next;
    this.lag = new Lag(leadership.copy.limits.slowMs);
    this.heardAt = leadership.copy.now;
    this.movedAt = leadership.copy.now;
  }

  get next(): number {
    return this.#next;
  }

  get heldBackMs(): number {
    return this.lag.heldBackMs;
  }

  /** The least index that must stay retained for it, as long as it is a learner (R17). */
  get needsFrom(): number {
    if (this.phase === "unknown") return Infinity;
    return this.snapshot === undefined ? Math.max(this.match, this.#from - 1) : this.snapshot.floor;
  }

  /** Everything new, as far as the window allows. */
  flush(): void {
    const { copy, round } = this.#leadership;
    if (this.phase === "unknown" && this.#sentAt === -Infinity) this.ask();
    if (this.phase === "probe" && !this.#probing) this.#sendNext();
    while (this.phase === "stream" && this.#next <= copy.log.last && this.#inflightBytes < copy.limits.inflightBytes && this.#sendNext());
    if (this.phase === "stream" && this.#sentRound < round) this.#append(NO_ENTRIES); // R34
  }

  tick(): void {
    const { now, limits, commit } = this.#leadership.copy;
    const silent = now - Math.max(this.#sentAt, this.heardAt) >= limits.resendMs;
    if (this.phase === "unknown") {
      if (silent) this.ask();
      return;
    }
    if (this.phase === "acclimating") return;
    if (silent && (this.#probing || this.match < this.#next - 1)) {
      this.restart(this.#probing ? this.#from : Math.max(this.match + 1, this.#from));
      return this.#append(NO_ENTRIES); // no more than a question, as long as nobody answers
    }
    this.flush();
    if (this.phase !== "stream") return;
    const untold = this.#sentCommit < commit; // R14: commit rides the next Append, or an idle tick
    if (untold || now - this.#sentAt >= limits.heartbeatMs) this.#append(NO_ENTRIES);
  }

  /** An empty Append at the log's end: a learner that does not join on there reports, a member refuses with a hint. */
  ask(): void {
    this.phase = "unknown";
    this.#next = this.#leadership.copy.log.last + 1;
    this.#from = this.#next;
    this.#append(NO_ENTRIES);
  }

  /** It does not join on where it was thought to; from `next` on it may. */
  refused(next: number): void {
    const stale = next >= (this.phase === "probe" ? this.#from : this.#next);
    if (this.phase === "acclimating" || stale) return;
    this.restart(next);
  }

  /** Sends from `next` on, and waits for the answer before it streams. */
  restart(next: number): void {
    this.phase = "probe";
    this.snapshot = undefined;
    this.#next = next;
    this.#from = next;
    this.#probing = false;
    this.#inflight.clear();
    this.#inflightBytes = 0;
  }

  /** R14: it has everything up to `match`, durably. */
  acknowledged(match: number): void {
    if (this.phase === "probe" || this.phase === "unknown") {
      this.phase = "stream";
      this.#probing = false;
    }
    if (match <= this.match) return;
    this.match = match;
    this.movedAt = this.#leadership.copy.now;
    this.#next = Math.max(this.#next, match + 1);
    let oldest = this.#inflight.first();
    while (oldest !== undefined && oldest.end <= match) {
      this.#inflightBytes -= oldest.bytes;
      this.#inflight.shift();
      oldest = this.#inflight.first();
    }
  }

  /** Entries of its tail that were not in memory; they are gone when there are none. */
  loaded(entries: readonly Entry[]): void {
    const { log } = this.#leadership.copy;
    if (this.phase !== "stream" && (this.phase !== "probe" || this.#probing)) return;
    if (entries.length === 0 || this.#next < log.floor) return this.ask();
    const wanted = entries.filter((entry, i) => entry.index === this.#next + i); // what it needs may have changed since the question
    if (wanted.length > 0) this.#append(wanted);
    this.flush();
  }

  send(body: PeerBody): void {
    const { copy, epoch } = this.#leadership;
    const { bucket, node, incarnation } = copy;
    const header = { bucket, from: node, fromIncarnation: incarnation, toIncarnation: this.incarnation, epoch, attempt: this.attempt };
    this.#sentAt = copy.now;
    copy.effects.send(this.node, { ...header, ...body });
  }

  /** One Append from `next` on. Answers false when its entries have to be loaded first. */
  #sendNext(): boolean {
    const { copy } = this.#leadership;
    const { log, limits } = copy;
    if (this.#next < log.floor) return this.ask(), false; // what it needs is forgotten
    if (this.#next <= log.last && !log.isResident(this.#next)) {
      copy.load({ peer: this.node }, this.#next, log.last);
      return false;
    }
    this.#append(log.batch(this.#next, limits.appendBytes));
    return true;
  }

  #append(entries: readonly Entry[]): void {
    const { copy, round } = this.#leadership;
    const prev = this.#next - 1;
    const prevEpoch = copy.log.epochAt(prev);
    if (prevEpoch === undefined) return this.ask(); // the floor has passed it
    const { bucket, node, incarnation, commit } = copy;
    this.#sentAt = copy.now;
    // Written out, as every frequent message: measured, a spread takes several times as long.
    copy.effects.send(this.node, {
      bucket, from: node, fromIncarnation: incarnation, toIncarnation: this.incarnation, epoch: this.#leadership.epoch, attempt: this.attempt,
      type: "append", prev, prevEpoch, entries, commit, round,
    });
    this.#sentRound = round;
    this.#sentCommit = commit;
    if (this.phase === "probe") this.#probing = true;
    if (entries.length === 0) return;
    this.#next += entries.length;
    const bytes = entries.reduce((sum, entry) => sum + entryBytes(entry), 0);
    this.#inflight.push({ end: this.#next - 1, bytes });
    this.#inflightBytes += bytes;
  }
}

const NO_ENTRIES: readonly Entry[] = [];

// Whom a node holds to be gone (R6). Time-outs may be as small as one likes: safety never rests on them.

import type { Table } from "./table.ts";

export interface SuspicionSettings {
  /** Silence after which a peer is suspected, in ms. */
  readonly suspicionMs: number;
  /** Silence that is enough where the link to the peer was closed and has not come back, in ms: the hint of a process that ended (R6). */
  readonly hintedMs: number;
  /** Silence that a new incarnation is granted before it is heard for the first time, in ms: it reads its log and makes its links. One that follows a departure is granted it for as long: it catches up. */
  readonly greetingMs: number;
  /** Silence after which one node's own suspicion is enough, in ms: so a cut between two nodes that everyone else hears ends too. */
  readonly loneSuspicionMs: number;
  /** Milliseconds for which a member may alone keep the others waiting, again and again, before it departs; doubled by each departure like a silence. */
  readonly slowForMs: number;
  /** A departure counts against its node for this long, in ms; each doubles the silence that it takes. */
  readonly dampingMs: number;
}

/** Departures that double the silence, at most. */
const DAMPING_MAX = 5;
/** A pause of the own loop that is as long as this share of `suspicionMs` is no silence of others: what they said waits in the own sockets. */
const PAUSE_SHARE = 0.1;
/** A pause of this share says that what was heard before it says nothing any more. */
const STALL_SHARE = 0.5;
/** A peer is given so many times the longest silence that it has lately broken, or the longest pause of the own loop (they may share a machine); at most so many times `suspicionMs`. */
const SLOW_FACTOR = 2;
/** Such a time counts half after so many milliseconds. */
const SLOW_HALF_LIFE_MS = 10_000;

/** How slow somebody has been. */
interface Slowness {
  /** The longest time in ms, as much as it counted at `at`. */
  readonly ms: number;
  readonly at: number;
}

const NEVER_SLOW: Slowness = { ms: 0, at: 0 };

interface Peer {
  incarnation: number;
  /** It was registered before this node. */
  isElder: boolean;
  /** It is a member of a bucket. */
  holdsCopies: boolean;
  /** When this incarnation was first seen. */
  since: number;
  heardAt: number;
  /** What the own loop had paused by then. */
  pausedThenMs: number;
  /** The silences that it has broken. */
  slow: Slowness;
  /** Whom it suspected when last heard. */
  suspects: readonly string[];
  /** This incarnation was heard. */
  isKnown: boolean;
  /** The link to it was closed, and it was not heard since. */
  linkLost: boolean;
  departed: boolean;
  departures: number;
  departedAt: number;
}

export class Suspicion {
  readonly #self: string;
  readonly #settings: SuspicionSettings;
  readonly #peers = new Map<string, Peer>();
  /** Milliseconds for which the own loop has paused, in all. */
  #pausedMs = 0;
  /** Its pauses. */
  #slow = NEVER_SLOW;
  #holdsCopies = false;
  /** Silence before this moment says nothing: the own loop stalled, or the own lease was not renewed. */
  #awakeSince = 0;

  constructor(self: string, settings: SuspicionSettings) {
    this.#self = self;
    this.#settings = settings;
  }

  /** A new incarnation begins unsuspected; a departure is remembered against its node. */
  table(table: Table, now: number): void {
    const holders = new Set(table.buckets.flatMap(({ members }) => members.map(({ node }) => node)));
    this.#holdsCopies = holders.has(this.#self);
    const ownRegistered = table.nodes.get(this.#self)?.registered ?? 0;
    for (const node of table.nodes.values()) {
      if (node.id === this.#self) continue;
      let peer = this.#peers.get(node.id);
      if (peer === undefined) {
        peer = {
          incarnation: 0, isElder: false, holdsCopies: false, since: now, heardAt: now, pausedThenMs: this.#pausedMs, slow: NEVER_SLOW,
          suspects: [], isKnown: false, linkLost: false, departed: false, departures: 0, departedAt: 0,
        };
        this.#peers.set(node.id, peer);
      }
      if (node.incarnation !== peer.incarnation) {
        peer.incarnation = node.incarnation;
        peer.since = now;
        peer.heardAt = now;
        peer.pausedThenMs = this.#pausedMs;
        peer.slow = NEVER_SLOW;
        peer.suspects = [];
        peer.isKnown = false;
        peer.linkLost = false;
      }
      peer.isElder = node.registered < ownRegistered;
      peer.holdsCopies = holders.has(node.id);
      const departed = node.state === "departed";
      if (departed && !peer.departed) {
        peer.departures = Math.min(DAMPING_MAX, this.#departures(peer, now) + 1);
        peer.departedAt = now;
      }
      peer.departed = departed;
    }
  }

  /** Its beat, with those whom it suspects. */
  heard(from: string, suspects: readonly string[], now: number): void {
    const peer = this.#peers.get(from);
    if (peer === undefined) return;
    peer.suspects = suspects;
    this.signOfLife(from, now);
  }

  /** Anything came from it, a beat or not. */
  signOfLife(from: string, now: number): void {
    const peer = this.#peers.get(from);
    if (peer === undefined) return;
    if (peer.isKnown) peer.slow = this.#slower(peer.slow, this.#silence(from, now), now);
    peer.heardAt = now;
    peer.pausedThenMs = this.#pausedMs;
    peer.isKnown = true;
    peer.linkLost = false;
  }

  /** R6: over a time in which its own loop stalled a node suspects nobody. */
  paused(ms: number, now: number): void {
    const { suspicionMs } = this.#settings;
    if (ms < suspicionMs * PAUSE_SHARE) return;
    this.#pausedMs += ms;
    this.#slow = this.#slower(this.#slow, ms, now);
    if (ms >= suspicionMs * STALL_SHARE) this.restart(now);
  }

  /** R6: a closed link is a hint. */
  linkLost(node: string): void {
    const peer = this.#peers.get(node);
    if (peer !== undefined) peer.linkLost = true;
  }

  /** R6: over a time in which its own lease was not renewed a node suspects nobody. */
  restart(now: number): void {
    this.#awakeSince = now;
  }

  /** Has this node been awake, and that incarnation been there, for long enough that a lease gone says something? The last reading of the leases may be older than its own. */
  mayBeGone(node: string, now: number): boolean {
    const peer = this.#peers.get(node);
    return peer !== undefined && now - Math.max(this.#awakeSince, peer.since) >= this.#settings.greetingMs;
  }

  /** The live peers that were silent for too long, whoever's fault it is. */
  silent(now: number): string[] {
    return [...this.#peers.keys()].filter((node) => this.#isSilent(node, now));
  }

  /** The live peers that this node suspects; told to its peers with every beat. */
  suspects(now: number): string[] {
    return this.#mayAccuse(now) ? this.silent(now) : [];
  }

  /** This incarnation of a peer has been heard. */
  hasHeard(node: string): boolean {
    return this.#peers.get(node)?.isKnown === true;
  }

  /** The suspects whom enough nodes suspect: two at least, or this one where there is no third, or this one alone for long. */
  accused(now: number): string[] {
    return this.suspects(now).filter((node) => {
      const peer = this.#peers.get(node)!;
      const others = [...this.#peers].filter(([other, { departed, holdsCopies, isKnown }]) => other !== node && !departed && (holdsCopies || isKnown));
      if (others.some(([other, { suspects }]) => suspects.includes(node) && !this.#isSilent(other, now))) return true; // R6: several peers' suspicion
      if (!peer.isKnown && peer.isElder) return false; // R6: of two that never heard each other, the later one gives way
      return others.length === 0 || this.#silence(node, now) >= this.#patience(node, now, Math.max(this.#settings.loneSuspicionMs, this.#shortest(node, now)));
    });
  }

  /** It has kept the others of a bucket waiting for so long that it should depart and come back as a learner. */
  isTooSlow(node: string, heldBackMs: number, now: number): boolean {
    const peer = this.#peers.get(node);
    if (peer === undefined || !peer.isKnown || this.#isBack(peer, now)) return false;
    return heldBackMs >= this.#patience(node, now, this.#settings.slowForMs);
  }

  /**
   * R6: who hears fewer than half of the nodes that hold copies, itself counted, or is suspected by most of those that it hears,
   * is more probably the one that is cut off.
   */
  #mayAccuse(now: number): boolean {
    const holders = [...this.#peers].filter(([, { departed, holdsCopies }]) => holdsCopies && !departed);
    const heard = holders.filter(([node, { isKnown }]) => isKnown && !this.#isSilent(node, now));
    const own = this.#holdsCopies ? 1 : 0;
    if (2 * (heard.length + own) < holders.length + own) return false;
    return 2 * heard.filter(([, { suspects }]) => suspects.includes(this.#self)).length <= heard.length;
  }

  #isSilent(node: string, now: number): boolean {
    const peer = this.#peers.get(node)!;
    return !peer.departed && this.#silence(node, now) >= this.#patience(node, now, this.#shortest(node, now));
  }

  /** The silence that makes a suspect of it, in ms. */
  #shortest(node: string, now: number): number {
    const { suspicionMs, hintedMs, greetingMs } = this.#settings;
    const peer = this.#peers.get(node)!;
    if (peer.isKnown && peer.linkLost) return hintedMs;
    if (!peer.isKnown || this.#isBack(peer, now)) return greetingMs;
    return Math.max(suspicionMs, SLOW_FACTOR * countsNow(peer.slow, now), SLOW_FACTOR * countsNow(this.#slow, now));
  }

  /** It has just come back from a departure: it is not ended again for being slow. */
  #isBack(peer: Peer, now: number): boolean {
    return this.#departures(peer, now) > 0 && now - peer.since < this.#settings.greetingMs;
  }

  #silence(node: string, now: number): number {
    const { heardAt, pausedThenMs } = this.#peers.get(node)!;
    const pausedMs = Math.min(this.#pausedMs - pausedThenMs, SLOW_FACTOR * this.#settings.suspicionMs); // a loop that pauses for ever must not keep a lost node
    return now - Math.max(heardAt + pausedMs, this.#awakeSince);
  }

  #slower(before: Slowness, ms: number, now: number): Slowness {
    return { ms: Math.max(Math.min(ms, this.#settings.suspicionMs), countsNow(before, now)), at: now };
  }

  /** R6: a suspect that is suspected again and again is damped. */
  #patience(node: string, now: number, ms: number): number {
    return ms * 2 ** this.#departures(this.#peers.get(node)!, now);
  }

  #departures(peer: Peer, now: number): number {
    return now - peer.departedAt < this.#settings.dampingMs ? peer.departures : 0;
  }
}

/** In ms. */
function countsNow({ ms, at }: Slowness, now: number): number {
  return ms * 0.5 ** ((now - at) / SLOW_HALF_LIFE_MS);
}

// One device socket's line to its bucket's leader: the backlog, and the state of its attachment (R29).
// Invariant: acked ≤ sent ≤ taken, and the backlog holds exactly the numbers acked + 1 … taken, in order.

import { assert } from "../../base/assert.ts";
import type { ErrorCode } from "../../base/errors.ts";
import type { HopAnswer, PublishKind } from "../hop.ts";
import type { DeviceLine, DeviceSocket, Hello } from "./types.ts";

/** A frame as the device sent it, kept until its ACK. */
export interface Frame {
  /** The frame taken after it, while both wait. */
  next: Frame | undefined;
  readonly kind: PublishKind;
  readonly code: ErrorCode | undefined;
  readonly bytes: Uint8Array;
  readonly start: number;
  readonly end: number;
}

/** What a line asks of its gateway. */
export interface LineKeeper {
  readonly windowBytes: number;
  /** Sends one frame to the leader the line is attached to. */
  forward(line: Line, series: number, frame: Frame): void;
  /** The line needs an attachment: it has something to say and none is current. */
  attach(line: Line): void;
  /** The socket wants an ACK at the end of the turn. */
  acknowledge(line: Line): void;
  received(line: Line): void;
  closed(line: Line): void;
}

export class Line implements DeviceLine {
  // What every publish and ACK touches stands in front: a line in a hundred thousand is cold, and comes from memory by the cache line.

  /** `asking`: a question is out or due; `idle`: welcomed, but not attached at the present leader, and nothing to say. */
  state: "asking" | "attached" | "idle" | "closed" = "asking";
  welcomed = false;
  window = 0;
  /** Greatest number taken from the socket, still to be acknowledged or not. */
  taken = 0;
  sent = 0;
  acked = 0;
  /** Greatest number the socket ever gave; above `taken` only after a REFUSE gave numbers back. */
  given = 0;
  /** The backlog is a list: most lines have nothing in flight, and then hold nothing for it. */
  #oldest: Frame | undefined = undefined;
  #newest: Frame | undefined = undefined;
  backlogBytes = 0;
  readonly #keeper: LineKeeper;
  readonly bucket: number;
  /** The leader it is attached at, and its epoch. */
  leader = "";
  epoch = 0;
  handle = 0;
  ackDue = false;
  readonly socket: DeviceSocket;

  readonly hello: Hello;
  session = 0;
  attachment = 0;
  generation = 0;
  delivered = 0;
  handled = 0;
  /** Number of the question that is out, 0 for none; when to ask (again) by the node's clock; since when it has waited; questions asked since its route changed. */
  question = 0;
  askAt = 0;
  waitingSince = 0;
  tries = 0;
  /** The device was told to send nothing for now. */
  heldBack = false;
  /** Questions that went out and are not settled: each may have been admitted. */
  unsettled = 0;
  /** `acked` as the last sweep saw it while a backlog waited, −1 while none did; and the sweeps since in which nothing moved. */
  waitedAtSweep = -1;
  stalledSweeps = 0;
  /** The number last refused to the device as a gap: one REFUSE a gap, not one a frame. */
  refusedAt = 0;

  constructor(keeper: LineKeeper, socket: DeviceSocket, hello: Hello, bucket: number) {
    this.#keeper = keeper;
    this.socket = socket;
    this.hello = hello;
    this.bucket = bucket;
  }

  get waiting(): { readonly messages: number; readonly bytes: number } {
    return { messages: this.backlog, bytes: this.backlogBytes };
  }

  /** Messages in the backlog. */
  get backlog(): number {
    return this.taken - this.acked;
  }

  publish(series: number, kind: PublishKind, bytes: Uint8Array, start: number, end: number, code?: ErrorCode): void {
    if (this.state === "closed") return;
    if (!this.welcomed) {
      this.end("protocol", "PUBLISH came before WELCOME.", 0);
      return;
    }
    const expected = this.taken + 1;
    if (series !== expected) {
      this.#outOfOrder(series, expected);
      return;
    }
    if (this.backlog >= this.window || this.backlogBytes >= this.#keeper.windowBytes) {
      this.#refuse(expected, "no_credit");
      return;
    }
    const frame: Frame = { next: undefined, kind, code, bytes, start, end };
    this.taken = series;
    this.given = Math.max(this.given, series);
    this.#push(frame);
    // Frames not yet sent wait behind those that are sent again (R29).
    if (this.state === "attached" && this.sent === series - 1) {
      this.sent = series;
      this.#keeper.forward(this, series, frame);
    } else if (this.state === "idle") this.#keeper.attach(this);
  }

  received(delivered: number, handled: number): void {
    if (this.state === "closed" || (delivered <= this.delivered && handled <= this.handled)) return;
    this.delivered = Math.max(this.delivered, delivered);
    this.handled = Math.max(this.handled, handled);
    this.#keeper.received(this);
  }

  closed(): void {
    if (this.state === "closed") return;
    this.state = "closed";
    this.#keeper.closed(this);
    this.#oldest = undefined;
    this.#newest = undefined;
    this.taken = this.acked;
    this.backlogBytes = 0;
  }

  /** No credit until it is attached again. */
  holdBack(): void {
    this.heldBack = true;
    this.socket.credit(0);
  }

  /** The leader answered OPEN, RESUME or a re-attachment: everything ≤ last is applied; the rest goes out again from there, in order, once. */
  attached(answer: Extract<HopAnswer, { type: "attached" }>, leader: string): void {
    this.question = 0;
    this.tries = 0;
    this.waitingSince = 0;
    this.state = "attached";
    this.leader = leader;
    this.epoch = answer.epoch;
    this.handle = answer.handle;
    this.attachment = answer.attachment;
    if (!this.welcomed) this.#welcome(answer);
    else {
      assert(answer.last >= this.acked, "what was acknowledged stays applied (invariant 5)");
      this.drop(answer.last);
      if (this.heldBack) this.socket.credit(this.window);
      this.heldBack = false;
    }
    this.sent = this.acked;
    for (let frame = this.#oldest; frame !== undefined; frame = frame.next) {
      this.sent += 1;
      this.#keeper.forward(this, this.sent, frame);
    }
  }

  /** Everything ≤ series is committed: the backlog lets go of it. */
  drop(series: number): void {
    if (series <= this.acked) return;
    assert(series <= this.given, "an ACK covers only what the socket gave");
    for (; this.acked < series; this.acked += 1) this.#shift();
    this.taken = Math.max(this.taken, series);
    this.sent = Math.max(this.sent, series);
    this.#keeper.acknowledge(this);
  }

  /** Gives the numbers from `expected` on back to the device, which sends them again in its own time. */
  giveBack(expected: number, code: ErrorCode): void {
    this.#cut(Math.max(this.acked, Math.min(this.taken, expected - 1)));
    this.sent = Math.min(this.sent, this.taken);
    this.#refuse(this.taken + 1, code);
  }

  /** Ends the line and its socket. */
  end(code: ErrorCode, detail: string, retryAfterMs: number): void {
    if (this.state === "closed") return;
    this.socket.close(code, detail, retryAfterMs);
    this.closed();
  }

  #push(frame: Frame): void {
    if (this.#newest === undefined) this.#oldest = frame;
    else this.#newest.next = frame;
    this.#newest = frame;
    this.backlogBytes += frame.end - frame.start;
  }

  /** The oldest leaves, if there is one. */
  #shift(): void {
    const frame = this.#oldest;
    if (frame === undefined) return;
    this.#oldest = frame.next;
    if (frame.next === undefined) this.#newest = undefined;
    else frame.next = undefined; // else a frame that outlived a collection would keep all after it
    this.backlogBytes -= frame.end - frame.start;
  }

  /** The backlog ends with this number, acked … taken. */
  #cut(last: number): void {
    const frames: Frame[] = [];
    for (let frame = this.#oldest; frame !== undefined && frames.length < last - this.acked; frame = frame.next) frames.push(frame);
    this.#oldest = undefined;
    this.#newest = undefined;
    this.backlogBytes = 0;
    for (const frame of frames) {
      frame.next = undefined;
      this.#push(frame);
    }
    this.taken = last;
  }

  #welcome(answer: Extract<HopAnswer, { type: "attached" }>): void {
    this.welcomed = true;
    this.session = answer.session;
    this.generation = answer.generation;
    this.window = answer.window;
    this.taken = answer.last;
    this.given = Math.max(answer.last, this.hello.session === 0 ? 0 : this.hello.next - 1); // also on an earlier socket, whose frames may still commit
    this.acked = answer.last;
    this.delivered = answer.delivered;
    this.handled = answer.handled;
    const { session, last, leftAt, window, generation, delivered, handled, end } = answer;
    this.socket.welcome({ session, last, leftAt, window, generation, delivered, handled, end, voids: answer.voids ?? [] });
  }

  #outOfOrder(series: number, expected: number): void {
    // Had and committed: the ACK is said again; in the backlog: its ACK comes with the original's commit (R27).
    if (series <= this.acked) this.#keeper.acknowledge(this);
    if (series > expected && this.refusedAt !== expected) this.#refuse(expected, "gap");
  }

  #refuse(expected: number, code: ErrorCode): void {
    this.refusedAt = expected;
    this.socket.refuse(expected, code);
  }
}

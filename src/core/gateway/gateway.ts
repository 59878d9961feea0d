// The gateway: the one place that holds device sockets and requests, keeps their backlog, and hops, re-attaches and rehops it to bucket leaders (R29, R30).

import { ERRORS, type ErrorCode } from "../../base/errors.ts";
import { NumberMap } from "../../base/number-map.ts";
import { Ring } from "../../base/ring.ts";
import type { HopAnswer, HopRequest, PublishKind } from "../hop.ts";
import { DEVICE_PUBLISHER } from "../hop.ts";
import { Line, type Frame, type LineKeeper } from "./line.ts";
import type { GatewayLimits } from "./limits.ts";
import type { DeviceLine, DeviceSocket, GatewayAnswer, GatewayDoor, GatewayRequest, Hello } from "./types.ts";

/** Where a bucket's leader is, by the table this node has folded. */
export interface Route {
  readonly leader: string;
  readonly epoch: number;
  readonly dark: boolean;
}

/** What the gateway asks of its node. Calls only queue; none calls back in. */
export interface GatewaySink {
  hop(to: string, bucket: number, epoch: number, request: HopRequest): void;
  /** The hot hop: one frame of an attached line. */
  publish(to: string, bucket: number, epoch: number, handle: number, series: number, kind: PublishKind, frame: Frame): void;
  /** A flush is due at the end of this turn. */
  wake(): void;
}

/** A request held until its answer or its deadline (R30); or a detach of this gateway's own, held until it is done, for presence must not stay up (R33). */
interface Held {
  readonly bucket: number;
  readonly request: GatewayRequest;
  readonly deadline: number;
  /** Undefined for a detach: there is at most one for each attachment that this gateway was given. */
  readonly done: ((answer: GatewayAnswer) => void) | undefined;
  /** Of a publish, with a key or without: the same at every question, so that its leader knows it again (R30). 0 for all others. */
  readonly number: number;
  isSettled: boolean;
  /** 0 while no question is out. */
  question: number;
  askAt: number;
  /** Questions asked since the route changed. */
  tries: number;
  /** It reached a leader and may have been admitted. */
  handedOver: boolean;
}

/** A question that nobody answers is asked again after once, twice, four and eight times the limit: a slow leader is not flooded. */
const ASK_DOUBLINGS = 3;

/** Idle lines that attach at a new leader in one sweep. */
const IDLE_AT_SWEEP = 512;

/** Answers of a leader that say "not here, not now": the gateway asks again. */
const ASK_AGAIN: ReadonlySet<ErrorCode> = new Set<ErrorCode>(["stale_table", "bucket_paused", "bucket_dark"]);

export class Gateway implements GatewayDoor, LineKeeper {
  readonly windowBytes: number;
  readonly #limits: GatewayLimits;
  readonly #sink: GatewaySink;
  readonly #bucketOf: (device: string) => number;
  readonly #routes: (Route | undefined)[] = [];
  /** Welcomed lines by bucket and session. */
  readonly #lines: NumberMap<Line>[] = [];
  /** Publishes without a key that may be sent again, by bucket, in the order of their numbers; behind the first one, settled ones too. */
  readonly #unkeyed: (Ring<Held> | undefined)[] = [];
  readonly #asking = new Map<number, Line | Held>();
  /** Lines and requests whose question is due or out; walked by `tick`. */
  readonly #waiting = new Set<Line | Held>();
  /** Detaches of sockets that closed before they were answered, by device. */
  readonly #untold = new Map<string, Held>();
  #acks: Line[] = [];
  /** Milliseconds of the node's monotonic clock, told before a turn's first event. */
  now = 0;
  #sweepAt = 0;
  /** Idle lines that may yet attach in this sweep. */
  #idleTurns = 0;
  #question = 0;
  #number = 0;
  #requests = 0;
  #detaches = 0;

  constructor(limits: GatewayLimits, bucketOf: (device: string) => number, sink: GatewaySink) {
    this.windowBytes = limits.windowBytes;
    this.#limits = limits;
    this.#bucketOf = bucketOf;
    this.#sink = sink;
  }

  /** Devices connected, lines waiting for a leader, requests held, closed sockets whose presence is not known to be down. */
  get counts(): { readonly lines: number; readonly waitingLines: number; readonly requests: number; readonly detaches: number } {
    let lines = 0;
    for (const map of this.#lines) lines += map?.size ?? 0;
    const waitingLines = this.#waiting.size - this.#requests - this.#detaches;
    return { lines, waitingLines, requests: this.#requests, detaches: this.#detaches };
  }

  /** Less than half of the requests that may be held are: the rest is for those who cannot wait with theirs. */
  get hasRoom(): boolean {
    return this.#requests < this.#limits.requests / 2;
  }

  /** The line that holds this device's session here, for `explain`. */
  lineOf(device: string): Line | undefined {
    for (const line of this.#lines[this.#bucketOf(device)]?.items() ?? []) if (line.hello.device === device) return line;
    return undefined;
  }

  // --- front-ends ---

  open(socket: DeviceSocket, hello: Hello): DeviceLine {
    const line = new Line(this, socket, hello, this.#bucketOf(hello.device));
    this.#attach(line);
    return line;
  }

  request(request: GatewayRequest, deadlineMs: number, done: (answer: GatewayAnswer) => void): void {
    if (this.#requests >= this.#limits.requests) {
      done(failed("overloaded"));
      return;
    }
    this.#requests += 1;
    this.#hold(this.#bucketOf(request.device), request, this.now + deadlineMs, done);
  }

  // --- the node ---

  /** The end of a turn: each socket gets at most one ACK. */
  flush(): void {
    if (this.#acks.length === 0) return;
    const due = this.#acks;
    this.#acks = [];
    for (const line of due) {
      line.ackDue = false;
      if (line.state !== "closed") line.socket.ack(line.acked);
    }
  }

  tick(): void {
    const now = this.now;
    for (const waiting of this.#waiting) {
      if (waiting instanceof Line && waiting.welcomed && waiting.backlog === 0) waiting.waitingSince = now; // nothing is held up
      if (this.#expired(waiting)) this.#giveUp(waiting);
      else if (now >= waiting.askAt && !sentOnce(waiting)) this.#ask(waiting);
    }
    if (now < this.#sweepAt) return;
    this.#sweepAt = now + this.#limits.askAgainMs;
    this.#idleTurns = IDLE_AT_SWEEP;
    for (const lines of this.#lines) for (const line of lines?.items() ?? []) this.#sweep(line);
  }

  /** The table names a leader for the bucket: a new epoch pauses its lines, which rehop their backlog (C2, R29). */
  route(bucket: number, route: Route): void {
    const before = this.#routes[bucket];
    this.#routes[bucket] = route;
    if (before !== undefined && before.leader === route.leader && before.epoch === route.epoch && before.dark === route.dark) return;
    for (const waiting of this.#waiting) {
      if (waiting.bucket !== bucket) continue;
      waiting.tries = 0;
      if (!sentOnce(waiting)) this.#ask(waiting);
    }
    this.#pause(bucket, (line) => line.epoch !== route.epoch || line.leader !== route.leader);
  }

  /** The link to a node broke: what was on it may be lost, so its lines attach anew; same node or another, the answer tells. */
  linkLost(node: string): void {
    for (let bucket = 0; bucket < this.#lines.length; bucket += 1) this.#pause(bucket, (line) => line.leader === node);
    for (const waiting of this.#waiting) if (this.#routes[waiting.bucket]?.leader === node) this.#askNow(waiting);
  }

  answered(from: string, bucket: number, answer: HopAnswer): void {
    switch (answer.type) {
      case "acked":
        this.#acked(bucket, answer);
        return;
      case "refused":
        this.#refused(bucket, answer);
        return;
      case "takenOver":
        if (answer.why === "removed") this.#endAttachment(bucket, answer, "removed", "");
        else this.#endAttachment(bucket, answer, "taken_over", "A newer socket of this device has taken over.");
        return;
      case "revoked":
        this.#endAttachment(bucket, answer, "unauthenticated", "The device's credential was revoked.");
        return;
      default:
        this.#settle(from, answer);
    }
  }

  // --- what lines ask (LineKeeper) ---

  forward(line: Line, series: number, frame: Frame): void {
    this.#sink.publish(line.leader, line.bucket, line.epoch, line.handle, series, frame.kind, frame);
  }

  attach(line: Line): void {
    this.#attach(line);
  }

  acknowledge(line: Line): void {
    if (line.ackDue) return;
    line.ackDue = true;
    this.#acks.push(line);
    this.#sink.wake();
  }

  received(line: Line): void {
    if (line.state === "attached")
      this.#sink.hop(line.leader, line.bucket, line.epoch, { type: "received", handle: line.handle, delivered: line.delivered, handled: line.handled });
    else if (line.state === "idle") this.#attach(line);
  }

  closed(line: Line): void {
    this.#forget(line);
    const { device, nonce } = line.hello;
    if (line.welcomed) this.#detach(line.bucket, device, nonce, line.session, line.attachment);
    else if (line.unsettled > 0) this.#detachUntold(line);
  }

  // --- questions to leaders ---

  #hold(bucket: number, request: GatewayRequest, deadline: number, done: Held["done"]): Held {
    const number = request.type === "unkeyed" || request.type === "keyed" ? (this.#number += 1) : 0;
    const held: Held = { bucket, request, deadline, done, number, isSettled: false, question: 0, askAt: this.now, tries: 0, handedOver: false };
    if (request.type === "unkeyed") (this.#unkeyed[bucket] ??= new Ring()).push(held);
    this.#waiting.add(held);
    this.#ask(held);
    return held;
  }

  #attach(line: Line): void {
    if (line.state === "closed") return;
    line.state = "asking";
    line.waitingSince = this.now;
    this.#waiting.add(line);
    this.#ask(line);
  }

  #ask(waiting: Line | Held): void {
    this.#asking.delete(waiting.question);
    const route = this.#routes[waiting.bucket];
    waiting.askAt = this.now + this.#limits.askAgainMs * 2 ** Math.min(waiting.tries, ASK_DOUBLINGS);
    if (route === undefined || route.dark) return;
    waiting.tries += 1;
    this.#question += 1;
    waiting.question = this.#question;
    this.#asking.set(waiting.question, waiting);
    if (waiting instanceof Line) waiting.unsettled += 1;
    else waiting.handedOver = true;
    const question = waiting instanceof Line ? { ...attachment(waiting), request: waiting.question } : this.#questionOf(waiting);
    this.#sink.hop(route.leader, waiting.bucket, route.epoch, question);
  }

  #questionOf({ bucket, request, question, number }: Held): HopRequest {
    if (request.type === "keyed") {
      const { device, key, fingerprint, body, expires } = request; // measured: a spread of these two costs more
      return { type: "keyed", request: question, device, number, key, fingerprint, body, expires };
    }
    if (request.type !== "unkeyed") return { ...request, request: question };
    const { device, body, expires } = request;
    return { type: "unkeyed", request: question, device, number, least: this.#unkeyed[bucket]!.first()!.number, body, expires };
  }

  /** At the next tick. */
  #askNow(waiting: Line | Held): void {
    waiting.tries = 0;
    waiting.askAt = this.now;
  }

  /** The leader says not now: asked again after a back-off. */
  #askLater(waiting: Line | Held): void {
    waiting.question = 0;
    waiting.askAt = this.now + Math.min(this.#limits.backoffCapMs, this.#limits.backoffMs * 2 ** Math.min(waiting.tries - 1, 16));
    if (!(waiting instanceof Line)) waiting.handedOver = false;
  }

  #settle(from: string, answer: Exclude<HopAnswer, { type: "acked" | "refused" | "takenOver" | "revoked" }>): void {
    const waiting = this.#asking.get(answer.request);
    if (waiting === undefined) return; // nobody waits any more, or it was asked again
    this.#asking.delete(answer.request);
    if (waiting instanceof Line) this.#settleLine(waiting, from, answer);
    else this.#settleHeld(waiting, answer);
  }

  #settleLine(line: Line, from: string, answer: Exclude<HopAnswer, { type: "acked" | "refused" | "takenOver" | "revoked" }>): void {
    if (answer.type === "attached") {
      if (answer.epoch !== this.#routes[line.bucket]?.epoch) return this.#askLater(line);
      if (line.welcomed && (answer.generation !== line.generation || answer.last > line.given)) return this.#break(line, answer.generation, answer.last);
      this.#waiting.delete(line);
      const first = !line.welcomed;
      line.attached(answer, from);
      if (first) this.#seat(line);
      if (line.delivered > answer.delivered || line.handled > answer.handled) this.received(line);
      return;
    }
    if (answer.type === "broken") {
      line.unsettled -= 1;
      // R25: a nonce that is behind the stored one is refused with it; a session that is behind was taken over.
      if (answer.code === "taken_over" && answer.stored === undefined) return line.end("taken_over", "A newer session of this device has been opened.", 0);
      return this.#break(line, answer.generation, answer.last, answer.stored);
    }
    if (answer.type === "failed" && ASK_AGAIN.has(answer.code)) return this.#askLater(line);
    line.unsettled -= 1;
    const code = answer.type === "failed" ? answer.code : "internal";
    line.end(code, answer.type === "failed" ? answer.detail : "", ERRORS[code].retryable ? this.#limits.backoffCapMs : 0);
  }

  #settleHeld(held: Held, answer: Exclude<HopAnswer, { type: "acked" | "refused" | "takenOver" | "revoked" }>): void {
    if (answer.type === "failed" && (ASK_AGAIN.has(answer.code) || held.done === undefined)) return this.#askLater(held);
    this.#forgetHeld(held);
    held.done?.(answer);
  }

  #break(line: Line, generation: number, last: number, nonce?: bigint): void {
    if (line.state === "closed") return;
    line.socket.broken(generation, last, nonce);
    line.closed();
  }

  /** A first WELCOME: the line is found by its session from now on. A line of the same session here is the old socket: taken over. */
  #seat(line: Line): void {
    const lines = (this.#lines[line.bucket] ??= new NumberMap());
    const old = lines.get(line.session);
    lines.set(line.session, line);
    if (old !== undefined && old !== line) old.end("taken_over", "The device's session goes on on a newer socket.", 0);
  }

  #detach(bucket: number, device: string, nonce: bigint, session: number, attachment: number): Held {
    this.#detaches += 1;
    return this.#hold(bucket, { type: "detach", device, publisher: DEVICE_PUBLISHER, session, nonce, attachment }, Infinity, undefined);
  }

  /** The socket closed before the answer to its HELLO, which may yet bring its presence up, or has. One such detach for a device is enough: a later HELLO's covers an earlier one's. */
  #detachUntold({ bucket, hello: { device, nonce } }: Line): void {
    const before = this.#untold.get(device);
    if (before !== undefined) this.#forgetHeld(before);
    this.#untold.set(device, this.#detach(bucket, device, nonce, 0, 0));
  }

  // --- answers about sessions ---

  #acked(bucket: number, answer: Extract<HopAnswer, { type: "acked" }>): void {
    const line = this.#lines[bucket]?.get(answer.session);
    if (line === undefined) return;
    if (answer.series > line.given) return this.#break(line, line.generation, answer.series); // R26: given on another socket, which this device does not remember
    for (const voided of answer.voids) if (voided.series > line.acked) line.socket.voided(voided.series, voided.code);
    line.drop(answer.series); // an ACK is valid from any epoch (R29)
  }

  #refused(bucket: number, answer: Extract<HopAnswer, { type: "refused" }>): void {
    const line = this.#lines[bucket]?.get(answer.session);
    if (line === undefined || line.state !== "attached") return;
    if (answer.epoch < line.epoch) return; // R29: a refusal of an epoch below the attached one
    if (answer.code === "gap" && answer.expected > line.sent) return; // behind what was given back to the device: nothing of this line is missing
    if (answer.code === "gap" || ASK_AGAIN.has(answer.code)) {
      line.holdBack();
      this.#attach(line);
    } else line.giveBack(answer.expected, answer.code);
  }

  #endAttachment(bucket: number, { session, attachment }: Extract<HopAnswer, { type: "takenOver" | "revoked" }>, code: ErrorCode, detail: string): void {
    const line = this.#lines[bucket]?.get(session);
    if (line !== undefined && line.attachment === attachment) line.end(code, detail, 0);
  }

  // --- pauses, time-outs, forgetting ---

  /** A hop that was lost without a word: a backlog that did not move from one sweep to the next attaches anew, after 1, 2, 4 … sweeps (R29). */
  #sweep(line: Line): void {
    if (line.state === "idle" && this.#idleTurns > 0) {
      this.#idleTurns -= 1;
      return this.#attach(line); // R29, F4: the new leader knows by which credential it came, or that it was taken over, broken or revoked
    }
    const waits = line.state === "attached" && line.backlog > 0;
    if (!waits || line.acked !== line.waitedAtSweep) {
      line.waitedAtSweep = waits ? line.acked : -1;
      line.stalledSweeps = 0;
      return;
    }
    line.stalledSweeps += 1;
    if (isPowerOfTwo(line.stalledSweeps)) this.#attach(line);
  }

  /** Re-attachment is eager only for lines with unacknowledged frames (R29). */
  #pause(bucket: number, concerned: (line: Line) => boolean): void {
    for (const line of this.#lines[bucket]?.items() ?? []) {
      if (line.state !== "attached" || !concerned(line)) continue;
      if (line.backlog === 0) line.state = "idle";
      else {
        line.holdBack();
        this.#attach(line);
      }
    }
  }

  #expired(waiting: Line | Held): boolean {
    return this.now >= (waiting instanceof Line ? waiting.waitingSince + this.#limits.pauseMs : waiting.deadline);
  }

  #giveUp(waiting: Line | Held): void {
    if (waiting instanceof Line) {
      waiting.end("bucket_paused", "The device's bucket found no leader in time.", this.#limits.backoffCapMs);
      return;
    }
    this.#forgetHeld(waiting);
    const dark = this.#routes[waiting.bucket]?.dark === true;
    waiting.done?.(failed(waiting.handedOver ? "deadline" : dark ? "bucket_dark" : "bucket_paused"));
  }

  #forget(line: Line): void {
    this.#waiting.delete(line);
    this.#asking.delete(line.question);
    const lines = this.#lines[line.bucket];
    if (lines?.get(line.session) === line) lines.delete(line.session);
  }

  #forgetHeld(held: Held): void {
    held.isSettled = true;
    if (held.request.type === "unkeyed") for (const unkeyed = this.#unkeyed[held.bucket]!; unkeyed.first()?.isSettled === true; ) unkeyed.shift();
    if (held.done === undefined) this.#detaches -= 1;
    else this.#requests -= 1;
    if (held.request.type === "detach" && this.#untold.get(held.request.device) === held) this.#untold.delete(held.request.device);
    this.#waiting.delete(held);
    this.#asking.delete(held.question);
  }
}

function attachment(line: Line): Extract<GatewayRequest, { type: "open" | "resume" | "reattach" }> {
  const { device, session, oldest, next, nonce, window, leaves, credential } = line.hello;
  const proof = credential === undefined ? {} : { credential };
  const publisher = DEVICE_PUBLISHER;
  if (line.welcomed) return { type: "reattach", device, publisher, session: line.session, nonce, attachment: line.attachment, ...proof };
  if (session === 0) return { type: "open", device, publisher, nonce, window, leaves, attach: true, ...proof };
  return { type: "resume", device, publisher, session, nonce, oldest, next, attach: true, ...proof };
}

/** A state change has no key, so the cluster does not send it a second time by itself once a leader may have admitted it (R30). */
function sentOnce(waiting: Line | Held): boolean {
  return !(waiting instanceof Line) && waiting.handedOver && waiting.request.type === "state";
}

function isPowerOfTwo(count: number): boolean {
  return (count & (count - 1)) === 0;
}

function failed(code: ErrorCode): GatewayAnswer {
  return { type: "failed", request: 0, code, detail: "", version: 0 };
}

// One device's connection: its handshake, its frames to and from the gateway's line, and what it may hold meanwhile.

import type { Socket } from "node:net";
import { BellhopError, ERRORS, type ErrorCode } from "../base/errors.ts";
import type { DeviceLine, DeviceSocket, Welcome } from "../core/gateway/types.ts";
import type { NodeApi } from "../node/api.ts";
import type { Log } from "../observe/log.ts";
import { devicePublished } from "../observe/traces.ts";
import type { Kind } from "../wire/body.ts";
import {
  type FromDevice, type HelloFrame, MAX_HELLO_BYTES, PROTOCOL, readFromDevice, type Voided, writeAck, writeBroken, writeClose, writeCredit, writePong, writeRefuse,
  writeWelcome,
} from "../wire/device.ts";
import { Deframer, type FrameSink } from "../wire/frame.ts";
import type { Writer } from "../wire/msgpack.ts";
import { maxWindow, narrow, widen } from "../wire/series.ts";
import type { DeviceCounts } from "./counts.ts";
import { Deliveries, type DeliveryWay } from "./deliveries.ts";
import { digestOf } from "./identity.ts";
import type { DeviceLimits } from "./limits.ts";
import { Pace } from "./pace.ts";
import type { WheelItem } from "./wheel.ts";

/** Said where the leader finds the token wrong. */
const WRONG_TOKEN = "The token is not one of this device.";

/** What a connection asks of its server. */
export interface ConnectionKeeper {
  readonly node: NodeApi;
  readonly limits: DeviceLimits;
  readonly counts: DeviceCounts;
  readonly log: Log;
  /** Ticks since the start, and their length in milliseconds. */
  readonly tick: number;
  readonly tickMs: number;
  /** undefined: a HELLO is taken now. */
  admit(address: string, device: string): Refusal | undefined;
  /** True: its certificate says that it is this device. @throws BellhopError where the certificate says otherwise. */
  isCertified(connection: Connection, device: string): boolean;
  /** A HELLO was refused for its credential, or its session is open. */
  refusedCredential(connection: Connection, why: string): void;
  welcomed(connection: Connection): void;
  /** Unacknowledged bytes have become more, or fewer. */
  moved(bytes: number): void;
  /** So many bytes of all devices wait that no more are read from those that have some. */
  readonly isFull: boolean;
  /** To be told when they are fewer. */
  held(connection: Connection): void;
  /** The connection has something to send at the end of the turn. */
  dirty(connection: Connection): void;
  /** Its deadline may have come nearer. */
  rearm(connection: Connection): void;
  /** The socket is gone. */
  gone(connection: Connection): void;
  takeWriter(): Writer;
  giveWriter(writer: Writer): void;
  failed(connection: Connection, error: unknown): void;
}

/** Why a HELLO is not taken, and when to come back. */
export interface Refusal {
  readonly code: ErrorCode;
  readonly detail: string;
  readonly waitMs: number;
}

/**
 * hello: waits for HELLO · opening: HELLO waits for its session · open · broken: the session has ended, frames of before are passed over until the next HELLO ·
 * closing: the last bytes go out · closed.
 */
type Phase = "hello" | "opening" | "open" | "broken" | "closing" | "closed";

export class Connection implements DeviceSocket, FromDevice, FrameSink, DeliveryWay, WheelItem {
  slot = -1;
  readonly socket: Socket;
  readonly address: string;
  /** Counts from 1 with each start of the node: names it in the log. */
  readonly number: number;
  line: DeviceLine | undefined;
  isDirty = false;
  /** Its certificate says that it is this device, and stands for a token (F2). */
  isCertified = false;
  readonly #keeper: ConnectionKeeper;
  readonly #deframer = new Deframer(MAX_HELLO_BYTES);
  #phase: Phase = "hello";
  #phaseTick: number;
  #heardTick: number;
  /** The tick since which the device leaves its buffer unread; -1: it does not. */
  #unreadTick = -1;
  #isPaused = false;
  /** The rate that it may publish at; undefined: any. */
  #pace: Pace | undefined;
  /** The tick until which it is not read, because it sent faster than its rate; -1: it did not. */
  #slowUntilTick = -1;
  /** Bytes of its line as the keeper last heard. */
  #counted = 0;
  #hello: HelloFrame | undefined;
  #wrap = 0;
  #keepAliveSeconds = 0;
  /** Number of the last PUBLISH, wide: the next is widened by it (R28). */
  #near = 0;
  #ack = -1;
  /** Everything up to it has been acknowledged in this session. */
  #acked = 0;
  /** The one message of this connection whose answer is timed, and when it came; 0: none. */
  #timed = 0;
  #timedAt = 0;
  #voids: Voided[] | undefined;
  #out: Writer | undefined;
  #deliveries: Deliveries | undefined;

  /** @param number counts from 1 with each start of the node. @param since tick of the accept. */
  constructor(keeper: ConnectionKeeper, socket: Socket, address: string, number: number, since = keeper.tick) {
    this.#keeper = keeper;
    this.socket = socket;
    this.address = address;
    this.number = number;
    this.#phaseTick = since;
    this.#heardTick = keeper.tick;
  }

  get device(): string {
    return this.#hello?.device ?? "";
  }

  // --- the socket ---

  read(chunk: Uint8Array): void {
    if (this.#isOver) return;
    this.#heardTick = this.#keeper.tick;
    this.#keeper.node.turn(); // time stamps are of now (A14)
    try {
      this.#deframer.push(chunk, this);
    } catch (error) {
      if (!(error instanceof BellhopError)) return this.#keeper.failed(this, error);
      this.refuseAndClose(error.code, error.detail);
      return;
    }
    this.#count();
    if (this.#pace !== undefined) this.#slowDown(this.#pace);
    if (this.#counted > 0 && !this.#hasPlace) this.#pause();
  }

  /** Tells the keeper how many bytes its line holds now. */
  #count(): void {
    const bytes = this.line?.waiting.bytes ?? 0;
    if (bytes !== this.#counted) this.#keeper.moved(bytes - this.#counted);
    this.#counted = bytes;
  }

  /** Its own line and all of them together take more. */
  get #hasPlace(): boolean {
    return this.#counted < this.#keeper.limits.pauseReadingBytes && (this.#counted === 0 || !this.#keeper.isFull);
  }

  #slowDown(pace: Pace): void {
    const waitMs = pace.wait(performance.now());
    if (waitMs === 0) return;
    this.#slowUntilTick = this.#keeper.tick + Math.ceil(waitMs / this.#keeper.tickMs);
    this.#pause();
    this.#keeper.rearm(this);
  }

  /** The limits have changed while it lives. */
  limitsChanged(): void {
    this.#pace = this.#newPace();
    this.#keeper.rearm(this);
  }

  #newPace(): Pace | undefined {
    const { messagesPerDevice, bytesPerDevice } = this.#keeper.limits;
    return messagesPerDevice === 0 && bytesPerDevice === 0 ? undefined : new Pace(messagesPerDevice, bytesPerDevice, performance.now());
  }

  /** The socket's buffer has gone out. */
  drained(): void {
    this.#unreadTick = -1;
    this.#resume();
    this.#deliveries?.pump();
  }

  /** The socket is gone, by whichever side. */
  gone(): void {
    if (!this.#isOver) this.#ended("lost");
    this.#phase = "closed";
    this.#releaseLine();
    if (this.#out !== undefined) this.#keeper.giveWriter(this.#out);
    this.#out = undefined;
    this.#keeper.gone(this);
  }

  /** The end of the turn: everything in one write. */
  flush(): void {
    this.isDirty = false;
    this.#settleAck();
    const out = this.#out;
    if (out === undefined) return;
    this.#out = undefined;
    if (this.#phase !== "closed" && out.at > 0) this.#write(Buffer.from(out.written)); // a copy: the writer serves the next connection
    this.#keeper.giveWriter(out);
  }

  #write(bytes: Buffer): void {
    this.socket.write(bytes);
    const { limits } = this.#keeper;
    if (this.socket.writableLength > limits.mostWaitingBytes) this.socket.destroy();
    else if (this.socket.writableLength > limits.pauseWritingBytes && this.#unreadTick < 0) {
      this.#unreadTick = this.#keeper.tick;
      this.#keeper.rearm(this);
      this.#pause();
    }
  }

  #pause(): void {
    this.#isPaused = true;
    this.socket.pause();
    if (this.#keeper.isFull) this.#keeper.held(this);
  }

  /** All lines together hold less again. */
  placeAgain(): void {
    this.#resume();
  }

  /** Reads on when nothing speaks against it: the line, the lines of all, the socket's buffer, its rate. */
  #resume(): void {
    if (!this.#isPaused || this.#unreadTick >= 0 || this.#slowUntilTick >= 0 || !this.#hasPlace) return;
    this.#isPaused = false;
    this.#heardTick = this.#keeper.tick;
    this.socket.resume();
  }

  // --- deadlines ---

  due(): number {
    const { limits, tickMs } = this.#keeper;
    const after = (from: number, ms: number): number => from + Math.ceil(ms / tickMs) + 1;
    if (this.#phase === "closing") return after(this.#phaseTick, limits.lingerMs);
    if (this.#phase === "hello" || this.#phase === "broken") return after(this.#phaseTick, limits.helloMs);
    if (this.#phase === "opening") return after(this.#phaseTick, limits.welcomeMs);
    if (this.#unreadTick >= 0) return after(this.#unreadTick, limits.unreadMs);
    if (this.#slowUntilTick >= 0) return this.#slowUntilTick;
    return after(this.#isPaused ? this.#keeper.tick : this.#heardTick, this.#keepAliveSeconds * 1500);
  }

  expire(): void {
    if (this.#phase === "closing" || this.#unreadTick >= 0) this.socket.destroy();
    else if (this.#phase === "open" && this.#slowUntilTick >= 0) this.#goOn();
    else if (this.#phase === "open") this.refuseAndClose("idle", "");
    else this.refuseAndClose("deadline", this.#phase === "opening" ? "The session did not open in time." : "HELLO did not come in time.");
  }

  /** Its debt is paid. */
  #goOn(): void {
    this.#slowUntilTick = -1;
    this.#heardTick = this.#keeper.tick;
    this.#resume();
    this.#keeper.rearm(this);
  }

  get #isOver(): boolean {
    return this.#phase === "closing" || this.#phase === "closed";
  }

  #enter(phase: Phase): void {
    this.#phase = phase;
    this.#phaseTick = this.#keeper.tick;
    this.#keeper.rearm(this);
  }

  // --- frames from the device ---

  frame(bytes: Uint8Array, start: number, end: number): boolean {
    readFromDevice(bytes, start, end, this);
    return !this.#isOver;
  }

  hello(hello: HelloFrame): void {
    if (this.#phase !== "hello" && this.#phase !== "broken") throw outOfTurn("HELLO");
    this.#keeper.counts.hellos += 1;
    const refusal = this.#keeper.admit(this.address, hello.device);
    if (refusal !== undefined) return this.close(refusal.code, refusal.detail, refusal.waitMs);
    this.#hello = hello;
    this.isCertified = this.#keeper.isCertified(this, hello.device);
    const { limits, node } = this.#keeper;
    const credential = limits.needsCredential && !this.isCertified ? digestOf(hello.token) : undefined;
    this.#wrap = hello.wrap;
    this.#keepAliveSeconds = Math.min(hello.keepAlive === 0 ? limits.keepAliveSeconds : hello.keepAlive, limits.mostKeepAliveSeconds);
    this.#deframer.maxBytes = limits.frameBytes;
    this.#enter("opening");
    const { device, session, nonce, leaves, oldest, next } = hello;
    // A second's messages are in flight at most: what is read at once is then a debt that a second pays.
    const perSecond = limits.messagesPerDevice === 0 ? Infinity : limits.messagesPerDevice;
    const window = Math.min(hello.window, maxWindow(hello.wrap), perSecond);
    this.line = node.open(this, { device, session, nonce, leaves, oldest, next, window, ...(credential === undefined ? {} : { credential }) });
  }

  publish(series: number, kind: Kind, bytes: Uint8Array, start: number, end: number): void {
    if (this.#phase !== "open") return this.#passOver("PUBLISH");
    const wide = widen(series, this.#wrap, this.#near);
    if (wide < 1) throw new BellhopError("protocol", "A series number below 1.");
    this.#near = wide;
    if (wide <= this.#acked) this.#keeper.counts.duplicates += 1;
    else if (this.#timed === 0) {
      this.#timed = wide;
      this.#timedAt = performance.now();
    }
    this.#pace?.spend(end - start);
    this.line!.publish(wide, kind, bytes, start, end);
  }

  received(delivered: number, handled: number): void {
    if (this.#phase !== "open") return this.#passOver("RECEIVED");
    if (!this.#deliveries!.received(delivered, handled)) throw new BellhopError("protocol", "RECEIVED names an offset that does not exist yet.");
  }

  state(request: number): void {
    if (this.#phase !== "open") return this.#passOver("STATE");
    this.#deliveries!.answerState(request);
  }

  ping(): void {
    if (this.#phase !== "open") return this.#passOver("PING");
    writePong(this.writer());
  }

  goodbye(): void {
    if (this.#phase !== "open") return this.#passOver("GOODBYE");
    this.#ended("goodbye");
    this.#enter("closing");
    this.#releaseLine();
    this.flush();
    this.socket.end();
  }

  /** What comes between the end of a session and the next HELLO was sent before the device knew. */
  #passOver(name: string): void {
    if (this.#phase !== "broken") throw outOfTurn(name);
  }

  // --- DeviceSocket: what the gateway says ---

  welcome(welcome: Welcome): void {
    const hello = this.#hello;
    if (this.#phase !== "opening" || hello === undefined) return;
    const { node, limits } = this.#keeper;
    const { session, last, leftAt, generation, delivered, handled, end, voids } = welcome;
    const window = Math.min(welcome.window, maxWindow(this.#wrap));
    const receiveWindow = Math.min(hello.receiveWindow, limits.receiveWindow);
    this.#near = this.#acked = last;
    this.#timed = 0;
    this.#ack = -1;
    this.#voids = undefined;
    this.#heardTick = this.#keeper.tick;
    this.#pace = this.#newPace();
    this.#enter("open");
    this.#keeper.welcomed(this);
    writeWelcome(this.writer(), {
      protocol: PROTOCOL, session, last, leftAt, generation, window, wrap: this.#wrap, keepAlive: this.#keepAliveSeconds, maxFrame: limits.frameBytes,
      receiveWindow, delivered, handled, end, voids,
    });
    this.#keeper.log.debug({ code: "connected", device: hello.device, connection: this.number, address: this.address, session }, "device connected");
    this.#deliveries = new Deliveries(node, this, hello.device, receiveWindow, hello.maxFrame, hello.after, handled, end, hello.desired);
    if (this.#isOver) this.#stopDeliveries(); // its first frame was too large
  }

  ack(series: number): void {
    const { counts } = this.#keeper;
    counts.stored += Math.max(0, series - this.#acked);
    this.#acked = Math.max(this.#acked, series);
    if (this.#timed !== 0 && series >= this.#timed) {
      counts.publishTimes.record(performance.now() - this.#timedAt);
      devicePublished(this.device, this.#timed, this.#timedAt);
      this.#timed = 0;
    }
    this.#ack = series;
    this.#soon();
    this.#count();
    if (this.#isPaused) this.#resume();
  }

  voided(series: number, code: ErrorCode): void {
    this.#keeper.counts.refused.add(code);
    this.#keeper.counts.stored -= 1; // the ACK that covers it counts it
    (this.#voids ??= []).push({ series: narrow(series, this.#wrap), code });
  }

  refuse(expected: number, code: ErrorCode): void {
    this.#keeper.counts.refused.add(code);
    this.#timed = 0;
    writeRefuse(this.writer(), narrow(expected, this.#wrap), code, ERRORS[code].retryable);
  }

  credit(window: number): void {
    writeCredit(this.writer(), Math.min(window, maxWindow(this.#wrap)));
  }

  broken(generation: number, last: number, nonce = 0n): void {
    if (this.#phase !== "opening" && this.#phase !== "open") return;
    this.#keeper.counts.broken += 1;
    writeBroken(this.writer(), generation, last, nonce);
    this.line = undefined; // the gateway has let go of it
    this.#count();
    this.#stopDeliveries();
    this.#enter("broken");
  }

  /** The gateway closes, and has let go of the line; or there is none yet. */
  close(code: ErrorCode, detail: string, retryAfterMs: number): void {
    if (this.#isOver) return;
    this.#ended(code, detail);
    const said = detail === "" ? (code === "unauthenticated" ? WRONG_TOKEN : ERRORS[code].what) : detail;
    if (this.#phase === "hello" || this.#phase === "opening") this.#keeper.counts.hellosRefused.add(code);
    if (code === "unauthenticated" || code === "forbidden") this.#keeper.refusedCredential(this, said);
    writeClose(this.writer(), code, said, retryAfterMs, ERRORS[code].retryable);
    this.line = undefined;
    this.#count();
    this.#stopDeliveries();
    this.#enter("closing");
    this.flush();
    this.socket.destroySoon();
  }

  /** This side closes: the line goes too. */
  refuseAndClose(code: ErrorCode, detail: string, retryAfterMs = 0): void {
    const line = this.line;
    this.close(code, detail, retryAfterMs);
    line?.closed();
  }

  // --- what goes out ---

  get hasRoom(): boolean {
    return this.#unreadTick < 0;
  }

  /** Frames keep their order: an ACK that is due goes first. */
  writer(): Writer {
    this.#settleAck();
    this.#soon();
    return (this.#out ??= this.#keeper.takeWriter());
  }

  get counts(): DeviceCounts {
    return this.#keeper.counts;
  }

  tooLarge(what: string): void {
    this.refuseAndClose("too_large", what);
  }

  failed(error: unknown): void {
    if (error instanceof BellhopError) this.refuseAndClose(error.code, error.detail);
    else this.#keeper.failed(this, error);
  }

  #soon(): void {
    if (this.isDirty) return;
    this.isDirty = true;
    this.#keeper.dirty(this);
  }

  #settleAck(): void {
    if (this.#ack < 0) return;
    const series = narrow(this.#ack, this.#wrap);
    this.#ack = -1;
    writeAck((this.#out ??= this.#keeper.takeWriter()), series, this.#voids);
    this.#voids = undefined;
  }

  #ended(code: ErrorCode | "goodbye" | "lost", detail = ""): void {
    const { counts, log } = this.#keeper;
    counts.closed.add(code);
    log.debug({ code, device: this.device, connection: this.number, address: this.address, detail }, "connection ended");
  }

  #releaseLine(): void {
    const line = this.line;
    this.line = undefined;
    this.#count();
    this.#stopDeliveries();
    line?.closed();
  }

  #stopDeliveries(): void {
    this.#deliveries?.stop();
    this.#deliveries = undefined;
  }
}

function outOfTurn(name: string): BellhopError {
  return new BellhopError("protocol", `${name} came out of turn.`);
}

// A device: its outbox, its session, and the connection that it keeps up.

import { EventEmitter } from "node:events";
import { createSecureContext } from "node:tls";
import { assert } from "../../../src/base/assert.ts";
import { DOCUMENT_BYTES, DOCUMENT_DEPTH } from "../../../src/base/document.ts";
import { Ring } from "../../../src/base/ring.ts";
import { encodeBody, KIND, type Kind } from "../../../src/wire/body.ts";
import {
  type Document, HELLO_DEFAULTS, PROTOCOL, type Voided, type WelcomeFrame, writeGoodbye, writeHello, writePublish, writeReceived, writeStateRequest,
} from "../../../src/wire/device.ts";
import { jitter, MOST_WAIT_MS, mostWait, MOST_WAIT_UNTRUSTED_MS, RECONNECT_BASE_MS, RECONNECT_UNTRUSTED_BASE_MS, RESEND_BASE_MS } from "./backoff.ts";
import { headersAreWrong, payloadIsWrong } from "./check.ts";
import { DeviceError } from "./errors.ts";
import { Link, type LinkOwner, type SecureOptions } from "./link.ts";
import { Message } from "./message.ts";
import { nonceAbove } from "./nonce.ts";
import { type BrokerAddress, checkOptions, type ConnectionState, type DeviceEvents, type DeviceOptions, parseAddress, type PublishOptions, publishOptionsAreWrong } from "./options.ts";
import { type Item, Outbox, type Session } from "./outbox.ts";
import { OutboxFile } from "./outbox-file.ts";
import { DeviceState } from "./state.ts";

const DEFAULT_WINDOW = 256;
/** Greatest frame it takes, and, before the broker has told its own limit, gives. */
const MOST_FRAME_BYTES = 1024 * 1024;
/** A connection that lived this long ends a row of failures. Milliseconds. */
const STABLE_MS = 10_000;
/** Bytes put together before they are written. */
const WRITE_BYTES = 65_536;
/** A frame is longer than its body by this, at most. */
const PUBLISH_OVERHEAD_BYTES = 16;

export class Device extends EventEmitter<DeviceEvents> implements AsyncIterable<Message> {
  readonly id: string;
  readonly state: DeviceState;
  readonly #options: DeviceOptions;
  readonly #brokers: readonly BrokerAddress[];
  readonly #tls: SecureOptions | undefined;
  readonly #token: string;
  readonly #outbox: Outbox;
  readonly #mostMessages: number;
  readonly #mostBytes: number;
  readonly #mostWaitMs: number;
  readonly #owner: LinkOwner;
  readonly #flushSoon = (): void => this.#flush();
  readonly #whenHandled = (offset: number): void => this.#handledTo(offset);

  #connection: ConnectionState = "connecting";
  #link: Link | undefined;
  #broker = 0;
  #failures = 0;
  #connectedAt = 0;
  /** When a connection was lost that had lasted. Monotonic, milliseconds. */
  #goodUntil = -Infinity;
  #timer: NodeJS.Timeout | undefined;
  #endError: DeviceError | undefined;
  #isAsleep = false;
  #flushDue = false;

  // What holds between WELCOME and the end of a connection.
  #welcomed = false;
  #window = 0;
  #maxFrame = MOST_FRAME_BYTES;
  #retryAfterMs = 0;
  /** The nonce of the newest HELLO: they rise, over restarts too (section 3 of the protocol). */
  #nonce: bigint;
  /** A greater nonce was tried once on this connection. */
  #nonceRaised = false;

  // Places in the outbox: settled < … ≤ sent ≤ durable ≤ last.
  #sent = 0;
  #syncing = 0;
  /** REFUSE: the place last gone back to, why, and how often in a row; 0: none since the last ACK. */
  #wentBackTo = 0;
  #refusals = 0;
  #resendTimer: NodeJS.Timeout | undefined;

  // Receiving. Invariant: handled ≤ taken ≤ has.
  readonly #inbox = new Ring<Message>();
  /** Offset of the newest message that came, of the newest that the application took, and of the last it has handled. */
  #has: number;
  #taken: number;
  #receivedDue = false;
  #wanting: { readonly resolve: (result: IteratorResult<Message, undefined>) => void; readonly reject: (error: DeviceError) => void } | undefined;
  #roomWanted: (() => void)[] = [];

  /** @throws DeviceError `bad_request` for options that make no sense, `outbox_failed` when the file cannot be used. */
  constructor(options: DeviceOptions) {
    super();
    checkOptions(options);
    this.id = options.device;
    this.#options = options;
    this.#brokers = (typeof options.brokers === "string" ? [options.brokers] : options.brokers).map(parseAddress);
    this.#broker = Math.floor(Math.random() * this.#brokers.length);
    this.#tls = options.tls === undefined ? undefined : secureOptions(options.tls);
    this.#token = options.token?.trim() ?? "";
    this.#mostMessages = options.outboxMessages ?? 10_000;
    this.#mostWaitMs = options.maxBackoff === undefined ? MOST_WAIT_MS : options.maxBackoff * 1000;
    this.#mostBytes = options.outboxBytes ?? 16 * 1024 * 1024;
    const file = options.outbox === undefined || options.outbox === "memory" ? undefined : new OutboxFile(options.outbox, options.device);
    this.#outbox = new Outbox(file);
    if (file !== undefined) {
      file.left = this.#outbox;
      file.failed = (error) => this.#stop(error);
    }
    this.#has = this.#taken = this.#outbox.handled;
    this.#syncing = this.#outbox.durable;
    this.#nonce = this.#outbox.session.nonce;
    this.state = new DeviceState({ ask: (request) => this.#ask(request), patch: (json) => this.#publish(KIND.statePatch, json, {}) });
    this.#owner = this.#linkOwner();
    this.#connect();
  }

  /** Named as the events name it. */
  get connection(): ConnectionState {
    return this.#connection;
  }

  /** Messages published and not settled yet. */
  get waiting(): number {
    return this.#outbox.size;
  }

  /**
   * Resolves once the message is on the disk of every copy. Messages are stored once, in the order of the calls.
   * @throws DeviceError of a final code when it is refused for good (`too_large`, `expired`, …); `outbox_full` (retryable) at the outbox's limit: wait for `room`;
   * `closed` when the device is closed first (in a file it stays, and is sent by the next process).
   */
  publish(payload: Uint8Array | string, options: PublishOptions = {}): Promise<void> {
    return this.#publish(KIND.message, payload, options);
  }

  /** Resolves when the outbox has room for one more message. */
  room(): Promise<void> {
    if (this.#hasRoom() || this.#endError !== undefined) return Promise.resolve();
    return new Promise((resolve) => {
      this.#roomWanted.push(resolve);
    });
  }

  /**
   * Messages to the device, in the stream's order. Asking for the next tells the broker that the one before is handled. Ends when the device is closed.
   * @throws DeviceError what stopped the device for good, behind the messages that had come
   */
  [Symbol.asyncIterator](): AsyncIterator<Message, undefined> {
    return {
      next: () => this.#next(),
      return: () => Promise.resolve({ done: true, value: undefined }),
    };
  }

  /**
   * Says goodbye and is without a connection until `wake`. Publishing goes on into the outbox; what backends send waits at the broker.
   * A device that keeps its connection and its presence while it sleeps needs no such call: it asks for a `keepAlive` longer than its sleep.
   */
  sleep(): void {
    if (this.#endError !== undefined || this.#isAsleep) return;
    this.#isAsleep = true;
    clearTimeout(this.#timer);
    this.#goodbye();
    if (this.#link === undefined) this.#become("sleeping");
    else this.#link.end(undefined, true);
  }

  /** Connects at once after `sleep`. With a connection: looks whether it still lives, after a suspension of the machine, and makes a new one where it does not. */
  wake(): void {
    if (this.#welcomed) this.#link?.probe();
    if (!this.#isAsleep || this.#endError !== undefined) return;
    this.#isAsleep = false;
    this.#failures = 0;
    this.#connect();
  }

  /** Says goodbye and closes. What is not settled rejects with `closed`; in a file it stays. */
  async close(): Promise<void> {
    if (this.#connection === "closed") return;
    this.#goodbye();
    this.#end(new DeviceError("closed", true, "The device was closed."), "closed");
    await this.#outbox.close();
  }

  #goodbye(): void {
    const link = this.#link;
    if (link === undefined || !this.#welcomed) return;
    if (this.#receivedDue) this.#writeReceived(link);
    writeGoodbye(link.out);
    link.flush();
  }

  // --- publishing ---

  #publish(kind: Kind, payload: Uint8Array | string, options: PublishOptions): Promise<void> {
    if (this.#endError !== undefined) return Promise.reject(this.#endError);
    if (!this.#hasRoom()) return Promise.reject(new DeviceError("outbox_full", true, "Wait for room()."));
    const wrong = payloadIsWrong(payload) || publishOptionsAreWrong(options) || headersAreWrong(options.headers);
    if (wrong !== "") return Promise.reject(new DeviceError("bad_request", false, wrong).calledFrom(this.publish));
    const expires = options.expires === undefined ? 0 : Number(options.expires);
    if (!Number.isSafeInteger(expires) || expires < 0) return Promise.reject(new DeviceError("bad_request", false, "`expires` is a Date or milliseconds since 1970."));
    const body = encodeBody(payload, options.headers, expires);
    if (body.length + PUBLISH_OVERHEAD_BYTES > this.#maxFrame) return Promise.reject(tooLarge(this.#maxFrame));
    return new Promise((resolve, reject) => {
      this.#outbox.add(kind, body, expires, resolve, reject);
      this.#soon();
    });
  }

  #hasRoom(): boolean {
    return this.#outbox.size < this.#mostMessages && this.#outbox.bytes < this.#mostBytes;
  }

  #soon(): void {
    if (this.#flushDue) return;
    this.#flushDue = true;
    queueMicrotask(this.#flushSoon);
  }

  /** The end of a turn: makes durable what is not, sends what may be sent, in one write or a few. */
  #flush(): void {
    this.#flushDue = true; // an outbox in memory is durable at once: no second flush for that
    this.#sync();
    this.#flushDue = false;
    const link = this.#link;
    if (link === undefined || !this.#welcomed) return;
    if (this.#receivedDue) this.#writeReceived(link);
    const { base } = this.#outbox.session;
    const limit = this.#resendTimer === undefined ? Math.min(this.#outbox.durable, this.#outbox.first - 1 + this.#window) : 0;
    let now = 0;
    while (this.#sent < limit && link.hasRoom) {
      const item = this.#outbox.at(this.#sent + 1)!;
      if (!item.sent && item.expires !== 0 && item.expires <= (now ||= Date.now())) this.#giveUp(item, new DeviceError("expired", false, "It expired before it was sent."));
      else if (item.body.length + PUBLISH_OVERHEAD_BYTES > this.#maxFrame) this.#giveUp(item, tooLarge(this.#maxFrame));
      item.sent = true;
      this.#sent += 1;
      writePublish(link.out, item.place - base, item.kind, item.body);
      if (link.out.at >= WRITE_BYTES) link.flush();
    }
    link.flush();
  }

  #sync(): void {
    const place = this.#outbox.last;
    if (this.#syncing === place) return;
    this.#syncing = place;
    this.#outbox.whenDurable(() => {
      this.#outbox.durable = place;
      if (this.#link !== undefined && this.#welcomed) this.#soon();
    });
  }

  /** The message will not be stored; its number is spent on nothing, so that the next may follow. */
  #giveUp(item: Item, error: DeviceError): void {
    if (item.kind === KIND.void) return;
    this.#settleAs(item, error);
    this.#outbox.empty(item);
  }

  #settleAs(item: Item, error: DeviceError | undefined): void {
    if (item.kind === KIND.void) return; // told before
    if (error === undefined) item.resolve?.();
    else if (item.reject !== undefined) item.reject(error);
    else this.#tell("refused", { payload: new Message(0, 0, item.body, 0, item.body.length, () => undefined).payload, error });
  }

  /** Everything up to this place is stored, save what `voids` names by its series, rising. */
  #settleTo(place: number, voids: readonly Voided[]): void {
    const { base } = this.#outbox.session;
    let next = 0;
    while (this.#outbox.size > 0 && this.#outbox.first <= place) {
      const item = this.#outbox.shift();
      while (next < voids.length && voids[next]!.series < item.place - base) next += 1;
      const voided = voids[next]?.series === item.place - base ? voids[next] : undefined;
      this.#settleAs(item, voided === undefined ? undefined : refusal(voided.code, item));
    }
    this.#sent = Math.max(this.#sent, place);
    if (this.#roomWanted.length > 0 && this.#hasRoom()) this.#wakeRoom();
    if (this.#outbox.size === 0 && this.listenerCount("empty") > 0) this.#tell("empty");
  }

  #wakeRoom(): void {
    for (const wake of this.#roomWanted) wake();
    this.#roomWanted = [];
  }

  // --- the connection's life ---

  #connect(): void {
    const broker = this.#brokers[this.#broker]!;
    this.#become("connecting");
    this.#welcomed = false;
    this.#retryAfterMs = 0;
    this.#nonceRaised = false;
    this.#link = new Link(broker.host, broker.port, this.#tls, MOST_FRAME_BYTES, this.#owner);
  }

  #hello(link: Link): void {
    const { session, base, opening } = this.#outbox.session;
    const resumes = session !== 0 && !opening;
    this.#nonce = nonceAbove(this.#nonce);
    writeHello(link.out, {
      protocol: PROTOCOL,
      device: this.id,
      token: this.#token,
      session: resumes ? session : 0,
      nonce: this.#nonce,
      oldest: resumes ? this.#outbox.first - base : 1,
      next: resumes ? this.#outbox.last + 1 - base : 1,
      leaves: resumes ? 0 : session,
      window: this.#options.window ?? DEFAULT_WINDOW,
      wrap: 0,
      keepAlive: this.#options.keepAlive ?? HELLO_DEFAULTS.keepAlive,
      receiveWindow: this.#options.receiveWindow ?? HELLO_DEFAULTS.receiveWindow,
      maxFrame: MOST_FRAME_BYTES,
      after: this.#has,
      desired: this.state.desired.version,
    });
    link.flush();
  }

  /** Resumes, or opens: that it leaves its session is durable first, so that it is not resumed after a crash. */
  #begin(link: Link): void {
    const session = this.#outbox.session;
    if (session.session === 0 && !session.opening) this.#startOpening(0, link);
    else if (session.opening) this.#outbox.whenDurable(() => this.#link === link && this.#hello(link));
    else this.#hello(link);
  }

  #startOpening(leaves: number, link: Link): void {
    this.#outbox.setSession({ session: leaves, base: this.#outbox.session.base, nonce: this.#nonce, opening: true });
    this.#outbox.whenDurable(() => this.#link === link && this.#hello(link));
  }

  #welcome(link: Link, welcome: WelcomeFrame): void {
    const { session, opening } = this.#outbox.session;
    if (opening) {
      if (session !== 0) this.#settleTo(this.#outbox.session.base + welcome.leftAt, []);
      // The oldest message that is left becomes `last + 1`.
      const settled: Session = { session: welcome.session, base: this.#outbox.first - 1 - welcome.last, nonce: this.#nonce, opening: false };
      this.#outbox.setSession(settled);
    } else this.#settleTo(this.#outbox.session.base + welcome.last, welcome.voids);
    this.#sent = this.#outbox.first - 1;
    this.#window = welcome.window;
    this.#maxFrame = welcome.maxFrame;
    this.#wentBackTo = 0;
    this.#refusals = 0;
    if (welcome.end < this.#has) {
      // The stream is shorter than it was: an accepted loss (R9). What comes now is new.
      this.#receiveAnew(welcome.end);
    }
    this.#receivedDue = this.#outbox.handled > welcome.handled || this.#taken > welcome.delivered;
    link.keepAlive(welcome.keepAlive);
    // A session is durable before its first message is sent: else a restart would send it again under another (R26).
    if (opening) this.#outbox.whenDurable(() => this.#link === link && this.#ready());
    else this.#ready();
  }

  #ready(): void {
    this.#welcomed = true;
    this.#connectedAt = Date.now();
    this.#become("connected");
    this.state.connected();
    this.#soon();
  }

  #lost(why: Error | undefined): void {
    this.#link = undefined;
    if (this.#endError !== undefined) return;
    if (this.#welcomed && Date.now() - this.#connectedAt >= STABLE_MS) {
      this.#failures = 0;
      this.#goodUntil = performance.now();
    }
    this.#welcomed = false;
    clearTimeout(this.#resendTimer);
    this.#resendTimer = undefined;
    // What the application has not taken comes again: so reconnecting makes nothing grow.
    this.#inbox.clear();
    this.#has = this.#taken;
    if (this.#isAsleep) return this.#become("sleeping");
    // A broker that is not to be trusted is asked seldom, and asked again: its certificate may be renewed, or the one between gone.
    const isUntrusted = why instanceof DeviceError && why.code === "untrusted";
    const most = mostWait(this.#mostWaitMs, performance.now() - this.#goodUntil);
    const wait = isUntrusted ? jitter(RECONNECT_UNTRUSTED_BASE_MS, this.#failures, MOST_WAIT_UNTRUSTED_MS) : jitter(RECONNECT_BASE_MS, this.#failures, most, this.#retryAfterMs);
    this.#become("waiting", why, wait);
    this.#failures += 1;
    this.#broker = (this.#broker + 1) % this.#brokers.length;
    this.#timer = setTimeout(() => this.#connect(), wait);
  }

  #stop(error: DeviceError): void {
    this.#end(error, "stopped");
  }

  #end(error: DeviceError, state: "closed" | "stopped"): void {
    if (this.#endError === undefined) {
      this.#endError = error;
      clearTimeout(this.#timer);
      clearTimeout(this.#resendTimer);
      for (const item of this.#outbox) item.reject?.(error);
      this.state.ended(error);
      if (state === "closed") this.#wanting?.resolve({ done: true, value: undefined });
      else this.#wanting?.reject(error);
      this.#wanting = undefined;
      this.#wakeRoom();
      this.#link?.end(undefined, true);
    }
    this.#become(state, error);
  }

  #become(state: ConnectionState, error?: Error, retryInMs = 0): void {
    this.#connection = state;
    this.#tell("connection", { state, broker: this.#brokers[this.#broker]!.name, error, retryInMs });
  }

  /** Listeners run outside of what tells them, so that a throw of theirs is theirs. */
  #tell<K extends keyof DeviceEvents>(name: K, ...args: DeviceEvents[K]): void {
    process.nextTick(() => this.emit(name, ...(args as never)));
  }

  // --- what the broker says ---

  #linkOwner(): LinkOwner {
    return {
      opened: () => this.#begin(this.#link!),
      turn: () => this.#flush(),
      lost: (why) => this.#lost(why),
      welcome: (welcome) => this.#welcome(this.#link!, welcome),
      ack: (series, voids) => this.#acked(series, voids),
      refuse: (expected, code, retryable) => this.#refused(expected, code, retryable),
      deliver: (offset, time, bytes, start, end) => this.#deliver(offset, time, bytes, start, end),
      document: (request, desired, reported) => this.#document(request, desired, reported),
      credit: (window) => void (this.#window = window),
      broken: (generation, last, nonce) => this.#broken(generation, last, nonce),
      pong: () => undefined,
      close: (code, detail, retryAfterMs, retryable) => this.#closed(code, detail, retryAfterMs, retryable),
      missed: (from, to, code) => this.#tell("missed", { from, to, code }),
    };
  }

  #acked(series: number, voids: readonly Voided[]): void {
    const place = this.#outbox.session.base + series;
    if (place < this.#outbox.first) return;
    if (place > this.#sent) return this.#link!.end(new Error("The broker acknowledged what was not sent."));
    this.#wentBackTo = 0;
    this.#refusals = 0;
    this.#settleTo(place, voids);
  }

  #refused(expected: number, code: string, retryable: boolean): void {
    const place = this.#outbox.session.base + expected;
    if (place < this.#outbox.first || place > this.#sent + 1) return this.#link!.end(new Error("The broker expects what cannot be sent."));
    if (this.#wentBackTo === place && code === "gap") return; // frames of before the way back
    this.#wentBackTo = place;
    this.#sent = place - 1;
    if (!retryable) {
      const item = this.#outbox.at(place);
      if (item !== undefined) this.#giveUp(item, refusal(code, item));
    } else if (code !== "gap") {
      clearTimeout(this.#resendTimer);
      this.#resendTimer = setTimeout(() => {
        this.#resendTimer = undefined;
        this.#flush();
      }, jitter(RESEND_BASE_MS, this.#refusals, this.#mostWaitMs));
      this.#refusals += 1;
    }
  }

  #receiveAnew(after: number): void {
    this.#inbox.clear();
    this.#has = this.#taken = after;
    this.#outbox.setHandled(Math.min(this.#outbox.handled, after));
  }

  #broken(generation: number, last: number, nonce: bigint): void {
    const link = this.#link!;
    this.#welcomed = false;
    const { session, base, opening } = this.#outbox.session;
    if (nonce !== 0n) {
      // The clock is behind the one that gave the last nonce: once more, above it.
      if (this.#nonceRaised) return link.end(new Error("The broker refuses a greater nonce too."));
      this.#nonceRaised = true;
      if (nonce > this.#nonce) this.#nonce = nonce;
      return this.#begin(link);
    }
    if (opening || session === 0) return link.end(new Error("The broker does not open a session."));
    if (last === 0) this.#receiveAnew(0); // the broker knows nothing of the session: its stream may be another one, and its own cursor says what comes next
    const oldest = this.#outbox.first - base;
    const doubled = last > this.#outbox.last - base;
    this.#tell("broken", { session, generation, missing: last < oldest - 1 ? { from: last + 1, to: oldest - 1 } : undefined, doubled });
    // What cannot be told from the messages up to `last` is not settled by them: the session is not named as left.
    this.#startOpening(doubled ? 0 : session, link);
  }

  #closed(code: string, detail: string, retryAfterMs: number, retryable: boolean): void {
    const error = new DeviceError(code, retryable, detail);
    if (!retryable) return this.#stop(error);
    this.#retryAfterMs = retryAfterMs;
    this.#link!.end(error);
  }

  // --- receiving ---

  #deliver(offset: number, time: number, bytes: Uint8Array, start: number, end: number): void {
    if (offset <= this.#has) return;
    this.#has = offset;
    this.#receivedDue = true;
    const message = new Message(offset, time, bytes, start, end, this.#whenHandled);
    const wanting = this.#wanting;
    if (wanting === undefined) {
      assert(this.#inbox.size <= 65_536, "the receive window bounds the inbox");
      this.#inbox.push(message);
      return;
    }
    this.#wanting = undefined;
    this.#taken = offset;
    wanting.resolve({ done: false, value: message });
  }

  #next(): Promise<IteratorResult<Message, undefined>> {
    this.#handledTo(this.#taken);
    const message = this.#inbox.shift();
    if (message !== undefined) {
      this.#taken = message.offset;
      return Promise.resolve({ done: false, value: message });
    }
    if (this.#connection === "stopped") return Promise.reject(this.#endError!);
    if (this.#connection === "closed") return Promise.resolve({ done: true, value: undefined });
    if (this.#wanting !== undefined) return Promise.reject(new DeviceError("bad_request", false, "One loop at a time takes the messages."));
    return new Promise((resolve, reject) => {
      this.#wanting = { resolve, reject };
    });
  }

  #handledTo(offset: number): void {
    if (offset <= this.#outbox.handled) return;
    this.#outbox.setHandled(offset);
    this.#receivedDue = true;
    this.#soon();
  }

  #writeReceived(link: Link): void {
    this.#receivedDue = false;
    const handled = this.#outbox.handled;
    writeReceived(link.out, Math.max(this.#has, handled), handled);
  }

  #document(request: number, desired: Document, reported: Document | undefined): void {
    if (this.state.told(request, desired, reported)) this.#tell("desired");
  }

  #ask(request: number): void {
    const link = this.#link;
    if (link === undefined || !this.#welcomed) return;
    writeStateRequest(link.out, request);
    this.#soon();
  }
}

/**
 * A device of this name, connecting and publishing from now on; nothing has to be awaited.
 * @throws DeviceError `bad_request` for options that make no sense, `outbox_failed` when the file cannot be used.
 */
export function connect(options: DeviceOptions): Device {
  try {
    return new Device(options);
  } catch (error) {
    throw error instanceof DeviceError ? error.calledFrom(connect) : error;
  }
}

/** @throws DeviceError `bad_request` where the certificate, the key or the authority is none. */
function secureOptions(tls: NonNullable<DeviceOptions["tls"]>): SecureOptions {
  const { servername, ...material } = tls === true ? {} : tls;
  try {
    const secureContext = createSecureContext({ minVersion: "TLSv1.2", ...material });
    return { secureContext, ...(servername === undefined ? {} : { servername }) };
  } catch (error) {
    throw new DeviceError("bad_request", false, `\`tls\` cannot be used: ${(error as Error).message}.`);
  }
}

/** Why the broker refused a message for good; what its code does not tell is added. */
function refusal(code: string, { kind, body }: Item): DeviceError {
  if (code === "bad_document" && kind === KIND.statePatch) return new DeviceError(code, false, `The document would have more than ${DOCUMENT_BYTES} bytes, or be nested deeper than ${DOCUMENT_DEPTH}.`);
  if (code === "too_large") return new DeviceError(code, false, `The broker takes no message of ${body.length} bytes, payload and headers (its settings maxPayloadBytes and maxHeadersBytes).`);
  return new DeviceError(code, false, "");
}

function tooLarge(maxFrame: number): DeviceError {
  return new DeviceError("too_large", false, `A message and its headers have at most ${maxFrame - PUBLISH_OVERHEAD_BYTES} bytes.`);
}

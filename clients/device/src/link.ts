// One TCP connection to one broker: frames in, one write a turn out, and the keep-alive. It knows nothing of sessions.

import { connect, isIP, type Socket } from "node:net";
import { connect as connectTls, type SecureContext, TLSSocket } from "node:tls";
import { BellhopError } from "../../../src/base/errors.ts";
import { type FromBroker, readFromBroker, writePing } from "../../../src/wire/device.ts";
import { Deframer } from "../../../src/wire/frame.ts";
import { Writer } from "../../../src/wire/msgpack.ts";
import { DeviceError } from "./errors.ts";

/** From the attempt to connect until WELCOME, at most. Milliseconds. */
const WELCOME_TIMEOUT_MS = 30_000;
/** What was sent and not answered for so long is asked about by a PING, and the link given up when that stays unanswered as long. Milliseconds. */
const ANSWER_MS = 20_000;
/** The same for a link that `probe` asks about. */
const PROBE_MS = 5000;
/** A sign of life goes out after this share of the keep-alive. */
const KEEP_ALIVE_SHARE = 0.9;
/** Bytes handed to the socket and not sent yet, at most, before nothing more is written. */
const MOST_WAITING_BYTES = 256 * 1024;

export interface LinkOwner extends FromBroker {
  /** The socket is open: HELLO may go out. */
  opened(): void;
  /** The socket takes bytes again, or the turn's frames were all read. */
  turn(): void;
  /** Called once, also when it never opened. */
  lost(why: Error | undefined): void;
}

export interface SecureOptions {
  readonly secureContext: SecureContext;
  readonly servername?: string;
}

export class Link {
  readonly out = new Writer(1024);
  readonly #socket: Socket;
  readonly #owner: LinkOwner;
  readonly #deframer: Deframer;
  #timer: NodeJS.Timeout;
  #keepAliveMs = 0;
  /** Monotonic, milliseconds. */
  #sentAt = 0;
  /** Since when something is out and nothing has come; 0: nothing is out. */
  #silentSince = 0;
  #answerTimer: NodeJS.Timeout | undefined;
  #ended = false;

  /** @param tls undefined: plain text. */
  constructor(host: string, port: number, tls: SecureOptions | undefined, maxFrame: number, owner: LinkOwner) {
    this.#owner = owner;
    this.#deframer = new Deframer(maxFrame);
    this.#timer = setTimeout(() => this.end(new Error("No WELCOME came in time.")), WELCOME_TIMEOUT_MS);
    this.#socket = tls === undefined ? connect({ host, port, noDelay: true }) : secured(host, port, tls);
    this.#socket.on("error", (error) => this.end(this.#isUntrusted() ? new DeviceError("untrusted", true, `The broker's certificate is not trusted: ${error.message}.`) : error));
    this.#socket.on("close", () => this.end(undefined));
    this.#socket.on(tls === undefined ? "connect" : "secureConnect", () => this.#ended || owner.opened());
    this.#socket.on("drain", () => this.#ended || owner.turn());
    this.#socket.on("data", (chunk) => this.#read(chunk));
  }

  /** May more be written in this turn? */
  get hasRoom(): boolean {
    return this.#socket.writableLength < MOST_WAITING_BYTES;
  }

  /** Writes what `out` holds, in one piece. */
  flush(): void {
    if (this.out.at === 0 || this.#ended) return;
    this.#sentAt = performance.now();
    if (this.#silentSince === 0) this.#silentSince = this.#sentAt;
    if (this.#keepAliveMs !== 0) this.#answerTimer ??= setTimeout(() => this.#look(0), ANSWER_MS);
    this.#socket.write(Buffer.from(this.out.written));
    this.out.clear();
  }

  /** After WELCOME: sends PING in time. */
  keepAlive(seconds: number): void {
    this.#keepAliveMs = seconds * 1000;
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#signOfLife(), this.#keepAliveMs * KEEP_ALIVE_SHARE);
  }

  /** Does it still live? If not it ends soon. */
  probe(): void {
    this.#ping();
    const asked = performance.now();
    clearTimeout(this.#answerTimer);
    this.#answerTimer = setTimeout(() => {
      this.#answerTimer = undefined;
      if (this.#silentSince !== 0 && this.#silentSince <= asked) this.end(silent());
    }, PROBE_MS);
  }

  /** Closes at once, or after what was written has gone out. */
  end(why: Error | undefined, gently = false): void {
    if (this.#ended) return;
    this.#ended = true;
    clearTimeout(this.#timer);
    clearTimeout(this.#answerTimer);
    if (gently) this.#socket.destroySoon();
    else this.#socket.destroy();
    this.#owner.lost(why);
  }

  #read(chunk: Buffer): void {
    if (this.#ended) return;
    this.#silentSince = 0;
    try {
      this.#deframer.push(chunk, this);
    } catch (error) {
      this.end(error instanceof BellhopError ? new DeviceError(error.code, true, error.detail) : (error as Error));
      return;
    }
    this.#owner.turn();
  }

  frame(bytes: Uint8Array, start: number, end: number): boolean {
    readFromBroker(bytes, start, end, this.#owner);
    return !this.#ended;
  }

  #signOfLife(): void {
    const dueInMs = this.#sentAt + this.#keepAliveMs * KEEP_ALIVE_SHARE - performance.now();
    if (dueInMs <= 0) this.#ping();
    this.#timer = setTimeout(() => this.#signOfLife(), dueInMs > 0 ? dueInMs : this.#keepAliveMs * KEEP_ALIVE_SHARE);
  }

  #ping(): void {
    writePing(this.out);
    this.flush();
  }

  /** A half-open connection tells nothing by itself: after a silence it is asked, after as much again given up. @param asked the silence that a PING went out for; 0: none. */
  #look(asked: number): void {
    this.#answerTimer = undefined;
    const since = this.#silentSince;
    if (since === 0) return;
    if (since === asked) return this.end(silent());
    const leftMs = since + ANSWER_MS - performance.now();
    this.#answerTimer = setTimeout(() => this.#look(leftMs > 0 ? 0 : since), leftMs > 0 ? leftMs : ANSWER_MS);
    if (leftMs <= 0) this.#ping();
  }

  /** Its certificate was looked at, and refused. */
  #isUntrusted(): boolean {
    return this.#socket instanceof TLSSocket && Boolean(this.#socket.authorizationError);
  }
}

function silent(): Error {
  return new Error("The broker fell silent.");
}

/** A server's name is told where there is one: an address is none (RFC 6066). */
function secured(host: string, port: number, tls: SecureOptions): Socket {
  return connectTls({ ...(isIP(host) === 0 ? { servername: host } : {}), ...tls, host, port }).setNoDelay();
}

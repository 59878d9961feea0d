// One TCP connection to one broker: frames in, one write a turn out, and the keep-alive. It knows nothing of sessions.

import { connect, isIP, type Socket } from "node:net";
import { connect as connectTls, type ConnectionOptions } from "node:tls";
import { type FromBroker, readFromBroker, writePing } from "../../../src/wire/device.ts";
import { Deframer } from "../../../src/wire/frame.ts";
import { Writer } from "../../../src/wire/msgpack.ts";

/** From the attempt to connect until WELCOME, at most. Milliseconds. */
const WELCOME_TIMEOUT_MS = 30_000;
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

export class Link {
  readonly out = new Writer(1024);
  readonly #socket: Socket;
  readonly #owner: LinkOwner;
  readonly #deframer: Deframer;
  #timer: NodeJS.Timeout;
  #heard = true;
  #silentTicks = 0;
  #sent = false;
  #ended = false;

  /** @param tls undefined: plain text. */
  constructor(host: string, port: number, tls: true | ConnectionOptions | undefined, maxFrame: number, owner: LinkOwner) {
    this.#owner = owner;
    this.#deframer = new Deframer(maxFrame);
    this.#timer = setTimeout(() => this.end(new Error("No WELCOME came in time.")), WELCOME_TIMEOUT_MS);
    this.#socket = tls === undefined ? connect({ host, port, noDelay: true }) : secured(host, port, tls === true ? {} : tls);
    this.#socket.on("error", (error) => this.end(error));
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
    this.#sent = true;
    this.#socket.write(Buffer.from(this.out.written));
    this.out.clear();
  }

  /** After WELCOME: sends PING in time, and gives the link up when the broker falls silent. Looks three times in each keep-alive. */
  keepAlive(seconds: number): void {
    clearTimeout(this.#timer);
    this.#timer = setInterval(() => this.#tick(), (seconds * 1000) / 3);
  }

  /** Closes at once, or after what was written has gone out. */
  end(why: Error | undefined, gently = false): void {
    if (this.#ended) return;
    this.#ended = true;
    clearTimeout(this.#timer);
    if (gently) this.#socket.destroySoon();
    else this.#socket.destroy();
    this.#owner.lost(why);
  }

  #read(chunk: Buffer): void {
    if (this.#ended) return;
    this.#heard = true;
    try {
      this.#deframer.push(chunk, this);
    } catch (error) {
      this.end(error as Error);
      return;
    }
    this.#owner.turn();
  }

  frame(bytes: Uint8Array, start: number, end: number): boolean {
    readFromBroker(bytes, start, end, this.#owner);
    return !this.#ended;
  }

  #tick(): void {
    this.#silentTicks = this.#heard ? 0 : this.#silentTicks + 1;
    this.#heard = false;
    if (this.#silentTicks > 4) {
      this.end(new Error("The broker fell silent."));
      return;
    }
    // PING when this side was silent, and when the other one is: a PONG then tells whether it lives.
    if (!this.#sent || this.#silentTicks > 0) writePing(this.out);
    this.flush();
    this.#sent = false;
  }
}

/** A server's name is told where there is one: an address is none (RFC 6066). */
function secured(host: string, port: number, tls: ConnectionOptions): Socket {
  return connectTls({ ...(isIP(host) === 0 ? { servername: host } : {}), minVersion: "TLSv1.2", ...tls, host, port }).setNoDelay();
}

// The device port: it listens for as long as the process runs, and the servers of the node's incarnations take its sockets one after the other. While none does, devices are told when to come back.

import { createServer, type Server, type Socket } from "node:net";
import { hostAndPort } from "../base/address.ts";
import { ERRORS } from "../base/errors.ts";
import { addressOf, listening } from "../doors/listen.ts";
import { writeClose } from "../wire/device.ts";
import { Writer } from "../wire/msgpack.ts";

const BACKLOG = 4096;
/** Who is sent away comes back at a random time up to this, and has this long to read it. Milliseconds. */
const AWAY_MS = 2000;

export class DevicePort {
  readonly #server: Server;
  readonly #wanted: string;
  readonly #sendAway: (socket: Socket) => void;
  #take: (socket: Socket) => void;

  /** @param isTls nothing can be said without a handshake: sockets that nobody takes are closed. */
  constructor(address: string, isTls: boolean) {
    this.#wanted = address;
    this.#sendAway = isTls ? close : sendAway;
    this.#take = this.#sendAway;
    this.#server = createServer({ noDelay: true }, (socket) => this.#take(socket));
  }

  /** HOST:PORT where it listens; the real port where 0 was asked for. */
  get address(): string {
    return addressOf(this.#server, this.#wanted);
  }

  /** From now on sockets go there, in the tick of their accept. Listens, where this is the first one; rejects where the address is taken. */
  async open(take: (socket: Socket) => void, failed: (error: Error) => void): Promise<void> {
    this.#take = take;
    if (this.#server.listening) return;
    await listening(this.#server, { ...hostAndPort(this.#wanted), backlog: BACKLOG });
    this.#server.on("error", failed);
  }

  /** The incarnation that took them is over. */
  leave(): void {
    this.#take = this.#sendAway;
  }

  /** Stops listening. */
  close(): void {
    this.leave();
    if (this.#server.listening) this.#server.close();
  }
}

function close(socket: Socket): void {
  socket.on("error", () => undefined);
  socket.destroy();
}

function sendAway(socket: Socket): void {
  socket.on("error", () => undefined);
  const late = setTimeout(() => socket.destroy(), AWAY_MS);
  socket.once("close", () => clearTimeout(late));
  const out = new Writer(64);
  writeClose(out, "stopping", "", Math.ceil(Math.random() * AWAY_MS), ERRORS.stopping.retryable);
  socket.resume(); // its HELLO: a close with bytes unread would be a reset
  socket.end(out.written);
}

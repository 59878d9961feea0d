// TLS handshakes of devices: so many at once, the others wait unread for their turn, and none for longer than a HELLO may take.

import type { Socket } from "node:net";
import { createServer, type Server, type TLSSocket } from "node:tls";
import type { Certificates } from "../doors/certificates.ts";

export interface HandshakesKeeper {
  readonly tick: number;
  readonly limits: { readonly handshakesAtOnce: number; readonly helloMs: number };
  readonly tickMs: number;
  /** The handshake is done; `since` is the tick of the accept. */
  secured(socket: TLSSocket, since: number): void;
  /** The socket has gone before. */
  dropped(address: string): void;
}

interface Pending {
  readonly raw: Socket;
  readonly address: string;
  readonly since: number;
}

export class Handshakes {
  readonly #keeper: HandshakesKeeper;
  #server: Server;
  /** In the order of their accept. */
  readonly #running = new Map<string, Pending>();
  readonly #waiting = new Map<string, Pending>();

  constructor(keeper: HandshakesKeeper, certificates: Certificates) {
    this.#keeper = keeper;
    this.#server = this.#serverOf(certificates);
  }

  /** Sockets that have not finished their handshake. */
  get size(): number {
    return this.#running.size + this.#waiting.size;
  }

  /** From the next handshake on. A ticket of before is worth nothing: each server has keys of its own for them. */
  use(certificates: Certificates): void {
    this.#server = this.#serverOf(certificates);
  }

  /** @param raw a socket with its error listener, nothing read from it yet. */
  begin(raw: Socket, address: string): void {
    const name = nameOf(raw);
    const pending = { raw, address, since: this.#keeper.tick };
    raw.once("close", () => this.#gone(name, raw));
    if (this.#running.size < this.#keeper.limits.handshakesAtOnce) this.#run(name, pending);
    else this.#waiting.set(name, pending);
  }

  /** Ends those that take too long. Once a tick. */
  expire(): void {
    const oldest = this.#keeper.tick - Math.ceil(this.#keeper.limits.helloMs / this.#keeper.tickMs);
    for (const some of [this.#running, this.#waiting]) {
      for (const { raw, since } of some.values()) {
        if (since >= oldest) break;
        raw.destroy();
      }
    }
  }

  closeAll(): void {
    for (const some of [this.#running, this.#waiting]) for (const { raw } of some.values()) raw.destroy();
  }

  #run(name: string, pending: Pending): void {
    this.#running.set(name, pending);
    this.#server.emit("connection", pending.raw);
  }

  #serverOf({ device, asksDevices }: Certificates): Server {
    // A device without a certificate may have a token: who it is, is settled at HELLO.
    const server = createServer({ ...device, requestCert: asksDevices, rejectUnauthorized: false });
    server.on("secureConnection", (socket) => {
      const pending = this.#running.get(nameOf(socket));
      if (pending === undefined) return void socket.destroy();
      this.#running.delete(nameOf(socket));
      this.#keeper.secured(socket, pending.since);
      this.#next();
    });
    server.on("tlsClientError", (_error, socket) => socket.destroy());
    return server;
  }

  #gone(name: string, raw: Socket): void {
    for (const some of [this.#running, this.#waiting]) {
      const pending = some.get(name);
      if (pending?.raw !== raw) continue;
      some.delete(name);
      this.#keeper.dropped(pending.address);
    }
    this.#next();
  }

  #next(): void {
    for (const [name, pending] of this.#waiting) {
      if (this.#running.size >= this.#keeper.limits.handshakesAtOnce) return;
      this.#waiting.delete(name);
      this.#run(name, pending);
    }
  }
}

/** One for each open socket. */
function nameOf({ remoteAddress, remotePort }: Socket): string {
  return `${remoteAddress}|${remotePort}`;
}

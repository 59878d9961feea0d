// How many HTTP connections are open at once (F5): a request on one too many is refused in words, and that connection closes. An error listener stands from the accept on.

import type { FastifyReply, FastifyRequest } from "fastify";
import type { Server } from "node:http";
import type { Socket } from "node:net";
import { BellhopError } from "../base/errors.ts";
import type { Settings } from "../config.ts";

/** Connections above the limit that live until they have been told so; those beyond are cut. */
const MOST_REFUSED = 100;

export class ConnectionLimit {
  #most!: number;
  #server: Server | undefined;
  readonly #refused = new Set<Socket>();
  /** Connections at present, and since the start. */
  open = 0;
  taken = 0;

  constructor(settings: Settings) {
    this.set(settings);
  }

  set(settings: Settings): void {
    this.#most = settings.httpMaxConnections;
    if (this.#server !== undefined) this.#server.maxConnections = this.#most + MOST_REFUSED;
  }

  watch(server: Server): void {
    this.#server = server;
    server.maxConnections = this.#most + MOST_REFUSED;
    server.on("connection", (socket) => {
      socket.on("error", () => undefined); // "close" follows
      this.open += 1;
      this.taken += 1;
      if (this.open > this.#most) this.#refused.add(socket);
      socket.on("close", () => {
        this.open -= 1;
        this.#refused.delete(socket);
      });
    });
    // A handshake that failed: what ends it has been said to the other side.
    server.on("tlsClientError", (_error, socket: Socket) => socket.destroy());
  }

  /** @throws BellhopError `overloaded` on a connection above the limit. */
  check(request: FastifyRequest, reply: FastifyReply): void {
    if (this.#refused.size === 0 || !this.#isRefused(request.raw.socket)) return;
    void reply.header("connection", "close");
    throw new BellhopError("overloaded", `${this.#most} HTTP connections are open (httpMaxConnections).`);
  }

  /** Over TLS the request's socket is not the one that was accepted, but has its ports. */
  #isRefused(socket: Socket): boolean {
    for (const { remotePort, remoteAddress } of this.#refused) if (remotePort === socket.remotePort && remoteAddress === socket.remoteAddress) return true;
    return false;
  }
}

// How many HTTP connections are open at once (F5): a request on one too many is refused in words, and that connection closes. An error listener stands from the accept on.
// And how many requests wait on one connection: what a client sends without reading its answers must not be worked off into memory.

import type { FastifyReply, FastifyRequest } from "fastify";
import type { Server } from "node:http";
import type { Socket } from "node:net";
import { BellhopError } from "../base/errors.ts";
import type { Settings } from "../config.ts";

/** Connections above the limit that live until they have been told so; those beyond are cut. */
const MOST_REFUSED = 100;
/** Requests that wait on one connection behind an unfinished answer; further ones are refused. (One read of a socket may bring a thousand.) */
const MOST_PIPELINED = 16;

export class ConnectionLimit {
  #most!: number;
  #server: Server | undefined;
  readonly #refused = new Set<Socket>();
  readonly #pipelined = new WeakMap<Socket, number>();
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

  /** @throws BellhopError `overloaded` on a connection above the limit, `too_many_requests` behind too many unfinished answers. */
  check(request: FastifyRequest, reply: FastifyReply): void {
    if (reply.raw.socket === null) this.#checkPipelined(request, reply); // the answer has to wait for those before it
    if (this.#refused.size === 0 || !this.#isRefused(request.raw.socket)) return;
    void reply.header("connection", "close");
    throw new BellhopError("overloaded", `${this.#most} HTTP connections are open (httpMaxConnections).`);
  }

  #checkPipelined({ raw: { socket } }: FastifyRequest, reply: FastifyReply): void {
    const waiting = (this.#pipelined.get(socket) ?? 0) + 1;
    if (waiting > MOST_PIPELINED) throw new BellhopError("too_many_requests", `${MOST_PIPELINED} requests wait for their answers on this connection.`);
    this.#pipelined.set(socket, waiting);
    reply.raw.once("finish", () => this.#pipelined.set(socket, this.#pipelined.get(socket)! - 1));
  }

  /** Over TLS the request's socket is not the one that was accepted, but has its ports. */
  #isRefused(socket: Socket): boolean {
    for (const { remotePort, remoteAddress } of this.#refused) if (remotePort === socket.remotePort && remoteAddress === socket.remoteAddress) return true;
    return false;
  }
}

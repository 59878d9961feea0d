// The HTTP port: it listens for as long as the process runs, and the node's incarnations answer on it one after the other. While none does, it says so.

import { createServer, type IncomingMessage, type Server, type ServerOptions, type ServerResponse } from "node:http";
import { createServer as createTlsServer, type Server as TlsServer } from "node:https";
import { hostAndPort } from "../base/address.ts";
import type { Settings } from "../config.ts";
import type { Certificates } from "../doors/certificates.ts";
import { addressOf, listening } from "../doors/listen.ts";
import { PROBLEM_TYPE, problemOf, retryAfterOf } from "./answers.ts";
import { ConnectionLimit } from "./connections.ts";

/** Greatest size of a request's head. */
const MAX_HEAD_BYTES = 16 * 1024;
/** Requests on one connection, after which it closes, so that connections spread over nodes again. */
const REQUESTS_PER_CONNECTION = 1_000_000;

type Handler = (request: IncomingMessage, response: ServerResponse) => void;

export class HttpPort {
  readonly connections: ConnectionLimit;
  readonly #server: Server;
  readonly #wanted: string;
  #handler: Handler = sendAway;

  constructor(settings: Settings, certificates: Certificates) {
    this.#wanted = settings.http;
    this.#server = serverOf(settings, certificates, (request, response) => this.#handler(request, response));
    this.connections = new ConnectionLimit(settings);
    this.connections.watch(this.#server);
  }

  /** HOST:PORT where it listens; the real port where 0 was asked for. */
  get address(): string {
    return addressOf(this.#server, this.#wanted);
  }

  /** For the framework, which puts its listener for clients' errors there. */
  get server(): Server {
    return this.#server;
  }

  /** From now on an incarnation answers. Listens, where this is the first one; rejects where the address is taken. */
  async open(handler: Handler): Promise<void> {
    this.#handler = handler;
    if (this.#server.listening) return;
    await listening(this.#server, hostAndPort(this.#wanted));
  }

  /** For handshakes to come. */
  use(certificates: Certificates): void {
    if (certificates.http !== undefined) (this.#server as TlsServer).setSecureContext(certificates.http);
  }

  /** The incarnation that answered is over: what is open is cut, and who comes is told to come again. */
  leave(): void {
    this.#handler = sendAway;
    this.#server.removeAllListeners("clientError"); // the framework's, of that incarnation
    this.#server.closeAllConnections();
  }

  /** Stops listening; open requests have so many seconds to end, then they are cut. */
  async close(withinSeconds: number): Promise<void> {
    if (!this.#server.listening) return;
    const cut = setTimeout(() => this.#server.closeAllConnections(), withinSeconds * 1000);
    await new Promise((resolve) => {
      this.#server.close(resolve);
    });
    clearTimeout(cut);
  }
}

/** Plain, or TLS 1.2 and later with HTTP/1.1 told by ALPN. */
function serverOf(settings: Settings, certificates: Certificates, handler: Handler): Server {
  const requestTimeout = settings.httpRequestSeconds * 1000;
  const options: ServerOptions = {
    maxHeaderSize: MAX_HEAD_BYTES, headersTimeout: requestTimeout, requestTimeout, connectionsCheckingInterval: 1000,
    keepAliveTimeout: settings.httpKeepAliveSeconds * 1000,
  };
  const tls = certificates.http === undefined ? undefined : { ...options, ...certificates.http, ALPNProtocols: ["http/1.1"], handshakeTimeout: requestTimeout };
  const server = tls === undefined ? createServer(options, handler) : createTlsServer(tls, handler);
  server.maxRequestsPerSocket = REQUESTS_PER_CONNECTION;
  server.timeout = 0; // the others bound a request; this one would cut quiet followers
  return server;
}

/** The process lives, and that is all: the node was departed and registers anew (R4). */
const sendAway: Handler = (request, response) => {
  if (request.url === "/livez") return void response.writeHead(200, { "content-type": "text/plain", connection: "close" }).end("ok\n");
  const problem = problemOf("stopping", "This node starts anew; ask another one, or this one in a second.");
  response.writeHead(problem.status, { "content-type": PROBLEM_TYPE, "retry-after": String(retryAfterOf("stopping")), connection: "close" }).end(JSON.stringify(problem));
};

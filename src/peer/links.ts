// All links of a node: one TCP connection for each pair of nodes, dialled by the one whose id is less, made anew after a back-off whenever it is lost (R12).

import { randomInt } from "node:crypto";
import { connect, createServer, type Server, type Socket } from "node:net";
import { connect as connectTls, createServer as createTlsServer, TLSSocket } from "node:tls";
import { hostAndPort } from "../base/address.ts";
import type { GatewayId, HopAnswer, HopRequest } from "../core/hop.ts";
import type { Beat, HopPublish } from "../core/node.ts";
import type { PeerMessage } from "../core/replica/types.ts";
import type { Node } from "../core/table/commands.ts";
import { LINK_VERSIONS, LinkError, writeAnswer, writeBeat, writeHop, writePublish, writeRead, writeReplica, type LinkHello, type LinkMessage } from "./codec.ts";
import { Link } from "./link.ts";
import type { ReadMessage } from "./reads.ts";

/** Back-off of a dial: a random time up to the first, doubled with each failure up to the second, in milliseconds. */
const REDIAL_MS = 50;
const REDIAL_CAP_MS = 1000;
/** A dial, and the hello of a socket that came in, have this long. */
const GREETING_MS = 3000;
const LOOK_MS = 500;
/** Sockets that have not yet said who they are. */
const STRANGERS_MAX = 64;

/** F1: both ends show a certificate of the cluster's authority whose common name is the node's id. PEM. */
export interface LinksTls {
  readonly ca: string;
  readonly cert: string;
  readonly key: string;
}

export interface LinksOptions {
  readonly cluster: string;
  readonly node: string;
  /** Where to listen; port 0 takes a free one. */
  readonly listen: { readonly host: string; readonly port: number };
  /** undefined: plain text. */
  readonly tls: LinksTls | undefined;
  /** A link that was silent for this long is closed, in ms: beats come many times as often. */
  readonly silentMs: number;
  /** A link came up, was lost or could not be made, in words. Trouble is what does not pass at the next dial, and is told again and again; `node` is "" where nobody knows whose it is. */
  readonly log: (node: string, what: string, isTrouble: boolean) => void;
}

export interface LinksEvents {
  /** Bytes came from the node, whole messages or not. */
  signOfLife(from: GatewayId): void;
  message(from: GatewayId, message: LinkMessage): void;
  /** Messages to that node arrive from now on; what was sent before was lost. */
  made(node: string): void;
  /** What was under way to and from that node may be lost. */
  lost(node: string): void;
}

/** What a node knows of its link to another one (E4). */
export interface LinkStats {
  readonly node: string;
  readonly isUp: boolean;
  readonly waitingBytes: number;
  readonly bytesIn: number;
  readonly bytesOut: number;
}

/** A peer as the table names it. */
interface Known {
  readonly id: string;
  address: string;
  link: Link | undefined;
  incarnation: number;
  isDialling: boolean;
  failures: number;
  redial: NodeJS.Timeout | undefined;
}

export class Links {
  readonly #options: LinksOptions;
  readonly #server: Server;
  readonly #peers = new Map<string, Known>();
  readonly #strangers = new Set<Socket>();
  readonly #looker: NodeJS.Timeout;
  /** Some link was made since the begin. */
  wasEverUp = false;
  /** Replicas' messages left out because a link was crowded. */
  leftOut = 0;
  #events: LinksEvents | undefined;
  #incarnation = 0;
  #closed = false;

  private constructor(options: LinksOptions, server: Server) {
    this.#options = options;
    this.#server = server;
    server.on(options.tls === undefined ? "connection" : "secureConnection", (socket: Socket) => this.#accept(socket));
    // Until the handshake is over a socket is TLS's own, and bounded by its time-out.
    server.on("tlsClientError", (error, socket: Socket) => {
      options.log("", `a socket ended in its TLS handshake: ${error.message.trim()}`, true);
      socket.destroy();
    });
    this.#looker = setInterval(() => this.#look(), LOOK_MS);
  }

  /** Listens; rejects where the address is taken. Nobody is dialled or let in before `begin`. */
  static async listen(options: LinksOptions): Promise<Links> {
    const { tls } = options;
    const server = tls === undefined ? createServer() : createTlsServer({ ...tls, requestCert: true, rejectUnauthorized: false, minVersion: "TLSv1.3", handshakeTimeout: GREETING_MS });
    await new Promise<void>((resolve, reject) => {
      server.once("error", reject);
      server.listen(options.listen.port, options.listen.host, () => {
        server.off("error", reject);
        resolve();
      });
    });
    return new Links(options, server);
  }

  /** The port it listens on. */
  get port(): number {
    const bound = this.#server.address();
    return typeof bound === "object" && bound !== null ? bound.port : this.#options.listen.port;
  }

  /** This node is registered under `incarnation`. */
  begin(incarnation: number, events: LinksEvents): void {
    this.#incarnation = incarnation;
    this.#events = events;
    for (const peer of this.#peers.values()) this.#dial(peer);
  }

  /** The nodes as the table names them now. */
  nodes(nodes: Iterable<Node>): void {
    for (const { id, address, state } of nodes) {
      if (id === this.#options.node) continue;
      let peer = this.#peers.get(id);
      if (peer === undefined) {
        this.#peers.set(id, (peer = { id, address: "", link: undefined, incarnation: 0, isDialling: false, failures: 0, redial: undefined }));
      }
      peer.address = state === "departed" ? "" : address.peer;
      this.#dial(peer);
    }
  }

  // --- sending: into the batch of the turn; what has no link is lost, as on any network ---

  replica(to: string, message: PeerMessage): void {
    const link = this.#peers.get(to)?.link;
    if (link === undefined) return;
    if (link.isCrowded && message.type !== "appended") this.leftOut += 1;
    else writeReplica(link.out, message);
  }

  hop(to: string, bucket: number, epoch: number, request: HopRequest): void {
    const link = this.#peers.get(to)?.link;
    if (link !== undefined) writeHop(link.out, bucket, epoch, request);
  }

  publish(to: string, bucket: number, epoch: number, request: HopPublish): void {
    const link = this.#peers.get(to)?.link;
    if (link !== undefined) writePublish(link.out, link.run, bucket, epoch, request);
  }

  /** Only to the incarnation that asked: another one would not know what is meant (B9). */
  answer(to: GatewayId, bucket: number, applied: number, answer: HopAnswer): void {
    const peer = this.#peers.get(to.node);
    if (peer?.link !== undefined && peer.incarnation === to.incarnation) writeAnswer(peer.link.out, to.incarnation, bucket, applied, answer);
  }

  /** What is about reads; lost where there is no link. */
  read(to: string, message: ReadMessage): void {
    const link = this.#peers.get(to)?.link;
    if (link !== undefined) writeRead(link.out, message);
  }

  /** There is a link to the node, and it has no more to carry than is good for replication. */
  isFree(node: string): boolean {
    return this.#peers.get(node)?.link?.isCrowded === false;
  }

  /** Goes out at once: what the turn still has to do may take long, and a late beat looks like a lost node. */
  beat(to: string, beat: Beat): void {
    const link = this.#peers.get(to)?.link;
    if (link === undefined) return;
    writeBeat(link.out, beat);
    link.flush();
  }

  /** The end of a turn: one write for each link. */
  flush(): void {
    for (const { link } of this.#peers.values()) link?.flush();
  }

  get stats(): readonly LinkStats[] {
    return [...this.#peers.values()].map(({ id, link }) => ({
      node: id, isUp: link !== undefined, waitingBytes: link?.waiting ?? 0, bytesIn: link?.bytesIn ?? 0, bytesOut: link?.bytesOut ?? 0,
    }));
  }

  async close(): Promise<void> {
    this.#closed = true;
    clearInterval(this.#looker);
    for (const peer of this.#peers.values()) {
      clearTimeout(peer.redial);
      peer.link?.close("this node stops");
    }
    for (const socket of this.#strangers) socket.destroy();
    await new Promise((resolve) => {
      this.#server.close(resolve);
    });
  }

  // --- making links ---

  #dial(peer: Known): void {
    const dials = this.#options.node < peer.id;
    if (!dials || this.#closed || this.#events === undefined || peer.address === "" || peer.link !== undefined || peer.isDialling || peer.redial !== undefined) return;
    peer.isDialling = true;
    const where = hostAndPort(peer.address);
    const { tls } = this.#options;
    // A certificate that is not trusted is refused below, in words. Whose it is says the hello, which must be the node's that was dialled.
    const socket = tls === undefined ? connect(where) : connectTls({ ...where, ...tls, minVersion: "TLSv1.3", rejectUnauthorized: false, checkServerIdentity: () => undefined });
    const link = this.#greetWithin(socket, this.#helloTo(peer.id), peer.id);
    socket.once(tls === undefined ? "connect" : "secureConnect", () => {
      if (!refusesUntrusted(link, socket)) link.greet();
    });
  }

  #accept(socket: Socket): void {
    if (this.#events === undefined || this.#strangers.size >= STRANGERS_MAX) {
      socket.on("error", () => undefined);
      socket.destroy();
      return;
    }
    const link = this.#greetWithin(socket, this.#helloTo(""), undefined);
    const why = refusesUntrusted(link, socket);
    if (why !== undefined) this.#options.log("", `a socket from ${socket.remoteAddress ?? "an address that is gone"} was refused: ${why}`, true);
  }

  /** A link whose other end must say who it is in time. */
  #greetWithin(socket: Socket, hello: LinkHello, expected: string | undefined): Link {
    this.#strangers.add(socket);
    const late = setTimeout(() => link.close(`it did not say who it is within ${GREETING_MS / 1000} s`), GREETING_MS);
    const known = (): void => {
      clearTimeout(late);
      this.#strangers.delete(socket);
    };
    const link: Link = new Link(socket, hello, expected, {
      introduced: (peer) => {
        if (socket instanceof TLSSocket) checkCertificate(socket, peer.node);
        this.#known(peer);
      },
      greeted: (greeted, peer) => {
        known();
        this.#up(greeted, peer);
      },
      signOfLife: (from) => this.#events?.signOfLife(from),
      message: (from, message) => this.#events?.message(from, message),
      closed: (closed, peer, why) => {
        known();
        const node = expected ?? peer?.node;
        if (node !== undefined) this.#down(closed, node, why, expected !== undefined);
      },
    });
    return link;
  }

  #helloTo(to: string): LinkHello {
    return { versions: LINK_VERSIONS, cluster: this.#options.cluster, node: this.#options.node, incarnation: this.#incarnation, to };
  }

  #known({ node, incarnation }: GatewayId): Known {
    const peer = this.#peers.get(node);
    if (peer === undefined) throw new LinkError(`node ${node} is not in this node's table yet`); // it dials again
    if (incarnation < peer.incarnation) throw new LinkError(`it is a former incarnation of node ${node}`);
    return peer;
  }

  #up(link: Link, id: GatewayId): void {
    const { node, incarnation } = id;
    const peer = this.#known(id);
    const former = peer.link;
    peer.link = link;
    peer.incarnation = incarnation;
    peer.isDialling = false;
    peer.failures = 0;
    this.wasEverUp = true;
    if (former !== undefined) {
      former.close("a newer link took its place");
      this.#events?.lost(node);
    }
    if (former === undefined) this.#options.log(node, "linked", false);
    this.#events?.made(node);
  }

  #down(link: Link, node: string, why: string, isDialled: boolean): void {
    const peer = this.#peers.get(node);
    if (peer === undefined || this.#closed) return;
    if (peer.link === link) {
      peer.link = undefined;
      this.#options.log(node, `link lost: ${why}`, false);
      this.#events?.lost(node);
    } else if (!link.wasUp) {
      this.#options.log(node, `no link ${isDialled ? `to ${peer.address}` : "from it"}: ${why}`, !isDialled || peer.failures > 0);
    }
    if (!isDialled) return; // the other end dials again
    peer.isDialling = false;
    if (peer.link !== undefined || peer.redial !== undefined) return;
    const most = Math.min(REDIAL_CAP_MS, REDIAL_MS * 2 ** Math.min(peer.failures, 10));
    peer.failures += 1;
    peer.redial = setTimeout(() => {
      peer.redial = undefined;
      this.#dial(peer);
    }, randomInt(most) + 1);
  }

  /** Half-open links look well and say nothing. */
  #look(): void {
    const now = performance.now();
    const { silentMs } = this.#options;
    for (const { link } of this.#peers.values()) {
      if (link !== undefined && now - link.heardAt > silentMs) link.close(`nothing was heard for ${silentMs / 1000} s`);
    }
  }
}

/** Before anything of it is read, a socket whose certificate is not one of the cluster's is told so and closed. Answers why. */
function refusesUntrusted(link: Link, socket: Socket): string | undefined {
  if (!(socket instanceof TLSSocket) || socket.authorized) return undefined;
  const why = `its certificate is not trusted (${String(socket.authorizationError)})`;
  link.refuse(why);
  return why;
}

/** The certificate is one of the cluster's; here it is the node's own. */
function checkCertificate(socket: TLSSocket, node: string): void {
  const name = socket.getPeerCertificate().subject?.CN;
  if (name !== node) throw new LinkError(`its certificate is for ${name === undefined ? "nobody" : JSON.stringify(name)}, and it says that it is node ${node}`);
}

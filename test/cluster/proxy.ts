// A TCP proxy in front of a node's peer port that troubles each direction of each link by itself: cuts, delays, resets, one byte at a time.

import { connect, createServer, type Server, type Socket } from "node:net";
import { once } from "node:events";
import { freePort } from "../../bench/processes.ts";

/** Bytes that wait in one direction of a link before it is not read on. */
const WAITING_BYTES = 1024 * 1024;
const TRICKLE_MS = 1;

/** What happens to the bytes from one node to another. */
export type Trouble =
  | { readonly type: "none" }
  /** They wait, and are lost where their sender closes meanwhile: nobody is left to send them again. */
  | { readonly type: "cut" }
  | { readonly type: "delay"; readonly ms: number }
  | { readonly type: "trickle" };

const NONE: Trouble = { type: "none" };

/** One direction of one connection. */
class Pipe {
  readonly #from: Socket;
  readonly #to: Socket;
  readonly #trouble: () => Trouble;
  #chunks: { bytes: Buffer; due: number }[] = [];
  #waiting = 0;
  #ended = false;
  #timer: NodeJS.Timeout | undefined;

  constructor(from: Socket, to: Socket, trouble: () => Trouble) {
    this.#from = from;
    this.#to = to;
    this.#trouble = trouble;
    from.on("data", (bytes) => this.push(bytes));
    from.on("close", () => {
      this.#ended = true;
      if (trouble().type === "cut") this.#chunks = [];
      this.pump();
    });
    from.on("error", () => undefined);
    to.on("close", () => {
      clearTimeout(this.#timer);
      this.#chunks = [];
    });
  }

  push(bytes: Buffer): void {
    const trouble = this.#trouble();
    this.#chunks.push({ bytes, due: performance.now() + (trouble.type === "delay" ? trouble.ms : 0) });
    this.#waiting += bytes.length;
    if (this.#waiting > WAITING_BYTES) this.#from.pause();
    this.pump();
  }

  /** Lets through what may pass now. */
  readonly pump = (): void => {
    clearTimeout(this.#timer);
    const { type } = this.#trouble();
    if (type === "cut" || this.#to.destroyed) return;
    for (let first = this.#chunks[0]; first !== undefined; first = this.#chunks[0]) {
      const left = first.due - performance.now();
      if (left > 0) return this.#later(left);
      const bytes = type === "trickle" ? first.bytes.subarray(0, 1) : first.bytes;
      if (bytes.length === first.bytes.length) this.#chunks.shift();
      else first.bytes = first.bytes.subarray(1);
      this.#waiting -= bytes.length;
      this.#to.write(bytes);
      if (type === "trickle") return this.#later(TRICKLE_MS);
    }
    if (this.#ended) this.#to.destroy();
    else if (this.#from.isPaused()) this.#from.resume();
  };

  #later(ms: number): void {
    this.#timer = setTimeout(this.pump, ms);
  }
}

interface Joined {
  readonly dialler: string;
  readonly target: string;
  readonly sockets: readonly Socket[];
  readonly pipes: readonly Pipe[];
}

/** The proxies of a cluster, one in front of each node. */
export class LinkProxies {
  readonly #nodes: readonly string[];
  readonly #servers: Server[] = [];
  readonly #joined = new Set<Joined>();
  readonly #troubles = new Map<string, Trouble>();

  /** @param nodes the ids that may dial; none is part of another */
  constructor(nodes: readonly string[]) {
    this.#nodes = nodes;
  }

  /** Answers the address to advertise for the node that listens at `listens`. */
  async inFrontOf(target: string, listens: string): Promise<string> {
    const server = createServer({ noDelay: true }, (socket) => this.#accept(socket, target, listens));
    this.#servers.push(server);
    const port = await freePort();
    server.listen(port, "127.0.0.1");
    await once(server, "listening");
    return `127.0.0.1:${port}`;
  }

  /** From now on this happens to what `from` sends to `to`. */
  trouble(from: string, to: string, trouble: Trouble): void {
    this.#troubles.set(`${from}>${to}`, trouble);
    for (const { pipes } of this.#joined) for (const pipe of pipes) pipe.pump();
  }

  /** Closes the connection between two nodes, both ends at once. */
  reset(one: string, other: string): void {
    for (const { dialler, target, sockets } of this.#joined) {
      if ([one, other].includes(dialler) && [one, other].includes(target)) for (const socket of sockets) socket.resetAndDestroy();
    }
  }

  heal(): void {
    this.#troubles.clear();
    for (const { pipes } of this.#joined) for (const pipe of pipes) pipe.pump();
  }

  async close(): Promise<void> {
    for (const { sockets } of this.#joined) for (const socket of sockets) socket.destroy();
    await Promise.all(this.#servers.map((server) => new Promise((resolve) => server.close(resolve))));
  }

  /** Its first bytes, the hello, name who dials. */
  #accept(socket: Socket, target: string, listens: string): void {
    let hello = Buffer.alloc(0);
    socket.on("error", () => socket.destroy());
    const listen = (bytes: Buffer): void => {
      hello = Buffer.concat([hello, bytes]);
      const text = hello.toString("latin1");
      const dialler = this.#nodes.find((node) => node !== target && text.includes(node));
      if (dialler === undefined) return;
      socket.off("data", listen);
      this.#join(socket, hello, dialler, target, listens);
    };
    socket.on("data", listen);
  }

  #join(socket: Socket, hello: Buffer, dialler: string, target: string, listens: string): void {
    const at = listens.lastIndexOf(":");
    const onward = connect({ host: listens.slice(0, at), port: Number(listens.slice(at + 1)), noDelay: true });
    const there = new Pipe(socket, onward, () => this.#troubles.get(`${dialler}>${target}`) ?? NONE);
    const back = new Pipe(onward, socket, () => this.#troubles.get(`${target}>${dialler}`) ?? NONE);
    const joined = { dialler, target, sockets: [socket, onward], pipes: [there, back] };
    this.#joined.add(joined);
    socket.once("close", () => this.#joined.delete(joined));
    there.push(hello);
  }
}

// A broker that does what the test says, frame by frame: for answers that a healthy one gives too seldom (REFUSE, BROKEN, CREDIT 0, CLOSE).

import { createServer, type Server, type Socket } from "node:net";
import { once } from "node:events";
import type { Kind } from "../../../src/wire/body.ts";
import { decodeBody } from "../../../src/wire/body.ts";
import { type FromDevice, type HelloFrame, PROTOCOL, readFromDevice, type WelcomeFrame, writeWelcome } from "../../../src/wire/device.ts";
import { Deframer } from "../../../src/wire/frame.ts";
import { Writer } from "../../../src/wire/msgpack.ts";

export type Seen =
  | { readonly type: "hello"; readonly hello: HelloFrame }
  | { readonly type: "publish"; readonly series: number; readonly kind: Kind; readonly text: string }
  | { readonly type: "received"; readonly delivered: number; readonly handled: number }
  | { readonly type: "state"; readonly request: number }
  | { readonly type: "ping" | "goodbye" | "end" };

/** One connection of a device: what it said, in order, and a way to answer. */
export class Peer implements FromDevice {
  readonly socket: Socket;
  pings = 0;
  readonly #seen: Seen[] = [];
  #wanting: ((seen: Seen) => void) | undefined;

  constructor(socket: Socket) {
    this.socket = socket;
    const deframer = new Deframer(1 << 24);
    const sink = { frame: (bytes: Uint8Array, start: number, end: number): boolean => (readFromDevice(bytes, start, end, this), true) };
    socket.on("error", () => undefined);
    socket.on("close", () => this.#saw({ type: "end" }));
    socket.on("data", (chunk) => deframer.push(chunk, sink));
  }

  /** The next thing the device said; pings are passed over. */
  next(): Promise<Seen> {
    const seen = this.#seen.shift();
    if (seen !== undefined) return Promise.resolve(seen);
    return new Promise((resolve) => {
      this.#wanting = resolve;
    });
  }

  async greeting(): Promise<HelloFrame> {
    const seen = await this.next();
    if (seen.type !== "hello") throw new Error(`${seen.type} instead of hello`);
    return seen.hello;
  }

  /** Texts of the next `count` publishes with their numbers: "3:text"; a void is "3:". */
  async publishes(count: number): Promise<string[]> {
    const texts: string[] = [];
    while (texts.length < count) {
      const seen = await this.next();
      if (seen.type !== "publish") throw new Error(`${seen.type} after ${texts.length} publishes`);
      texts.push(`${seen.series}:${seen.kind === 2 ? "" : seen.text}`);
    }
    return texts;
  }

  send(...write: ((to: Writer) => void)[]): void {
    const writer = new Writer();
    for (const one of write) one(writer);
    this.socket.write(writer.written.slice());
  }

  welcome(welcome: Partial<WelcomeFrame> = {}): void {
    this.send((to) => writeWelcome(to, {
      protocol: PROTOCOL, session: 7, last: 0, leftAt: 0, generation: 1, window: 64, wrap: 0, keepAlive: 60, maxFrame: 65_536, receiveWindow: 64,
      delivered: 0, handled: 0, end: 0, voids: [], ...welcome,
    }));
  }

  #saw(seen: Seen): void {
    const wanting = this.#wanting;
    this.#wanting = undefined;
    if (wanting === undefined) this.#seen.push(seen);
    else wanting(seen);
  }

  publish(series: number, kind: Kind, bytes: Uint8Array, start: number, end: number): void {
    this.#saw({ type: "publish", series, kind, text: Buffer.from(decodeBody(bytes, start, end).payload).toString() });
  }
  received(delivered: number, handled: number): void {
    this.#saw({ type: "received", delivered, handled });
  }
  state(request: number): void {
    this.#saw({ type: "state", request });
  }
  ping(): void {
    this.pings += 1;
  }
  goodbye(): void {
    this.#saw({ type: "goodbye" });
  }
  hello(hello: HelloFrame): void {
    this.#saw({ type: "hello", hello });
  }
}

export class ScriptedBroker {
  readonly #server: Server;
  readonly #peers: Peer[] = [];
  #wanting: ((peer: Peer) => void) | undefined;

  private constructor(server: Server) {
    this.#server = server;
    server.on("connection", (socket) => {
      const peer = new Peer(socket);
      const wanting = this.#wanting;
      this.#wanting = undefined;
      if (wanting === undefined) this.#peers.push(peer);
      else wanting(peer);
    });
  }

  static async start(): Promise<ScriptedBroker> {
    const server = createServer();
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    return new ScriptedBroker(server);
  }

  get address(): string {
    const address = this.#server.address();
    return `127.0.0.1:${typeof address === "object" && address !== null ? address.port : 0}`;
  }

  /** The next connection. */
  peer(): Promise<Peer> {
    const peer = this.#peers.shift();
    if (peer !== undefined) return Promise.resolve(peer);
    return new Promise((resolve) => {
      this.#wanting = resolve;
    });
  }

  stop(): void {
    this.#server.close();
  }
}

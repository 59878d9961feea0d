// One link to one incarnation of another node: a socket, what waits to be written to it, and whether it is still heard.

import type { Socket } from "node:net";
import type { GatewayId } from "../core/hop.ts";
import { Reader, Writer } from "../core/stream/bytes.ts";
import { BATCH_BYTES_MAX, BatchReader, frameBatch } from "./batch.ts";
import { LINK_VERSIONS, LinkError, PublishRun, readMessage, writeHello, writeRefused, type LinkHello, type LinkMessage } from "./codec.ts";

/** Bytes that may come before the other end has said who it is. */
const HELLO_BYTES_MAX = 4096;
/** Waiting bytes past which what the replicas send again anyway is left out (R12). */
const CROWDED_BYTES = 32 * 1024 * 1024;
/** Waiting bytes past which the link is given up: nothing waits without a bound. */
const OVERFULL_BYTES = 2 * CROWDED_BYTES;
/** Bytes gathered in a turn before they are handed to the socket early. */
const BATCH_BYTES = 1024 * 1024;
/** Buffers that batches went out from, kept for the next ones, and the greatest that is. */
const SPARES = 2;
const SPARE_BYTES = 2 * BATCH_BYTES;

export interface LinkEvents {
  /** The other end has said who it is. Throws a LinkError to refuse. */
  introduced(peer: GatewayId): void;
  /** Both ends have taken each other; messages may follow, and may be sent. Throws a LinkError to refuse. */
  greeted(link: Link, peer: GatewayId): void;
  /** Bytes came from the peer. */
  signOfLife(peer: GatewayId): void;
  message(from: GatewayId, message: LinkMessage): void;
  /** Called once; `peer` is who it said it is, be it true or not, and undefined where it never said so. */
  closed(link: Link, peer: GatewayId | undefined, why: string): void;
}

export class Link {
  readonly #socket: Socket;
  readonly #hello: LinkHello;
  readonly #events: LinkEvents;
  readonly #batches = new BatchReader(HELLO_BYTES_MAX);
  readonly #out = new Writer();
  readonly #spares: Buffer[] = [];
  /** Of the batch that is being written. */
  readonly run = new PublishRun();
  #claimed: GatewayId | undefined;
  /** Who it is, once that is checked. */
  #peer: GatewayId | undefined;
  #greeted = false;
  #why = "";
  #closed = false;
  /** Milliseconds of the monotonic clock. */
  heardAt = performance.now();
  bytesIn = 0;
  bytesOut = 0;

  /** @param expected the node that was dialled; undefined for a socket that was accepted, which is greeted back once it has said who it is */
  constructor(socket: Socket, hello: LinkHello, expected: string | undefined, events: LinkEvents) {
    this.#socket = socket;
    this.#hello = hello;
    this.#events = events;
    socket.setNoDelay(true);
    socket.on("data", (chunk) => this.#received(chunk, expected));
    socket.on("error", (error) => (this.#why ||= error.message));
    socket.on("close", () => this.#ended());
  }

  /** The dialling end speaks first. */
  greet(): void {
    writeHello(this.#out, this.#hello);
    this.flush();
  }

  /** Where messages for the next batch are written. */
  get out(): Writer {
    if (this.#out.length >= BATCH_BYTES) this.flush();
    return this.#out;
  }

  /** Both ends had taken each other. */
  get wasUp(): boolean {
    return this.#greeted;
  }

  /** What is written again if it is lost should be left out now (R12). */
  get isCrowded(): boolean {
    return this.waiting > CROWDED_BYTES;
  }

  /** Bytes not yet taken by the other end. */
  get waiting(): number {
    return this.#socket.writableLength + this.#out.length;
  }

  flush(): void {
    if (this.#out.length === 0) return;
    const batch = this.#closed ? undefined : frameBatch(this.#out.written, this.#spares.pop());
    this.#out.clear();
    this.run.clear();
    if (batch === undefined) return;
    this.bytesOut += batch.length;
    this.#socket.write(batch, () => this.#spare(batch));
    if (this.waiting > OVERFULL_BYTES) this.close(`${this.waiting} bytes wait for it`);
  }

  /** The socket has taken the batch. */
  #spare({ buffer }: Buffer): void {
    if (this.#spares.length < SPARES && buffer.byteLength <= SPARE_BYTES) this.#spares.push(Buffer.from(buffer));
  }

  close(why: string): void {
    this.#why ||= why;
    this.#socket.destroy();
  }

  /** Tells the other end why the link closes; what it says is not read any more. */
  refuse(why: string): void {
    this.#why ||= why;
    writeRefused(this.#out, this.#hello.node, why);
    this.flush();
    this.#socket.destroySoon();
  }

  #received(chunk: Buffer, expected: string | undefined): void {
    if (this.#why !== "") return; // it is ending
    this.heardAt = performance.now();
    this.bytesIn += chunk.length;
    if (this.#peer !== undefined && this.#greeted) this.#events.signOfLife(this.#peer);
    try {
      this.#batches.push(chunk, (messages) => this.#take(messages, expected));
    } catch (error) {
      if (!(error instanceof LinkError)) throw error;
      this.close(error.message);
    }
  }

  #take(messages: Uint8Array, expected: string | undefined): void {
    const reader = new Reader(messages);
    const run = new PublishRun();
    while (!reader.done && !this.#closed && this.#why === "") {
      const message = readMessage(reader, this.#peer ?? NOBODY, run);
      if (message.type === "refused") {
        this.#claimed ??= { node: message.node, incarnation: 0 };
        throw new LinkError(`it refuses this node: ${message.why}`);
      }
      if (this.#peer === undefined) this.#introduce(message, expected);
      else if (!this.#greeted) this.#greet(this.#peer);
      if (this.#peer !== undefined && message.type !== "hello") this.#events.message(this.#peer, message);
    }
  }

  #introduce(message: LinkMessage, expected: string | undefined): void {
    if (message.type !== "hello") throw new LinkError("it did not say who it is");
    const { node, incarnation } = message.hello;
    this.#claimed = { node, incarnation };
    try {
      this.#check(message.hello, expected);
    } catch (error) {
      if (!(error instanceof LinkError)) throw error;
      return this.refuse(error.message);
    }
    this.#peer = this.#claimed;
    this.#batches.limit = BATCH_BYTES_MAX;
    writeHello(this.#out, { ...this.#hello, to: node });
    this.flush();
    if (expected !== undefined) this.#greet(this.#peer); // the accepting end is sure of the link only when the dialling one goes on
  }

  #greet(peer: GatewayId): void {
    this.#events.greeted(this, peer);
    this.#greeted = true;
  }

  #check({ versions, cluster, node, incarnation, to }: LinkHello, expected: string | undefined): void {
    if (cluster !== this.#hello.cluster) throw new LinkError(`it is of cluster ${cluster}, this one is ${this.#hello.cluster}`);
    if (to !== this.#hello.node) throw new LinkError(`it means node ${to}, this is ${this.#hello.node}: is the peer address that one advertises right?`);
    if (expected !== undefined && node !== expected) throw new LinkError(`it is node ${node}, not ${expected}: is the peer address that one advertises right?`);
    if (versions[0] > LINK_VERSIONS[1] || versions[1] < LINK_VERSIONS[0]) {
      throw new LinkError(`it speaks versions ${versions.join(" to ")} of the link protocol, this node ${LINK_VERSIONS.join(" to ")}`);
    }
    this.#events.introduced({ node, incarnation });
  }

  #ended(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#events.closed(this, this.#claimed, this.#why === "" ? "the other end closed it" : this.#why);
  }
}

const NOBODY: GatewayId = { node: "", incarnation: 0 };

// Records what a decoder calls, with copies of the bytes, and writes it again with the encoders: for round trips.

import { decodeBody } from "../../src/wire/body.ts";
import * as device from "../../src/wire/device.ts";
import type { Writer } from "../../src/wire/msgpack.ts";

export type Call = { readonly name: string; readonly args: readonly unknown[]; write(to: Writer): void };

const copy = (bytes: Uint8Array, start: number, end: number): Uint8Array => new Uint8Array(bytes.subarray(start, end));

/** A FromDevice and a FromBroker in one: keeps each call. */
export class Recorder implements device.FromDevice, device.FromBroker {
  readonly calls: Call[] = [];

  #keep(name: string, args: readonly unknown[], write: (to: Writer) => void): void {
    this.calls.push({ name, args, write });
  }

  hello(hello: device.HelloFrame): void {
    this.#keep("hello", [hello], (to) => device.writeHello(to, hello));
  }
  publish(series: number, kind: 0 | 1 | 2, bytes: Uint8Array, start: number, end: number, payloadStart: number, payloadEnd: number): void {
    const body = copy(bytes, start, end);
    const payload = copy(bytes, payloadStart, payloadEnd);
    decodeBody(body);
    this.#keep("publish", [series, kind, body, payload], (to) => device.writePublish(to, series, kind, body));
  }
  received(delivered: number, handled: number): void {
    this.#keep("received", [delivered, handled], (to) => device.writeReceived(to, delivered, handled));
  }
  state(request: number): void {
    this.#keep("state", [request], (to) => device.writeStateRequest(to, request));
  }
  ping(): void {
    this.#keep("ping", [], device.writePing);
  }
  goodbye(): void {
    this.#keep("goodbye", [], device.writeGoodbye);
  }
  welcome(welcome: device.WelcomeFrame): void {
    this.#keep("welcome", [welcome], (to) => device.writeWelcome(to, welcome));
  }
  ack(series: number, voids: readonly device.Voided[]): void {
    this.#keep("ack", [series, voids], (to) => device.writeAck(to, series, voids));
  }
  refuse(expected: number, code: string, retryable: boolean): void {
    this.#keep("refuse", [expected, code, retryable], (to) => device.writeRefuse(to, expected, code, retryable));
  }
  deliver(offset: number, time: number, bytes: Uint8Array, start: number, end: number): void {
    const body = copy(bytes, start, end);
    decodeBody(body);
    this.#keep("deliver", [offset, time, body], (to) => device.writeDeliver(to, offset, body, time));
  }
  document(request: number, desired: device.Document, reported: device.Document | undefined): void {
    this.#keep("document", [request, desired, reported], (to) => device.writeDocument(to, request, desired, reported));
  }
  credit(window: number): void {
    this.#keep("credit", [window], (to) => device.writeCredit(to, window));
  }
  broken(generation: number, last: number, nonce: bigint): void {
    this.#keep("broken", [generation, last, nonce], (to) => device.writeBroken(to, generation, last, nonce));
  }
  pong(): void {
    this.#keep("pong", [], device.writePong);
  }
  close(code: string, detail: string, retryAfterMs: number, retryable: boolean): void {
    this.#keep("close", [code, detail, retryAfterMs, retryable], (to) => device.writeClose(to, code, detail, retryAfterMs, retryable));
  }
  missed(from: number, until: number, code: string): void {
    this.#keep("missed", [from, until, code], (to) => device.writeMissed(to, from, until, code));
  }
}

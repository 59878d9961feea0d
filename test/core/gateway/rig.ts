// A gateway whose leaders are played by the test: what it says to them is recorded, and their answers are given by hand.

import { assert } from "../../../src/base/assert.ts";
import type { ErrorCode } from "../../../src/base/errors.ts";
import { Gateway, type GatewaySink } from "../../../src/core/gateway/gateway.ts";
import type { GatewayLimits } from "../../../src/core/gateway/limits.ts";
import type { Frame } from "../../../src/core/gateway/line.ts";
import type { DeviceLine, DeviceSocket, GatewayAnswer, GatewayRequest, Hello, Welcome } from "../../../src/core/gateway/types.ts";
import { PUBLISH_KIND, type HopAnswer, type HopRequest, type PublishKind } from "../../../src/core/hop.ts";

export const LIMITS: GatewayLimits = { window: 8, windowBytes: 40, requests: 2, askAgainMs: 100, pauseMs: 1000, backoffMs: 10, backoffCapMs: 40 };

export interface Asked {
  readonly to: string;
  readonly bucket: number;
  readonly epoch: number;
  readonly request: HopRequest;
}

type Attached = Extract<HopAnswer, { type: "attached" }>;

export class Rig implements GatewaySink {
  readonly gateway: Gateway;
  #hops: Asked[] = [];
  #frames: string[] = [];

  /** Devices whose names begin with b are in bucket 1, all others in bucket 0. */
  constructor(limits: Partial<GatewayLimits> = {}) {
    this.gateway = new Gateway({ ...LIMITS, ...limits }, (device) => (device.startsWith("b") ? 1 : 0), this);
  }

  // --- GatewaySink ---

  hop(to: string, bucket: number, epoch: number, request: HopRequest): void {
    this.#hops.push({ to, bucket, epoch, request });
  }

  publish(to: string, _bucket: number, epoch: number, handle: number, series: number, _kind: PublishKind, frame: Frame): void {
    assert(frame.bytes[frame.start] === series, "a frame goes out under its own number");
    this.#frames.push(`${to} epoch ${epoch} handle ${handle}: ${series}`);
  }

  wake(): void {
    this.isAwake = true;
  }

  isAwake = false;

  // --- what the gateway said ---

  /** Hops since the last look. */
  hops(): Asked[] {
    return this.#hops.splice(0);
  }

  /** The one hop since the last look. */
  asked<T extends HopRequest["type"]>(type: T): Asked & { readonly request: Extract<HopRequest, { type: T }> } {
    const hops = this.hops();
    assert(hops.length === 1 && hops[0]!.request.type === type, `one ${type} was expected, not ${hops.map(({ request }) => request.type).join(", ")}`);
    return hops[0] as Asked & { readonly request: Extract<HopRequest, { type: T }> };
  }

  /** Frames sent to leaders since the last look. */
  frames(): string[] {
    return this.#frames.splice(0);
  }

  // --- what happens ---

  lead(epoch: number, leader = "n1", { bucket = 0, dark = false } = {}): void {
    this.gateway.route(bucket, { leader, epoch, dark });
  }

  /** Time passes to `now`. */
  at(now: number): void {
    this.gateway.now = now;
    this.gateway.tick();
  }

  answer(answer: HopAnswer, from = "n1", bucket = 0): void {
    this.gateway.answered(from, bucket, answer);
  }

  attached(asked: Asked, change: Partial<Attached> = {}): void {
    const request = numberOf(asked);
    const answer: Attached = {
      type: "attached", request, epoch: asked.epoch, session: 7, last: 0, leftAt: 0, window: 4, attachment: 7, handle: 1, generation: 0, delivered: 0, handled: 0, end: 0, ...change,
    };
    this.answer(answer, asked.to, asked.bucket);
  }

  failed(asked: Asked, code: ErrorCode): void {
    this.answer({ type: "failed", request: numberOf(asked), code, detail: "", version: 0 }, asked.to, asked.bucket);
  }

  done(asked: Asked): void {
    this.answer({ type: "done", request: numberOf(asked) }, asked.to, asked.bucket);
  }

  broken(asked: Asked, code: "broken" | "taken_over", stored?: bigint): void {
    this.answer({ type: "broken", request: numberOf(asked), generation: 2, last: 3, code, stored }, asked.to, asked.bucket);
  }

  acked(series: number, voids: readonly { readonly series: number; readonly code: ErrorCode }[] = [], session = 7): void {
    this.answer({ type: "acked", session, device: "a", publisher: "", series, voids });
  }

  refused(expected: number, code: ErrorCode = "gap", epoch = 1): void {
    this.answer({ type: "refused", epoch, session: 7, device: "a", publisher: "", expected, code });
  }

  takenOver(attachment: number): void {
    this.answer({ type: "takenOver", device: "a", publisher: "", session: 7, attachment });
  }

  /** A socket whose OPEN is on its way. */
  dial(hello: Partial<Hello> = {}): Socket {
    const socket = new Socket();
    socket.line = this.gateway.open(socket, { device: "a", session: 0, nonce: 1n, leaves: 0, oldest: 1, next: 1, window: 8, ...hello });
    return socket;
  }

  /** A welcomed socket, led by n1 in epoch 1, with nothing said since. */
  connect(change: Partial<Attached> = {}, hello: Partial<Hello> = {}): Socket {
    this.lead(1);
    const socket = this.dial(hello);
    this.attached(this.hops().at(-1)!, change);
    socket.said();
    return socket;
  }

  /** A request of a backend, and the answers it was given. */
  request(request: GatewayRequest, deadlineMs = 500): GatewayAnswer[] {
    const answers: GatewayAnswer[] = [];
    this.gateway.request(request, deadlineMs, (answer) => answers.push(answer));
    return answers;
  }
}

/** A device's socket that writes down what it is told. */
export class Socket implements DeviceSocket {
  line!: DeviceLine;
  #said: string[] = [];

  /** What it was told since the last look. */
  said(): string[] {
    return this.#said.splice(0);
  }

  /** The device sends numbers from … to; each frame is as many bytes as `bytes` says, its number among them. */
  send(from: number, to = from, bytes = 1): void {
    for (let series = from; series <= to; series += 1) this.line.publish(series, PUBLISH_KIND.message, new Uint8Array(bytes + 1).fill(series), 1, 1 + bytes);
  }

  welcome({ session, last }: Welcome): void {
    this.#said.push(`WELCOME ${session} last ${last}`);
  }

  ack(series: number): void {
    this.#said.push(`ACK ${series}`);
  }

  voided(series: number, code: ErrorCode): void {
    this.#said.push(`VOID ${series} ${code}`);
  }

  refuse(expected: number, code: ErrorCode): void {
    this.#said.push(`REFUSE ${expected} ${code}`);
  }

  credit(window: number): void {
    this.#said.push(`CREDIT ${window}`);
  }

  broken(generation: number, last: number, nonce?: bigint): void {
    this.#said.push(`BROKEN generation ${generation} last ${last}${nonce === undefined ? "" : ` nonce ${nonce}`}`);
  }

  close(code: ErrorCode, _detail: string, retryAfterMs: number): void {
    this.#said.push(`CLOSE ${code} after ${retryAfterMs}`);
  }
}

export function numberOf({ request }: Asked): number {
  assert("request" in request, `${request.type} is not answered`);
  return request.request;
}

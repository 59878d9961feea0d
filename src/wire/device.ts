// Device protocol 1: grammar, encoder and decoder of each message in one place. docs/device-protocol.md tells the rules between them.
// A message is one frame: a msgpack array [type, …]. Elements behind those named here are ignored; an optional element may be nil.

import { BellhopError } from "../base/errors.ts";
import { checkBody, type Kind } from "./body.ts";
import { malformed, Reader, type Writer } from "./msgpack.ts";
import { MAX_NUMBER, MAX_WRAP, MIN_WRAP } from "./series.ts";

export const PROTOCOL = 1;

export const TYPE = {
  // device → broker
  hello: 1, publish: 2, received: 3, state: 4, ping: 5, goodbye: 6,
  // broker → device
  welcome: 17, ack: 18, refuse: 19, deliver: 20, document: 21, credit: 22, broken: 23, pong: 24, close: 25, missed: 26,
} as const;

export const MAX_DEVICE_BYTES = 128;
export const MAX_TOKEN_BYTES = 1024;
export const MAX_CODE_BYTES = 64;
export const MAX_DETAIL_BYTES = 1024;
export const MAX_WINDOW = 65_535;
export const MAX_KEEP_ALIVE_SECONDS = 65_535;
/** What a device or a broker may state as its greatest frame, in bytes without the length. */
export const MIN_MAX_FRAME_BYTES = 1024;
export const MAX_MAX_FRAME_BYTES = 0x100_0000;
/** Voided numbers in one ACK, at most. */
export const MAX_VOIDS = MAX_WINDOW;
/** A HELLO is never longer; all an unauthenticated connection can make the broker hold. */
export const MAX_HELLO_BYTES = 2048;

/** What an optional element of HELLO means when it is nil or left out. */
export const HELLO_DEFAULTS = { leaves: 0, window: 64, wrap: 0, keepAlive: 0, receiveWindow: 64, maxFrame: 131_072, after: 0, desired: 0 } as const;

/** What `isDeviceId` wants, as the end of a sentence. A URL cannot name `.` and `..`: they are steps in its path. */
export const DEVICE_ID_RULE = `1 to ${MAX_DEVICE_BYTES} bytes of UTF-8 without control characters; not "." or ".."`;

export function isDeviceId(device: string): boolean {
  if (device === "." || device === "..") return false;
  // eslint-disable-next-line no-control-regex -- control characters are what is looked for
  if (device === "" || device.length > MAX_DEVICE_BYTES || /[\u0000-\u001f\u007f-\u009f]/.test(device)) return false;
  return device.length * 3 <= MAX_DEVICE_BYTES || new TextEncoder().encode(device).length <= MAX_DEVICE_BYTES;
}

/** [1, protocol, device str, token str, session, nonce, oldest, next, leaves?, window?, wrap?, keepAlive?, receiveWindow?, maxFrame?, after?, desired?] */
export interface HelloFrame {
  readonly protocol: number;
  readonly device: string;
  /** "" for none. */
  readonly token: string;
  /** 0: open a new session. */
  readonly session: number;
  readonly nonce: bigint;
  readonly oldest: number;
  readonly next: number;
  /** Session given up; 0 for none. */
  readonly leaves: number;
  readonly window: number;
  /** 0: series numbers are sent wide. */
  readonly wrap: number;
  /** Seconds; 0: as the broker likes. */
  readonly keepAlive: number;
  /** Messages delivered and not handled, at most; 0: deliver nothing. */
  readonly receiveWindow: number;
  /** Greatest frame the device takes, in bytes. */
  readonly maxFrame: number;
  /** Greatest offset the device has; deliveries go on after it, or after the broker's cursor if that is greater. */
  readonly after: number;
  /** Version of the `desired` document the device has. */
  readonly desired: number;
}

export function writeHello(to: Writer, hello: HelloFrame): void {
  const frame = to.beginFrame();
  to.array(16);
  to.uint(TYPE.hello);
  to.uint(hello.protocol);
  to.str(hello.device);
  to.str(hello.token);
  to.uint(hello.session);
  to.u64(hello.nonce);
  to.uint(hello.oldest);
  to.uint(hello.next);
  to.uint(hello.leaves);
  to.uint(hello.window);
  to.uint(hello.wrap);
  to.uint(hello.keepAlive);
  to.uint(hello.receiveWindow);
  to.uint(hello.maxFrame);
  to.uint(hello.after);
  to.uint(hello.desired);
  to.endFrame(frame);
}

function readHello(from: Reader, count: number): HelloFrame {
  if (count < 2) throw malformed("HELLO names its protocol.");
  const protocol = from.uint(MAX_NUMBER);
  if (protocol !== PROTOCOL) throw new BellhopError("unsupported_version", `Protocol ${PROTOCOL} is spoken here, not ${protocol}.`);
  if (count < 8) throw malformed("HELLO has 8 elements or more.");
  const device = from.str(MAX_DEVICE_BYTES);
  if (!isDeviceId(device)) throw malformed(`A device's id has ${DEVICE_ID_RULE}.`);
  const token = from.str(MAX_TOKEN_BYTES);
  const session = from.uint(MAX_NUMBER);
  const nonce = from.u64();
  const oldest = from.uint(MAX_NUMBER);
  const next = from.uint(MAX_NUMBER);
  if (oldest < 1 || next < oldest) throw malformed("`oldest` is from 1 to `next`.");
  let left = count - 8;
  const optional = (otherwise: number, min: number, max: number): number => {
    left -= 1;
    if (left < 0 || from.nil()) return otherwise;
    const value = from.uint(max);
    if (value < min) throw malformed(`A number below ${min}.`);
    return value;
  };
  const leaves = optional(HELLO_DEFAULTS.leaves, 0, MAX_NUMBER);
  const window = optional(HELLO_DEFAULTS.window, 1, MAX_WINDOW);
  const wrap = optional(HELLO_DEFAULTS.wrap, 0, MAX_WRAP);
  if (wrap !== 0 && wrap < MIN_WRAP) throw malformed(`A wrap is 0 or from ${MIN_WRAP} to 2^32.`);
  const keepAlive = optional(HELLO_DEFAULTS.keepAlive, 0, MAX_KEEP_ALIVE_SECONDS);
  const receiveWindow = optional(HELLO_DEFAULTS.receiveWindow, 0, MAX_WINDOW);
  const maxFrame = optional(HELLO_DEFAULTS.maxFrame, MIN_MAX_FRAME_BYTES, MAX_MAX_FRAME_BYTES);
  const after = optional(HELLO_DEFAULTS.after, 0, MAX_NUMBER);
  const desired = optional(HELLO_DEFAULTS.desired, 0, MAX_NUMBER);
  rest(from, Math.max(0, left));
  return { protocol, device, token, session, nonce, oldest, next, leaves, window, wrap, keepAlive, receiveWindow, maxFrame, after, desired };
}

/** [2, series, kind, body]: the bytes of the nested array are the body, passed on as they are. `series` is modulo the wrap. */
export function writePublish(to: Writer, series: number, kind: Kind, body: Uint8Array, start = 0, end = body.length): void {
  to.reserve(4 + 12 + end - start);
  const frame = to.beginFrame();
  to.array(4);
  to.uint(TYPE.publish);
  to.uint(series);
  to.uint(kind);
  to.raw(body, start, end);
  to.endFrame(frame);
}

function readPublish(from: Reader, count: number, to: FromDevice): void {
  if (count < 4) throw malformed("PUBLISH has 4 elements.");
  const series = from.uint(MAX_NUMBER);
  const kind = from.uint(2) as Kind;
  const start = from.at;
  checkBody(from, kind);
  const end = from.at;
  const { spanStart, spanEnd } = from;
  rest(from, count - 4);
  to.publish(series, kind, from.bytes, start, end, spanStart, spanEnd);
}

/** [3, delivered, handled]: offsets, cumulative; handled ≤ delivered. */
export function writeReceived(to: Writer, delivered: number, handled: number): void {
  const frame = to.beginFrame();
  to.array(3);
  to.uint(TYPE.received);
  to.uint(delivered);
  to.uint(handled);
  to.endFrame(frame);
}

/** [4, request]: 1 … 2^32 - 1, given back with the answer. */
export function writeStateRequest(to: Writer, request: number): void {
  const frame = to.beginFrame();
  to.array(2);
  to.uint(TYPE.state);
  to.uint(request);
  to.endFrame(frame);
}

/** [5] */
export function writePing(to: Writer): void {
  writeBare(to, TYPE.ping);
}

/** [6] */
export function writeGoodbye(to: Writer): void {
  writeBare(to, TYPE.goodbye);
}

/** What the broker does with a device's frames. A frame is checked to its end before one of these is called. */
export interface FromDevice {
  hello(hello: HelloFrame): void;
  /** body = bytes[start … end), its payload's content = bytes[payloadStart … payloadEnd). */
  publish(series: number, kind: Kind, bytes: Uint8Array, start: number, end: number, payloadStart: number, payloadEnd: number): void;
  received(delivered: number, handled: number): void;
  state(request: number): void;
  ping(): void;
  goodbye(): void;
}

const reader = new Reader();

/** @throws BellhopError `protocol` or `unsupported_version`; then nothing was called. */
export function readFromDevice(bytes: Uint8Array, start: number, end: number, to: FromDevice): void {
  const from = reader.reset(bytes, start, end);
  const count = from.array();
  if (count < 1) throw malformed("A message begins with its type.");
  const type = from.uint(MAX_NUMBER);
  switch (type) {
    case TYPE.publish: return readPublish(from, count, to);
    case TYPE.hello: return to.hello(readHello(from, count));
    case TYPE.received: {
      if (count < 3) throw malformed("RECEIVED has 3 elements.");
      const delivered = from.uint(MAX_NUMBER);
      const handled = from.uint(delivered);
      rest(from, count - 3);
      return to.received(delivered, handled);
    }
    case TYPE.state: {
      if (count < 2) throw malformed("STATE has 2 elements.");
      const request = from.uint(0xffff_ffff);
      if (request < 1) throw malformed("A request's number is 1 or more.");
      rest(from, count - 2);
      return to.state(request);
    }
    case TYPE.ping: rest(from, count - 1); return to.ping();
    case TYPE.goodbye: rest(from, count - 1); return to.goodbye();
    default: throw malformed(`${type} is no type of a device's message.`);
  }
}

/** [17, protocol, session, last, leftAt, generation, window, wrap, keepAlive, maxFrame, receiveWindow, delivered, handled, end, voids?] */
export interface WelcomeFrame {
  readonly protocol: number;
  readonly session: number;
  /** Greatest series taken; the next is last + 1. */
  readonly last: number;
  /** Greatest series taken of the session given up; 0 without one. */
  readonly leftAt: number;
  readonly generation: number;
  readonly window: number;
  readonly wrap: number;
  /** Seconds. */
  readonly keepAlive: number;
  /** Greatest frame the broker takes, in bytes. */
  readonly maxFrame: number;
  readonly receiveWindow: number;
  /** The device's receive cursor. */
  readonly delivered: number;
  readonly handled: number;
  /** Last offset of the device's stream. */
  readonly end: number;
  /** With RESUME: numbers from `oldest` to `last` that were consumed without being stored; their series are wide. */
  readonly voids: readonly Voided[];
}

export function writeWelcome(to: Writer, welcome: WelcomeFrame): void {
  const frame = to.beginFrame();
  to.array(welcome.voids.length === 0 ? 14 : 15);
  to.uint(TYPE.welcome);
  to.uint(welcome.protocol);
  to.uint(welcome.session);
  to.uint(welcome.last);
  to.uint(welcome.leftAt);
  to.uint(welcome.generation);
  to.uint(welcome.window);
  to.uint(welcome.wrap);
  to.uint(welcome.keepAlive);
  to.uint(welcome.maxFrame);
  to.uint(welcome.receiveWindow);
  to.uint(welcome.delivered);
  to.uint(welcome.handled);
  to.uint(welcome.end);
  if (welcome.voids.length > 0) writeVoids(to, welcome.voids);
  to.endFrame(frame);
}

function readWelcome(from: Reader, count: number): WelcomeFrame {
  if (count < 14) throw malformed("WELCOME has 14 elements.");
  const protocol = from.uint(MAX_NUMBER);
  const session = from.uint(MAX_NUMBER);
  const last = from.uint(MAX_NUMBER);
  const leftAt = from.uint(MAX_NUMBER);
  const generation = from.uint(MAX_NUMBER);
  const window = from.uint(MAX_WINDOW);
  const wrap = from.uint(MAX_WRAP);
  const keepAlive = from.uint(MAX_KEEP_ALIVE_SECONDS);
  const maxFrame = from.uint(MAX_MAX_FRAME_BYTES);
  const receiveWindow = from.uint(MAX_WINDOW);
  const delivered = from.uint(MAX_NUMBER);
  const handled = from.uint(MAX_NUMBER);
  const end = from.uint(MAX_NUMBER);
  const voids = count < 15 || from.nil() ? NO_VOIDS : readVoids(from);
  rest(from, Math.max(0, count - 15));
  return { protocol, session, last, leftAt, generation, window, wrap, keepAlive, maxFrame, receiveWindow, delivered, handled, end, voids };
}

/** A number consumed without being stored: [series, code]; in an ACK `series` is modulo the wrap. */
export interface Voided {
  readonly series: number;
  readonly code: string;
}

const NO_VOIDS: readonly Voided[] = [];

/** [18, series, voids?]: cumulative, modulo the wrap. */
export function writeAck(to: Writer, series: number, voids: readonly Voided[] = NO_VOIDS): void {
  const frame = to.beginFrame();
  to.array(voids.length === 0 ? 2 : 3);
  to.uint(TYPE.ack);
  to.uint(series);
  if (voids.length > 0) writeVoids(to, voids);
  to.endFrame(frame);
}

function writeVoids(to: Writer, voids: readonly Voided[]): void {
  to.array(voids.length);
  for (const one of voids) {
    to.array(2);
    to.uint(one.series);
    to.str(one.code);
  }
}

function readAck(from: Reader, count: number, to: FromBroker): void {
  if (count < 2) throw malformed("ACK has 2 elements.");
  const series = from.uint(MAX_NUMBER);
  const voids = count < 3 || from.nil() ? NO_VOIDS : readVoids(from);
  rest(from, Math.max(0, count - 3));
  to.ack(series, voids);
}

function readVoids(from: Reader): Voided[] {
  const voids: Voided[] = [];
  const count = from.array();
  if (count > MAX_VOIDS) throw malformed("More voided numbers than a window holds.");
  for (let i = 0; i < count; i += 1) {
    const elements = from.array();
    if (elements < 2) throw malformed("A voided number has 2 elements.");
    voids.push({ series: from.uint(MAX_NUMBER), code: from.str(MAX_CODE_BYTES) });
    from.skip(elements - 2);
  }
  return voids;
}

/** [19, expected, code str, retryable bool]: `expected` modulo the wrap. */
export function writeRefuse(to: Writer, expected: number, code: string, retryable: boolean): void {
  const frame = to.beginFrame();
  to.array(4);
  to.uint(TYPE.refuse);
  to.uint(expected);
  to.str(code);
  to.bool(retryable);
  to.endFrame(frame);
}

/** [20, offset, body, time]: the body's bytes as the sender gave them; `time` in milliseconds since 1970. */
export function writeDeliver(to: Writer, offset: number, body: Uint8Array, time: number): void {
  const frame = to.beginFrame();
  to.array(4);
  to.uint(TYPE.deliver);
  to.uint(offset);
  to.raw(body, 0, body.length);
  to.uint(time);
  to.endFrame(frame);
}

function readDeliver(from: Reader, count: number, to: FromBroker): void {
  if (count < 4) throw malformed("DELIVER has 4 elements.");
  const offset = from.uint(MAX_NUMBER);
  const start = from.at;
  checkBody(from, 0);
  const end = from.at;
  const time = from.uint(MAX_NUMBER);
  rest(from, count - 4);
  to.deliver(offset, time, from.bytes, start, end);
}

/** One of a device's two documents: JSON text. */
export interface Document {
  /** 0: never written. */
  readonly version: number;
  readonly json: Uint8Array;
}

/** [21, request, desiredVersion, desired bin, reportedVersion?, reported bin?]: with request 0 a push of `desired` alone. */
export function writeDocument(to: Writer, request: number, desired: Document, reported: Document | undefined): void {
  const frame = to.beginFrame();
  to.array(reported === undefined ? 4 : 6);
  to.uint(TYPE.document);
  to.uint(request);
  to.uint(desired.version);
  to.bin(desired.json);
  if (reported !== undefined) {
    to.uint(reported.version);
    to.bin(reported.json);
  }
  to.endFrame(frame);
}

function readDocument(from: Reader, count: number, to: FromBroker): void {
  if (count < 4) throw malformed("STATE has 4 elements or 6.");
  const request = from.uint(0xffff_ffff);
  const desired = readOneDocument(from);
  if (count < 6) {
    rest(from, count - 4);
    return to.document(request, desired, undefined);
  }
  const reported = readOneDocument(from);
  rest(from, count - 6);
  return to.document(request, desired, reported);
}

function readOneDocument(from: Reader): Document {
  const version = from.uint(MAX_NUMBER);
  from.binSpan(MAX_MAX_FRAME_BYTES);
  return { version, json: from.spanCopy() };
}

/** [22, window] */
export function writeCredit(to: Writer, window: number): void {
  const frame = to.beginFrame();
  to.array(2);
  to.uint(TYPE.credit);
  to.uint(window);
  to.endFrame(frame);
}

/** [23, generation, last, nonce]: `nonce` is 0, or the one that HELLO's has to exceed. */
export function writeBroken(to: Writer, generation: number, last: number, nonce: bigint): void {
  const frame = to.beginFrame();
  to.array(4);
  to.uint(TYPE.broken);
  to.uint(generation);
  to.uint(last);
  to.u64(nonce);
  to.endFrame(frame);
}

/** [24] */
export function writePong(to: Writer): void {
  writeBare(to, TYPE.pong);
}

/** [25, code str, detail str, retryAfter ms, retryable bool]: the last frame of a connection. */
export function writeClose(to: Writer, code: string, detail: string, retryAfterMs: number, retryable: boolean): void {
  const frame = to.beginFrame();
  to.array(5);
  to.uint(TYPE.close);
  to.str(code);
  to.str(detail.slice(0, MAX_DETAIL_BYTES / 4)); // a UTF-16 unit takes at most 3 bytes
  to.uint(retryAfterMs);
  to.bool(retryable);
  to.endFrame(frame);
}

/** [26, from, to, code str]: the stream's entries from … to cannot be delivered; messages to the device may be among them. */
export function writeMissed(to: Writer, from: number, until: number, code: string): void {
  const frame = to.beginFrame();
  to.array(4);
  to.uint(TYPE.missed);
  to.uint(from);
  to.uint(until);
  to.str(code);
  to.endFrame(frame);
}

/** What a device does with the broker's frames. A frame is checked to its end before one of these is called. */
export interface FromBroker {
  welcome(welcome: WelcomeFrame): void;
  ack(series: number, voids: readonly Voided[]): void;
  refuse(expected: number, code: string, retryable: boolean): void;
  /** body = bytes[start … end), valid during the call. */
  deliver(offset: number, time: number, bytes: Uint8Array, start: number, end: number): void;
  document(request: number, desired: Document, reported: Document | undefined): void;
  credit(window: number): void;
  broken(generation: number, last: number, nonce: bigint): void;
  pong(): void;
  close(code: string, detail: string, retryAfterMs: number, retryable: boolean): void;
  missed(from: number, to: number, code: string): void;
}

/** @throws BellhopError `protocol`; then nothing was called. */
export function readFromBroker(bytes: Uint8Array, start: number, end: number, to: FromBroker): void {
  const from = reader.reset(bytes, start, end);
  const count = from.array();
  if (count < 1) throw malformed("A message begins with its type.");
  const type = from.uint(MAX_NUMBER);
  switch (type) {
    case TYPE.ack: return readAck(from, count, to);
    case TYPE.deliver: return readDeliver(from, count, to);
    case TYPE.welcome: return to.welcome(readWelcome(from, count));
    case TYPE.document: return readDocument(from, count, to);
    case TYPE.refuse: {
      if (count < 4) throw malformed("REFUSE has 4 elements.");
      const expected = from.uint(MAX_NUMBER);
      const code = from.str(MAX_CODE_BYTES);
      const retryable = from.bool();
      rest(from, count - 4);
      return to.refuse(expected, code, retryable);
    }
    case TYPE.credit: {
      if (count < 2) throw malformed("CREDIT has 2 elements.");
      const window = from.uint(MAX_WINDOW);
      rest(from, count - 2);
      return to.credit(window);
    }
    case TYPE.broken: {
      if (count < 4) throw malformed("BROKEN has 4 elements.");
      const generation = from.uint(MAX_NUMBER);
      const last = from.uint(MAX_NUMBER);
      const nonce = from.u64();
      rest(from, count - 4);
      return to.broken(generation, last, nonce);
    }
    case TYPE.pong: rest(from, count - 1); return to.pong();
    case TYPE.close: {
      if (count < 5) throw malformed("CLOSE has 5 elements.");
      const code = from.str(MAX_CODE_BYTES);
      const detail = from.str(MAX_DETAIL_BYTES);
      const retryAfterMs = from.uint(MAX_NUMBER);
      const retryable = from.bool();
      rest(from, count - 5);
      return to.close(code, detail, retryAfterMs, retryable);
    }
    case TYPE.missed: {
      if (count < 4) throw malformed("MISSED has 4 elements.");
      const first = from.uint(MAX_NUMBER);
      const last = from.uint(MAX_NUMBER);
      const code = from.str(MAX_CODE_BYTES);
      rest(from, count - 4);
      return to.missed(first, last, code);
    }
    default: throw malformed(`${type} is no type of a broker's message.`);
  }
}

/** Steps over what this version does not know; the frame must end there. */
function rest(from: Reader, unknown: number): void {
  if (unknown > 0) from.skip(unknown);
  from.finish();
}

function writeBare(to: Writer, type: number): void {
  const frame = to.beginFrame();
  to.array(1);
  to.uint(type);
  to.endFrame(frame);
}

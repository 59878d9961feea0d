// The log payloads of the streams: every command with its encoder and decoder. First the version, then the command; unknown means stop (replication.md R2).
// A payload can be understood without the state: it names its device, and what a reader of the stream is shown.

import { assert } from "../../base/assert.ts";
import type { ErrorCode } from "../../base/errors.ts";
import type { Body, GatewayId, PublishKind } from "../hop.ts";
import { PUBLISH_KIND } from "../hop.ts";
import { fromUtf8, Reader, utf8, Writer } from "./bytes.ts";
import { DIGEST_BYTES, VOUCHED } from "./credentials.ts";
import type { Retain } from "./device.ts";
import type { Slab } from "./slab.ts";

const VERSION = 1;

export const COMMAND = {
  publish: 1, open: 2, attach: 3, detach: 4, keyed: 5, state: 6, received: 7, create: 8, remove: 9, putCredential: 10, removeCredential: 11, trim: 12, sweep: 13, unkeyed: 14, forgetGateway: 15,
} as const;

/** Why a number was consumed without being stored (R27); its place is its code in the log, so the order is frozen. 0: the publisher spent it on nothing. */
const VOID_CODES: readonly (ErrorCode | undefined)[] = [undefined, "bad_request", "bad_document", "too_large", "expired", "forbidden", "protocol", "internal"];

export function voidCode(code: ErrorCode | undefined): number {
  const place = VOID_CODES.indexOf(code);
  return place === -1 ? VOID_CODES.indexOf("bad_request") : place;
}

export function errorOfVoid(code: number): ErrorCode | undefined {
  assert(code < VOID_CODES.length, "a void's code is known");
  return VOID_CODES[code];
}

export const DETACH_REASONS = ["closed", "taken_over", "gateway_lost"] as const;
export type DetachReason = (typeof DETACH_REASONS)[number];

export interface Open {
  readonly device: string;
  readonly publisher: string;
  readonly nonce: bigint;
  readonly window: number;
  readonly leaves: number;
  readonly generation: number;
  /** Sessions that the device may have. */
  readonly most: number;
  /** Whose socket it is; undefined: no presence. */
  readonly gateway: GatewayId | undefined;
  /** The credential it came by, by its id; VOUCHED for none. */
  readonly credential: number;
}

export interface Attach {
  readonly device: string;
  readonly publisher: string;
  readonly session: number;
  readonly nonce: bigint;
  readonly oldest: number;
  readonly next: number;
  readonly generation: number;
  readonly gateway: GatewayId | undefined;
  readonly credential: number;
}

export interface PutCredential {
  readonly device: string;
  readonly name: string;
  /** SHA-256 of the token. */
  readonly digest: Uint8Array;
}

export interface RemoveCredential {
  readonly device: string;
  readonly name: string;
}

export interface Detached {
  readonly device: string;
  readonly session: number;
  readonly attachment: number;
}

export interface Detach {
  readonly reason: DetachReason;
  readonly sessions: readonly Detached[];
}

export interface Keyed {
  readonly device: string;
  readonly key: string;
  /** 128 bits, hexadecimal. */
  readonly fingerprint: string;
  /** Milliseconds since 1970; 0 for never. */
  readonly expires: number;
  /** Milliseconds of log time that keys are kept at least, and the bytes they may take in the bucket (R31). */
  readonly retention: number;
  readonly space: number;
  readonly body: Body;
}

export interface Unkeyed {
  readonly device: string;
  /** Whose number it is, and the least that it may send again (R30). */
  readonly gateway: GatewayId;
  readonly number: number;
  readonly least: number;
  /** Milliseconds since 1970; 0 for never. */
  readonly expires: number;
  readonly body: Body;
}

export interface StateChange {
  readonly device: string;
  readonly which: "reported" | "desired";
  readonly how: "put" | "patch";
  readonly ifVersion: number | undefined;
  /** The traceparent of the request, "" for none. */
  readonly trace: string;
  readonly document: Uint8Array;
}

/** Moves the first offset that is kept of a stream; `since` tells the device from another of its name. */
export interface Trim {
  readonly device: string;
  readonly since: number;
  readonly first: number;
}

export interface Received {
  readonly device: string;
  readonly session: number;
  readonly attachment: number;
  readonly delivered: number;
  readonly handled: number;
}

export type Command =
  | ({ readonly command: typeof COMMAND.open } & Open)
  | ({ readonly command: typeof COMMAND.attach } & Attach)
  | ({ readonly command: typeof COMMAND.detach } & Detach)
  | ({ readonly command: typeof COMMAND.keyed } & Keyed)
  | ({ readonly command: typeof COMMAND.unkeyed } & Unkeyed)
  /** Nothing comes any more from this node's gateways of this incarnation and earlier ones (R30). */
  | { readonly command: typeof COMMAND.forgetGateway; readonly gateway: GatewayId }
  | ({ readonly command: typeof COMMAND.state } & StateChange)
  | { readonly command: typeof COMMAND.received; readonly cursors: readonly Received[] }
  /** `retain`: undefined leaves what a known device has. */
  | { readonly command: typeof COMMAND.create; readonly device: string; readonly retain: Retain | undefined }
  | { readonly command: typeof COMMAND.remove; readonly device: string }
  | ({ readonly command: typeof COMMAND.trim } & Trim)
  /** Says nothing: what removed devices left goes a bounded number of records at a time, with each entry. */
  | { readonly command: typeof COMMAND.sweep }
  | ({ readonly command: typeof COMMAND.putCredential } & PutCredential)
  | ({ readonly command: typeof COMMAND.removeCredential } & RemoveCredential);

// PUBLISH: [version][command][kind][void code][session u48][series u56][names][body], numbers big-endian; names: [length][device][length][publisher].

const PUBLISH_NAMES = 17;

/** The names part of a session's publishes, made once for each session: a character for each of its bytes. Each name at most 255 bytes of UTF-8. */
export function publishNames(device: string, publisher: string): string {
  const names = [utf8(device), utf8(publisher)] as const;
  assert(names[0].length <= 255 && names[1].length <= 255, "names of a session fit their length byte");
  return String.fromCharCode(names[0].length, ...names[0], names[1].length, ...names[1]);
}

/** Encodes a publish; the body is copied, from one of `bytes`' places to the other. */
export function encodePublish(
  slab: Slab, kind: PublishKind, code: number, session: number, series: number, names: string, bytes: Uint8Array, start: number, end: number,
): Uint8Array {
  slab.reserve(PUBLISH_NAMES + names.length + end - start);
  const to = slab.bytes;
  const at = slab.start;
  to[at] = VERSION;
  to[at + 1] = COMMAND.publish;
  to[at + 2] = kind;
  to[at + 3] = code;
  writeU24(to, at + 4, session / 0x1000000);
  writeU24(to, at + 7, session % 0x1000000);
  to[at + 10] = series / 0x1000000000000;
  writeU24(to, at + 11, (series / 0x1000000) % 0x1000000);
  writeU24(to, at + 14, series % 0x1000000);
  for (let i = 0; i < names.length; i += 1) to[at + PUBLISH_NAMES + i] = names.charCodeAt(i);
  if (end > start) to.set(new Uint8Array(bytes.buffer, bytes.byteOffset + start, end - start), at + PUBLISH_NAMES + names.length); // measured: a loop costs more from 30 bytes on, a Buffer's `subarray` several times as much
  return slab.take();
}

/** The command of a payload; an unknown version or command stops the node. */
export function commandOf(payload: Uint8Array): number {
  assert(payload.length >= 2 && payload[0] === VERSION, "a payload of the streams has a known version");
  const command = payload[1]!;
  assert(command >= COMMAND.publish && command <= COMMAND.forgetGateway, "a command of the streams is known");
  return command;
}

export function publishKind(payload: Uint8Array): PublishKind {
  const kind = payload[2]!;
  assert(kind <= PUBLISH_KIND.void, "a publish is of a known kind");
  return kind as PublishKind;
}

export function publishCode(payload: Uint8Array): number {
  return payload[3]!;
}

export function publishSession(payload: Uint8Array): number {
  return readU24(payload, 4) * 0x1000000 + readU24(payload, 7);
}

export function publishSeries(payload: Uint8Array): number {
  return payload[10]! * 0x1000000000000 + readU24(payload, 11) * 0x1000000 + readU24(payload, 14);
}

export function publishDevice(payload: Uint8Array): string {
  return fromUtf8(payload.subarray(PUBLISH_NAMES + 1, PUBLISH_NAMES + 1 + payload[PUBLISH_NAMES]!));
}

export function publishPublisher(payload: Uint8Array): string {
  const at = PUBLISH_NAMES + 1 + payload[PUBLISH_NAMES]!;
  return fromUtf8(payload.subarray(at + 1, at + 1 + payload[at]!));
}

export function publishBody(payload: Uint8Array): Body {
  const publisher = PUBLISH_NAMES + 1 + payload[PUBLISH_NAMES]!;
  return payload.subarray(publisher + 1 + payload[publisher]!);
}

function writeU24(to: Uint8Array, at: number, value: number): void {
  to[at] = value >>> 16;
  to[at + 1] = value >>> 8;
  to[at + 2] = value;
}

function readU24(from: Uint8Array, at: number): number {
  return (from[at]! << 16) | (from[at + 1]! << 8) | from[at + 2]!;
}

// The other commands: rarer, so their fields are simply written one after the other.

const out = new Writer();

/** @param slab where its bytes are to stand; without one they have memory of their own */
export function encodeCommand(command: Command, slab?: Slab): Uint8Array {
  out.u8(VERSION).u8(command.command);
  switch (command.command) {
    case COMMAND.open:
      out.text(command.device).text(command.publisher).u64(command.nonce).integer(command.window).integer(command.leaves);
      out.integer(command.generation).integer(command.most);
      writeBy(command);
      break;
    case COMMAND.attach:
      out.text(command.device).text(command.publisher).integer(command.session).u64(command.nonce);
      out.integer(command.oldest).integer(command.next).integer(command.generation);
      writeBy(command);
      break;
    case COMMAND.detach:
      out.u8(DETACH_REASONS.indexOf(command.reason)).integer(command.sessions.length);
      for (const { device, session, attachment } of command.sessions) out.text(device).integer(session).integer(attachment);
      break;
    case COMMAND.keyed:
      out.text(command.device).text(command.key).text(command.fingerprint);
      out.integer(command.expires).integer(command.retention).integer(command.space).raw(command.body);
      break;
    case COMMAND.unkeyed:
      out.text(command.device).text(command.gateway.node).integer(command.gateway.incarnation);
      out.integer(command.number).integer(command.least).integer(command.expires).raw(command.body);
      break;
    case COMMAND.forgetGateway:
      out.text(command.gateway.node).integer(command.gateway.incarnation);
      break;
    case COMMAND.state:
      out.text(command.device).u8(command.which === "reported" ? 0 : 1).u8(command.how === "put" ? 0 : 1);
      out.integer(command.ifVersion === undefined ? 0 : command.ifVersion + 1).text(command.trace).raw(command.document);
      break;
    case COMMAND.received:
      out.integer(command.cursors.length);
      for (const { device, session, attachment, delivered, handled } of command.cursors) {
        out.text(device).integer(session).integer(attachment).integer(delivered).integer(handled);
      }
      break;
    case COMMAND.create:
      out.text(command.device).u8(command.retain === undefined ? 0 : 1);
      if (command.retain !== undefined) out.integer(command.retain.seconds).integer(command.retain.entries);
      break;
    case COMMAND.remove:
      out.text(command.device);
      break;
    case COMMAND.putCredential:
      out.text(command.device).text(command.name).raw(command.digest);
      break;
    case COMMAND.removeCredential:
      out.text(command.device).text(command.name);
      break;
    case COMMAND.trim:
      out.text(command.device).integer(command.since).integer(command.first);
      break;
    case COMMAND.sweep:
      break;
  }
  return slab === undefined ? out.take() : out.takeInto(slab);
}

/** Every command but PUBLISH, whose fields are read in place. */
export function decodeCommand(payload: Uint8Array): Command {
  const command = commandOf(payload) as Command["command"];
  const from = new Reader(payload, 2);
  switch (command) {
    case COMMAND.open:
      return {
        command, device: from.text(), publisher: from.text(), nonce: from.u64(), window: from.integer(), leaves: from.integer(),
        generation: from.integer(), most: from.integer(), ...readBy(from),
      };
    case COMMAND.attach:
      return {
        command, device: from.text(), publisher: from.text(), session: from.integer(), nonce: from.u64(),
        oldest: from.integer(), next: from.integer(), generation: from.integer(), ...readBy(from),
      };
    case COMMAND.detach: {
      const reason = DETACH_REASONS[from.u8()];
      assert(reason !== undefined, "the reason of a detach is known");
      return { command, reason, sessions: many(from, () => ({ device: from.text(), session: from.integer(), attachment: from.integer() })) };
    }
    case COMMAND.keyed:
      return {
        command, device: from.text(), key: from.text(), fingerprint: from.text(),
        expires: from.integer(), retention: from.integer(), space: from.integer(), body: from.rest(),
      };
    case COMMAND.unkeyed:
      return {
        command, device: from.text(), gateway: { node: from.text(), incarnation: from.integer() },
        number: from.integer(), least: from.integer(), expires: from.integer(), body: from.rest(),
      };
    case COMMAND.forgetGateway:
      return { command, gateway: { node: from.text(), incarnation: from.integer() } };
    case COMMAND.state: {
      const device = from.text();
      const which = from.u8() === 0 ? "reported" : "desired";
      const how = from.u8() === 0 ? "put" : "patch";
      const version = from.integer();
      return { command, device, which, how, ifVersion: version === 0 ? undefined : version - 1, trace: from.text(), document: from.rest() };
    }
    case COMMAND.received:
      return {
        command,
        cursors: many(from, () => ({
          device: from.text(), session: from.integer(), attachment: from.integer(), delivered: from.integer(), handled: from.integer(),
        })),
      };
    case COMMAND.create:
      return { command, device: from.text(), retain: from.u8() === 0 ? undefined : { seconds: from.integer(), entries: from.integer() } };
    case COMMAND.remove:
      return { command, device: from.text() };
    case COMMAND.putCredential:
      return { command, device: from.text(), name: from.text(), digest: from.raw(DIGEST_BYTES) };
    case COMMAND.removeCredential:
      return { command, device: from.text(), name: from.text() };
    case COMMAND.trim:
      return { command, device: from.text(), since: from.integer(), first: from.integer() };
    case COMMAND.sweep:
      return { command };
  }
}

function many<T>(from: Reader, one: () => T): T[] {
  const items: T[] = [];
  for (let left = from.integer(); left > 0; left -= 1) items.push(one());
  return items;
}

/** Which of the two follows, as bits: a gateway, a credential. */
const BY = { gateway: 1, credential: 2 } as const;

function writeBy({ gateway, credential }: Pick<Open, "gateway" | "credential">): void {
  out.u8((gateway === undefined ? 0 : BY.gateway) | (credential === VOUCHED ? 0 : BY.credential));
  if (gateway !== undefined) out.text(gateway.node).integer(gateway.incarnation);
  if (credential !== VOUCHED) out.integer(credential);
}

function readBy(from: Reader): Pick<Open, "gateway" | "credential"> {
  const by = from.u8();
  const gateway = (by & BY.gateway) === 0 ? undefined : { node: from.text(), incarnation: from.integer() };
  return { gateway, credential: (by & BY.credential) === 0 ? VOUCHED : from.integer() };
}

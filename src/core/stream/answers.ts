// The shapes of a leader's answers, and the names that requests are kept under.

import type { ErrorCode } from "../../base/errors.ts";
import type { GatewayId, HopAnswer, HopRequest } from "../hop.ts";
import { fromUtf8, utf8 } from "./bytes.ts";
import { COMMAND, errorOfVoid, type Command } from "./commands.ts";
import { DIGEST_BYTES } from "./credentials.ts";
import type { StreamMachine } from "./machine.ts";
import { older, type Result } from "./results.ts";
import type { Admitted, Seat } from "./seats.ts";
import { isOlder, voidCodeOf, type Session } from "./session.ts";

/** Greatest length of a device's id, a publisher's name and an idempotency key, bytes of UTF-8. */
export const NAME_BYTES = 255;

export type Acked = Extract<HopAnswer, { type: "acked" }>;
const NO_VOIDS: Acked["voids"] = [];

/** A name: 1 … 255 bytes of UTF-8, without half characters. */
export function isName(name: string): boolean {
  if (name.length === 0 || name.length > NAME_BYTES) return false;
  if (isAscii(name)) return true;
  const bytes = utf8(name);
  return bytes.length <= NAME_BYTES && fromUtf8(bytes) === name;
}

/** As names mostly are. */
function isAscii(name: string): boolean {
  for (let i = 0; i < name.length; i += 1) if (name.charCodeAt(i) >= 0x80) return false;
  return true;
}

/** A device's id: a name that a URL can carry, where `.` and `..` are steps in the path. */
export function isDevice(name: string): boolean {
  return name !== "." && name !== ".." && isName(name);
}

const NONCES = 2n ** 64n;

/** Every number of the request is one that the log can carry: whole, not negative, 53 bits; a nonce has 64. */
export function isSound(request: HopRequest): boolean {
  for (const name in request) {
    const value: unknown = request[name as keyof HopRequest];
    if (typeof value === "number" && !(Number.isSafeInteger(value) && value >= 0)) return false;
    if (typeof value === "bigint" && !(value >= 0n && value < NONCES)) return false;
  }
  return true;
}

/** The device's length in front keeps two names apart whatever they are made of. */
export function publisherKey({ device, publisher }: { readonly device: string; readonly publisher: string }): string {
  return `${device.length}/${device}/${publisher}`;
}

/** An entry in the tail of a closed leader may commit yet. What can be asked for again without harm is; a change of state cannot. */
export function inDoubt(request: HopRequest): ErrorCode {
  return request.type === "state" ? "deadline" : "stale_table";
}

/** The request as a command, where it is one as it stands; undefined when it is malformed. */
export function plainCommand(request: Extract<HopRequest, { type: "create" | "remove" | "putCredential" | "removeCredential" }>): Command | undefined {
  const { type, device } = request;
  if (type === "remove") return { command: COMMAND.remove, device };
  if (type === "removeCredential") return { command: COMMAND.removeCredential, device, name: request.name };
  if (!isDevice(device)) return undefined;
  if (type === "create") return { command: COMMAND.create, device, retain: request.retain };
  const { name, digest } = request;
  return isName(name) && digest.length === DIGEST_BYTES ? { command: COMMAND.putCredential, device, name, digest } : undefined;
}

export function failed({ request }: { readonly request: number }, code: ErrorCode): HopAnswer {
  return { type: "failed", request, code, detail: "", version: 0 };
}

/** A re-attachment that this leader does not hold. */
export function notHeld({ request, session: number, nonce }: Extract<HopRequest, { type: "reattach" }>, session: Session | undefined, generation: number): HopAnswer {
  if (session !== undefined && isOlder(nonce, session)) return { ...older(session, 0), request }; // R25
  if (session?.number !== number || session.generation !== generation) return { type: "broken", request, generation, last: session?.last ?? 0, code: "broken", stored: undefined };
  if (session.attachment !== 0) return { ...older(session, 0), request };
  return failed({ request }, "idle"); // its presence went down: the device comes back and resumes
}

export function ended({ session, attachment }: Seat, why?: "removed"): HopAnswer {
  const of = { device: session.device, publisher: session.publisher, session: session.number, attachment };
  return why === undefined ? { type: "takenOver", ...of } : { type: "takenOver", ...of, why };
}

export function revoked({ session, attachment }: Seat): HopAnswer {
  return { type: "revoked", device: session.device, publisher: session.publisher, session: session.number, attachment };
}

export function ackOf({ number, device, publisher, applied, voids }: Admitted): Acked {
  return { type: "acked", session: number, device, publisher, series: applied, voids: voids.length === 0 ? NO_VOIDS : voidsOf(voids) };
}

/** The ACK of a duplicate: everything applied, and the voids that are remembered. */
export function duplicateOf(machine: StreamMachine, { number, device, publisher, applied }: Admitted): Acked {
  const voids = machine.devices.find(device)?.session(publisher)?.voids ?? [];
  return { type: "acked", session: number, device, publisher, series: applied, voids: voidsOf(voids) };
}

export function refusalOf(epoch: number, { number, device, publisher, tail }: Admitted, code: ErrorCode): HopAnswer {
  return { type: "refused", epoch, session: number, device, publisher, expected: tail + 1, code };
}

/** What a publish without a key is answered that was applied before; undefined for one that was not. */
export function toldNumber(machine: StreamMachine, from: GatewayId, { request, number }: Extract<HopRequest, { type: "unkeyed" }>): HopAnswer | undefined {
  const offset = machine.resends.find(from, number);
  if (offset === undefined) return undefined;
  return offset === 0 ? failed({ request }, "deadline") : { type: "stored", request, offset, duplicate: false };
}

/** Is it stored (A6)? Asked after the round that makes "no" sure (R34). */
export function toldKey(machine: StreamMachine, { request, device, key }: Extract<HopRequest, { type: "askKey" }>): HopAnswer {
  const known = machine.devices.find(device);
  const stored = known === undefined ? undefined : machine.keys.find(known, machine.keys.nameOf(known, device, key));
  const is = stored === undefined ? "absent" : "stored";
  return { type: "told", request, is, offset: stored?.offset ?? 0, position: machine.index };
}

/** Of the device's current sessions, and of those that one of them names as the session it left. */
export function toldSeries(machine: StreamMachine, asked: Extract<HopRequest, { type: "askSeries" }>): HopAnswer {
  const { request, device, session: number, series } = asked;
  const known = machine.devices.find(device);
  const session = known?.numbered(number);
  const last = session?.last ?? known?.sessions.find(({ left }) => left === number)?.leftAt;
  const isPast = last === undefined && number <= machine.index;
  const isVoid = session !== undefined && voidCodeOf(session, series) !== 0;
  const is = isPast ? "forgotten" : series > (last ?? 0) ? "absent" : isVoid ? "void" : "stored";
  return { type: "told", request, is, offset: 0, position: machine.index };
}

/** Those with a code: a number that its publisher spent on nothing is simply acknowledged. */
export function voidsOf(pairs: readonly number[]): Acked["voids"] {
  const voids: { series: number; code: ErrorCode }[] = [];
  for (let i = 0; i < pairs.length; i += 2) voids.push({ series: pairs[i]!, code: errorOfVoid(pairs[i + 1]!)! });
  return voids;
}

export function answerOf(request: number, result: Exclude<Result, { type: "attached" }>): HopAnswer {
  if (result.type === "failed") return { type: "failed", request, code: result.code, detail: "", version: result.version };
  if (result.type === "stored") return { type: "stored", request, offset: result.offset, duplicate: result.duplicate };
  return { ...result, request };
}

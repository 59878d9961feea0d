// A session: one series of one publisher to one device (R25–R27), as replicated state.

import type { GatewayId } from "../hop.ts";
import type { Reader, Writer } from "./bytes.ts";
import type { Device } from "./device.ts";

export interface Session {
  /** Greatest series applied. */
  last: number;
  /** Not state: it is its publisher's newest, and its device is in memory. Else a reference to it is stale. */
  current: boolean;
  readonly device: Device;
  /** "" for the device itself. */
  readonly publisher: string;
  /** The session's number (R25). */
  readonly number: number;
  readonly window: number;
  /** The greatest nonce of a HELLO that opened or resumed it (R25). */
  nonce: bigint;
  /** The bucket's generation when it opened: a forced copy has a greater one, and breaks the session (R9). */
  readonly generation: number;
  /** Log index of the open or attach that brought its presence up; 0 while it is down (R33). */
  attachment: number;
  gateway: GatewayId | undefined;
  /** The session it left behind, and that one's final `last` (R25). */
  readonly left: number;
  readonly leftAt: number;
  /** Recent numbers that applying made void for their content, `[series, code, …]`: a duplicate is told alike (R27). At most `window`. */
  voids: number[];
}

/** Numbers of one generation: more than a log has indexes. */
const GENERATION_STEP = 2 ** 40;
/** A session's number has 48 bits. */
const GENERATIONS = 255;

/**
 * The number of the session that the entry at `index` opens (R25): above every one of an earlier generation, whose indexes are given again after an accepted loss (R9), so that no number means two sessions.
 * Only after 255 such losses of one bucket may one.
 */
export function sessionNumber(generation: number, index: number): number {
  return Math.min(generation, GENERATIONS) * GENERATION_STEP + index;
}

export function writeSession(out: Writer, session: Session): void {
  out.text(session.publisher).integer(session.number).integer(session.last).integer(session.window);
  out.u64(session.nonce).integer(session.generation).integer(session.attachment);
  if (session.gateway !== undefined) out.text(session.gateway.node).integer(session.gateway.incarnation);
  out.integer(session.left).integer(session.leftAt).integer(session.voids.length);
  for (const number of session.voids) out.integer(number);
}

export function readSession(from: Reader, device: Device): Session {
  const publisher = from.text();
  const number = from.integer();
  const last = from.integer();
  const window = from.integer();
  const nonce = from.u64();
  const generation = from.integer();
  const attachment = from.integer();
  const gateway = attachment === 0 ? undefined : { node: from.text(), incarnation: from.integer() };
  const left = from.integer();
  const leftAt = from.integer();
  const voids = Array.from({ length: from.integer() }, () => from.integer());
  return { last, current: false, device, publisher, number, window, nonce, generation, attachment, gateway, left, leftAt, voids };
}

/** A HELLO with a lower nonce than the stored one is an older one: it takes nothing over (R25). Asked at admission, and again when it is applied. */
export function isOlder(nonce: bigint, than: Session): boolean {
  return nonce < than.nonce; // R25
}

/** Remembers why a number is void as long as a duplicate of it may come: within the window. */
export function rememberVoid(session: Session, series: number, code: number): void {
  const oldest = series - session.window;
  let drop = 0;
  while (drop < session.voids.length && session.voids[drop]! <= oldest) drop += 2;
  session.voids.splice(0, drop);
  session.voids.push(series, code);
}

/** Why this number is void, as a code of the log; 0 where it is stored, or void for no reason that is remembered. */
export function voidCodeOf(session: Session, series: number): number {
  for (let i = 0; i < session.voids.length; i += 2) if (session.voids[i] === series) return session.voids[i + 1]!;
  return 0;
}

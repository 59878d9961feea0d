// What the committed entries make of the streams, worked out a second time and independently: sessions, series, keys (invariants 5, 11, 12, 13, 15).

import { ENTRY_KIND, type Entry } from "../../src/core/entry.ts";
import { PUBLISH_KIND } from "../../src/core/hop.ts";
import { payloadOf } from "../../src/core/stream/body.ts";
import { fromUtf8 } from "../../src/core/stream/bytes.ts";
import {
  COMMAND, commandOf, decodeCommand, publishBody, publishDevice, publishKind, publishPublisher, publishSeries, publishSession,
} from "../../src/core/stream/commands.ts";
import { check } from "./world.ts";

interface OpenSession {
  readonly number: number;
  nonce: bigint;
  last: number;
}

export class StreamOracle {
  /** `device/publisher` → its current session. */
  readonly #sessions = new Map<string, OpenSession>();
  /** `session of device` → series → what is stored under it; "" for a void. */
  readonly #stored = new Map<string, Map<number, string>>();
  /** `device/publisher` → its messages in the stream. */
  readonly #messages = new Map<string, number>();
  /** `device key` → messages stored under it, at their time. */
  readonly #keys = new Map<string, string[]>();
  readonly #log: { readonly forced: () => boolean };

  constructor(forced: () => boolean) {
    this.#log = { forced };
  }

  committed(entry: Entry): void {
    if (entry.kind !== ENTRY_KIND.machine || this.#log.forced()) return;
    const { payload } = entry;
    if (commandOf(payload) === COMMAND.publish) return this.#publish(payload);
    const command = decodeCommand(payload);
    if (command.command === COMMAND.open) {
      const who = `${command.device}/${command.publisher}`;
      const former = this.#sessions.get(who);
      if (former === undefined || command.nonce > former.nonce) this.#sessions.set(who, { number: entry.index, nonce: command.nonce, last: 0 });
    } else if (command.command === COMMAND.attach) {
      const session = this.#sessions.get(`${command.device}/${command.publisher}`);
      const joins = session?.number === command.session && command.nonce >= session.nonce && command.oldest - 1 <= session.last && session.last < command.next;
      if (joins) session.nonce = command.nonce;
    } else if (command.command === COMMAND.keyed) {
      const key = `${command.device} ${command.key}`;
      const stored = this.#keys.get(key) ?? [];
      stored.push(textOf(command.body));
      this.#keys.set(key, stored);
    }
  }

  /** A publisher was told that everything up to `series` of its session is stored. */
  acknowledged(device: string, session: number, series: number, text: string): void {
    if (this.#log.forced()) return;
    const stored = this.#stored.get(`${session} of ${device}`)?.get(series);
    check(stored === text, "5 (acknowledged, but not stored)", () =>
      `${device} session ${session} series ${series}: ${text} is ${stored ?? "not there"}`);
  }

  /** A backend was told that its key is stored. */
  keyIsStored(device: string, key: string): void {
    if (!this.#log.forced()) check(this.#keys.has(`${device} ${key}`), "5 (answered, but not stored)", () => `key ${key} of ${device}`);
  }

  /** How many messages of a publisher are in the device's stream. */
  count(device: string, publisher: string): number {
    return this.#messages.get(`${device}/${publisher}`) ?? 0;
  }

  #publish(payload: Uint8Array): void {
    const device = publishDevice(payload);
    const who = `${device}/${publishPublisher(payload)}`;
    const session = this.#sessions.get(who);
    const series = publishSeries(payload);
    if (session === undefined || session.number !== publishSession(payload) || series !== session.last + 1) return; // without effect
    session.last = series;
    const of = `${session.number} of ${device}`;
    let stored = this.#stored.get(of);
    if (stored === undefined) this.#stored.set(of, (stored = new Map()));
    const isVoid = publishKind(payload) === PUBLISH_KIND.void;
    const text = isVoid ? "" : textOf(publishBody(payload));
    stored.set(series, text);
    if (publishKind(payload) !== PUBLISH_KIND.message) return;
    // A publisher numbers its messages for itself: they are stored once each, in the order in which it gave them.
    const given = Number(text.split(":")[1]);
    const before = this.#messages.get(who) ?? 0;
    check(given > before, "13 (stored twice, or out of order)", () => `${who}: message ${given} after ${before}`);
    check(given === before + 1, "11 (a message is missing)", () => `${who}: message ${given} after ${before}`);
    this.#messages.set(who, given);
  }
}

export function bodyOf(text: string): Uint8Array {
  const bytes = new TextEncoder().encode(text);
  return Uint8Array.of(0x93, 0xa0 + bytes.length, ...bytes, 0xc0, 0xc0);
}

export function textOf(body: Uint8Array): string {
  return fromUtf8(payloadOf(body)!);
}

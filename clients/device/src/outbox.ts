// What was published and is not acknowledged yet, in order. A message's place is a number of the outbox's own, which only rises; within a session,
// series = place − base, so a new session renumbers everything by one new base.

import { assert } from "../../../src/base/assert.ts";
import { Ring } from "../../../src/base/ring.ts";
import { KIND, VOID_BODY, type Kind } from "../../../src/wire/body.ts";
import type { DeviceError } from "./errors.ts";
import type { OutboxFile } from "./outbox-file.ts";

export interface Item {
  readonly place: number;
  kind: Kind;
  body: Uint8Array;
  /** Milliseconds since 1970; 0 for never. */
  readonly expires: number;
  /** It may have been sent: its bytes may not change any more, save by a REFUSE for good. */
  sent: boolean;
  /** Undefined for what a former process published. */
  readonly resolve: (() => void) | undefined;
  readonly reject: ((error: DeviceError) => void) | undefined;
}

/** The session that the numbers belong to. `nonce`: one that a HELLO had before it was written. `opening`: an OPEN is not answered yet, and session and base are those it leaves. */
export interface Session {
  readonly session: number;
  readonly base: number;
  readonly nonce: bigint;
  readonly opening: boolean;
}

export class Outbox {
  session: Session = { session: 0, base: 0, nonce: 0n, opening: false };
  /** Places ≤ this may be sent: they are as durable as the outbox is. */
  durable = 0;
  /** Place of the newest message. */
  last = 0;
  bytes = 0;
  /** Offset of the last message that the application has handled. */
  handled = 0;
  readonly #items = new Ring<Item>(64);
  readonly #file: OutboxFile | undefined;

  constructor(file: OutboxFile | undefined) {
    this.#file = file;
    if (file === undefined) return;
    const { session, items, last, handled } = file.restored;
    this.session = session;
    this.handled = handled;
    for (const item of items) {
      this.#items.push(item);
      this.bytes += item.body.length;
    }
    this.last = last;
    this.durable = last;
  }

  get size(): number {
    return this.#items.size;
  }

  /** Place of the oldest message, or of the next one when there is none. */
  get first(): number {
    return this.last - this.#items.size + 1;
  }

  at(place: number): Item | undefined {
    return this.#items.at(place - this.first);
  }

  add(kind: Kind, body: Uint8Array, expires: number, resolve?: () => void, reject?: (error: DeviceError) => void): void {
    this.last += 1;
    this.#items.push({ place: this.last, kind, body, expires, sent: false, resolve, reject });
    this.bytes += body.length;
    this.#file?.message(this.last, kind, body);
  }

  /** Takes the oldest message out: it is settled. */
  shift(): Item {
    const item = this.#items.shift();
    assert(item !== undefined, "only what the outbox holds is settled");
    this.bytes -= item.body.length;
    this.#file?.settled(item.place);
    return item;
  }

  /** Spends the message's number on nothing. */
  empty(item: Item): void {
    this.bytes -= item.body.length - VOID_BODY.length;
    item.kind = KIND.void;
    item.body = VOID_BODY;
    this.#file?.message(item.place, item.kind, item.body);
  }

  setSession(session: Session): void {
    this.session = session;
    this.#file?.session(session);
  }

  setHandled(offset: number): void {
    this.handled = offset;
    this.#file?.handled(offset);
  }

  /** Calls back once everything so far is durable: at once for an outbox in memory. */
  whenDurable(done: () => void): void {
    if (this.#file === undefined) done();
    else this.#file.whenSynced(done);
  }

  /** The messages that are left, for a compaction and for the end. */
  *[Symbol.iterator](): IterableIterator<Item> {
    for (let i = 0; i < this.#items.size; i += 1) yield this.#items.at(i)!;
  }

  async close(): Promise<void> {
    await this.#file?.close();
  }
}

// Idempotency keys (R31): (device, key) → fingerprint and offset, in replicated state, with a queue by age that says which may be forgotten.

import { assert } from "../../base/assert.ts";
import { Reader, Writer } from "./bytes.ts";
import type { Device } from "./device.ts";
import { keyName, keysName, queueName } from "./names.ts";
import type { Overlay } from "./overlay.ts";
import { Slab } from "./slab.ts";

/** Old keys forgotten at most by one keyed publish: more than it adds, so that space comes back, and bounded. */
const MOST_EVICTED = 4;
/** Places of removed devices' keys passed at most by one keyed publish. */
const MOST_PASSED = 64;
/** What a key takes beside its own text: the two records' fixed parts. */
const RECORD_BYTES = 96;
const VERSION = 1;

export interface Stored {
  readonly fingerprint: string;
  readonly offset: number;
}

interface Queued {
  readonly device: string;
  readonly key: string;
  readonly time: number;
}

const out = new Writer();

export class Keys {
  readonly #records: Overlay;
  /** Of the records that were added; they leave it with their checkpoint. */
  readonly #slab = new Slab();
  /** Places in the queue: the oldest key's, and the next one to give. */
  #head = 0;
  #next = 0;
  #bytes = 0;
  /** The key at the head, once it has been read. */
  #oldest: Queued | undefined;

  constructor(records: Overlay) {
    this.#records = records;
  }

  /** Bytes that the kept keys are counted with. */
  get bytes(): number {
    return this.#bytes;
  }

  /** The name of a key's record: whoever works with a key makes it once. `known`: the device, where it is. */
  nameOf(known: Device | undefined, device: string, key: string): string {
    if (known === undefined) return keyName(device, key);
    known.keysName ||= keysName(device);
    return known.keysName + key;
  }

  find(device: Device, name: string): Stored | undefined {
    const bytes = this.#records.get(name);
    if (bytes === undefined) return undefined;
    const record = readKey(bytes);
    // A key of a device of this name that was removed is not this one's.
    return record.since === device.since ? record : undefined;
  }

  /** Would this key find room at `time`, once those that may go have gone? */
  hasRoom(device: string, key: string, time: number, retention: number, space: number): boolean {
    if (this.#bytes + cost(device, key) <= space) return true;
    const oldest = this.#first();
    return oldest !== undefined && isOld(oldest, time, retention) && this.#bytes - cost(oldest.device, oldest.key) + cost(device, key) <= space;
  }

  add(device: Device, key: string, name: string, stored: Stored, time: number): void {
    out.u8(VERSION).text(stored.fingerprint).integer(stored.offset).integer(device.since).integer(this.#next);
    this.#records.set(name, out.takeInto(this.#slab));
    out.u8(VERSION).text(device.id).text(key).integer(time);
    this.#records.set(queueName(this.#next), out.takeInto(this.#slab));
    this.#next += 1;
    this.#bytes += cost(device.id, key);
  }

  /** Forgets the oldest keys that were kept long enough. */
  evict(time: number, retention: number): void {
    for (let left = MOST_PASSED; left > 0 && this.#oldest === undefined && this.#head < this.#next && this.#isHole(this.#head); left -= 1) this.#head += 1;
    for (let left = MOST_EVICTED; left > 0; left -= 1) {
      const oldest = this.#first();
      if (oldest === undefined || !isOld(oldest, time, retention)) return;
      this.#forget(oldest);
    }
  }

  /**
   * Forgets keys that a removed device had; `since` tells them from those of a new device of its name.
   * @returns the name to go on after, undefined when all were looked at
   */
  forgetOf(device: string, since: number, after: string, most: number): string | undefined {
    const found: (readonly [string, Uint8Array])[] = [];
    for (const record of this.#records.range(keysName(device), after)) {
      found.push(record);
      if (found.length === most) break;
    }
    for (const [name, bytes] of found) {
      const record = readKey(bytes);
      if (record.since !== since) continue;
      this.#records.set(name, undefined);
      this.#records.set(queueName(record.place), undefined);
      this.#bytes -= cost(device, name.slice(keysName(device).length));
    }
    this.#oldest = undefined;
    return found.length === most ? found.at(-1)![0] : undefined;
  }

  write(to: Writer): void {
    to.integer(this.#head).integer(this.#next).integer(this.#bytes);
  }

  read(from: Reader): void {
    this.#head = from.integer();
    this.#next = from.integer();
    this.#bytes = from.integer();
    this.#oldest = undefined;
  }

  #first(): Queued | undefined {
    if (this.#oldest !== undefined || this.#head === this.#next) return this.#oldest;
    const bytes = this.#records.get(queueName(this.#head));
    if (bytes === undefined) return undefined; // a removed device's: the next keyed publish passes it
    const from = new Reader(bytes);
    assert(from.u8() === VERSION, "a queue record has a known version");
    this.#oldest = { device: from.text(), key: from.text(), time: from.integer() };
    return this.#oldest;
  }

  #isHole(place: number): boolean {
    return this.#records.get(queueName(place)) === undefined;
  }

  #forget(oldest: Queued): void {
    const name = keyName(oldest.device, oldest.key);
    const bytes = this.#records.get(name);
    // The same key may have been used again by a device that took the removed one's name: then the record is the younger one's.
    if (bytes !== undefined && readKey(bytes).place === this.#head) this.#records.set(name, undefined);
    this.#records.set(queueName(this.#head), undefined);
    this.#bytes -= cost(oldest.device, oldest.key);
    this.#head += 1;
    this.#oldest = undefined;
  }
}

function isOld(queued: Queued, time: number, retention: number): boolean {
  return time - queued.time > retention; // R31: young keys are never dropped
}

function cost(device: string, key: string): number {
  return RECORD_BYTES + 2 * (device.length + key.length);
}

function readKey(bytes: Uint8Array): Stored & { readonly since: number; readonly place: number } {
  const from = new Reader(bytes);
  assert(from.u8() === VERSION, "a key record has a known version");
  return { fingerprint: from.text(), offset: from.integer(), since: from.integer(), place: from.integer() };
}

// Holds one device's stream against what was answered: nothing answered is missing, doubled or out of order, no offset is left out, and what was not answered is there once at most.

import type { DeviceHistory, History, ReadEntry } from "./history.ts";

export class StreamJudge {
  readonly #history: History;
  readonly #device: DeviceHistory;
  readonly #places: ReadonlyMap<string, number>;
  /** Offset and the device's own number of the last entry; the last number of each publisher. */
  #offset = 0;
  #number = 0;
  readonly #numbers = new Map<string, number>();

  constructor(history: History, device: DeviceHistory) {
    this.#history = history;
    this.#device = device;
    this.#places = new Map(history.publishers.map(({ name }, place) => [name, place]));
  }

  /** The next entry, from the first on. */
  entry(entry: ReadEntry): void {
    const { device } = this.#device;
    this.#offset += 1;
    if (Number(entry.offset) !== this.#offset) this.#violated(`offset ${entry.offset} stands where ${this.#offset} should`);
    if (entry.type === "uplink") this.#uplink(String(entry.payload), device);
    else if (entry.type === "downlink") this.#downlink(String(entry.payload));
  }

  /** No entry follows. */
  end(): void {
    const { answered, fingerprints } = this.#device;
    if (this.#number < answered) this.#violated(`the stream ends with ${this.#number}, and ${answered} was answered`);
    if (this.#offset < fingerprints.length) this.#violated(`the stream ends at offset ${this.#offset}, and ${fingerprints.length} had been read before`);
    for (const [place, { name, offsets }] of this.#history.publishers.entries()) {
      const last = this.#numbers.get(name) ?? 0;
      for (let number = last + 1; number <= offsets.length; number += 1) {
        const isAnswered = offsets[number - 1] !== 0 && this.#history.deviceOf(place, number) === this.#device;
        if (isAnswered) this.#violated(`${name} ${number} was answered with offset ${offsets[number - 1]}, and is not in the stream`);
      }
    }
  }

  #uplink(payload: string, device: string): void {
    const [name, digits] = payload.split(" ");
    const number = Number(digits);
    if (name !== device || !(number >= 1 && number <= this.#device.given)) return this.#violated(`at offset ${this.#offset} stands ${payload}, which nobody published`);
    if (number === this.#number + 1) this.#number = number;
    else if (number <= this.#number) this.#violated(`at offset ${this.#offset} ${number} comes again or late, after ${this.#number}`);
    else {
      this.#violated(`at offset ${this.#offset} ${this.#number + 1} … ${number - 1} are missing before ${number}`);
      this.#number = number;
    }
  }

  #downlink(payload: string): void {
    const [name = "", digits] = payload.split(" ");
    const number = Number(digits);
    const place = this.#places.get(name);
    const offsets = place === undefined ? undefined : this.#history.publishers[place]!.offsets;
    if (place === undefined || offsets === undefined || !(number >= 1 && number <= offsets.length) || this.#history.deviceOf(place, number) !== this.#device) {
      return this.#violated(`at offset ${this.#offset} stands ${payload}, which nobody published here`);
    }
    const before = this.#numbers.get(name) ?? 0;
    if (number <= before) return this.#violated(`at offset ${this.#offset} ${payload} comes again or late, after ${before}`);
    for (let skipped = before + 1; skipped < number; skipped += 1) {
      const isAnswered = offsets[skipped - 1] !== 0 && this.#history.deviceOf(place, skipped) === this.#device;
      if (isAnswered) this.#violated(`${name} ${skipped} was answered and is missing before ${number}`);
    }
    this.#numbers.set(name, number);
    const answered = offsets[number - 1]!;
    if (answered !== 0 && answered !== this.#offset) this.#violated(`${payload} was answered with offset ${answered} and stands at ${this.#offset}`);
  }

  #violated(what: string): void {
    this.#history.violated(`${this.#device.device}: ${what}`);
  }
}

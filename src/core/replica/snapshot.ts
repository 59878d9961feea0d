// What a leader sends a learner that is far behind: the state in parts, then every retained entry from the floor up to it (R17).

import type { Entry } from "../entry.ts";
import type { Copy } from "./copy.ts";
import type { Peer } from "./peer.ts";
import { entryBytes } from "./resident.ts";
import type { EpochStart, Message } from "./types.ts";

export class Snapshot {
  /** The state is that of this index, which is committed. */
  readonly index: number;
  readonly floor: number;
  readonly #indexEpoch: number;
  readonly #epochs: readonly EpochStart[];
  readonly #time: number;
  readonly #copy: Copy;
  readonly #peer: Peer;
  #state: Uint8Array;
  readonly #parts: number;
  #sentParts = 0;
  #ackedParts = 0;
  #historyTo: number;
  #movedAt: number;

  constructor(copy: Copy, peer: Peer) {
    const { log } = copy;
    this.#copy = copy;
    this.#peer = peer;
    this.index = copy.applied; // R17: s ≤ commit
    this.floor = log.floor;
    this.#indexEpoch = log.epochAt(this.index)!;
    this.#epochs = log.epochs.filter(({ first }) => first <= this.index);
    this.#time = log.lastTime;
    this.#state = copy.machine.snapshot();
    this.#parts = Math.max(1, Math.ceil(this.#state.length / copy.limits.partBytes));
    this.#historyTo = this.floor - 1;
    this.#movedAt = copy.now;
  }

  get isDone(): boolean {
    return this.#ackedParts === this.#parts && this.#historyTo >= this.index;
  }

  /** Parts as the window allows; then history, one message at a time. */
  send(): void {
    const { partBytes, inflightBytes } = this.#copy.limits;
    const window = Math.max(1, Math.floor(inflightBytes / partBytes));
    while (this.#sentParts < this.#parts && this.#sentParts < this.#ackedParts + window) {
      this.#sendPart(this.#sentParts);
      this.#sentParts += 1;
    }
  }

  /** The learner says how far it is. */
  progress({ parts, historyTo }: Message<"installed">): void {
    const hadAllParts = this.#ackedParts === this.#parts;
    if (parts > this.#ackedParts && parts <= this.#parts) {
      this.#ackedParts = parts;
      this.#sentParts = Math.max(this.#sentParts, parts);
      this.#moved();
    }
    const hasAllParts = this.#ackedParts === this.#parts;
    if (!hasAllParts) return this.send();
    this.#state = NO_STATE;
    if (historyTo > this.#historyTo && historyTo <= this.index) {
      this.#historyTo = historyTo;
      this.#moved();
    } else if (hadAllParts) return;
    if (!this.isDone) this.#sendHistory();
  }

  /** After silence, the same again from what was acknowledged. */
  tick(): void {
    if (this.#copy.now - this.#movedAt < this.#copy.limits.resendMs) return;
    this.#movedAt = this.#copy.now;
    this.#sentParts = this.#ackedParts;
    if (this.#ackedParts < this.#parts) this.send();
    else this.#sendHistory();
  }

  /** History that was not in memory. */
  loaded(entries: readonly Entry[]): void {
    if (entries[0]?.index !== this.#historyTo + 1) return;
    this.#peer.send({ type: "history", index: this.index, entries: entries.filter(({ index }) => index <= this.index) });
  }

  #sendPart(part: number): void {
    const { partBytes } = this.#copy.limits;
    this.#peer.send({
      type: "snapshot",
      index: this.index,
      indexEpoch: this.#indexEpoch,
      time: this.#time,
      floor: this.floor,
      epochs: this.#epochs,
      part,
      parts: this.#parts,
      bytes: this.#state.slice(part * partBytes, (part + 1) * partBytes),
    });
  }

  #sendHistory(): void {
    const { log, limits } = this.#copy;
    const entries: Entry[] = [];
    let bytes = 0;
    for (let index = this.#historyTo + 1; index <= this.index; index += 1) {
      const entry = log.get(index);
      if (entry === undefined) break;
      bytes += entryBytes(entry);
      if (entries.length > 0 && bytes > limits.appendBytes) break;
      entries.push(entry);
    }
    if (entries.length > 0) return this.loaded(entries);
    this.#copy.load({ peer: this.#peer.node }, this.#historyTo + 1, this.index);
  }

  #moved(): void {
    this.#movedAt = this.#copy.now;
    this.#peer.movedAt = this.#copy.now;
  }
}

const NO_STATE = new Uint8Array(0);

// A learner's copy while it acclimates: receives a snapshot and the history below it,
// and takes the mark *incomplete* away when nothing is missing (R17, R22).

import { assert } from "../../base/assert.ts";
import type { Entry } from "../entry.ts";
import type { Copy } from "./copy.ts";
import type { Message, Ticket } from "./types.ts";

export class Acclimation {
  readonly #copy: Copy;
  /** Index of the snapshot that is received in this epoch and attempt; -1 without one. */
  index = -1;
  #parts: Uint8Array[] = [];
  #total = 0;
  #received = false;
  #restored = false;
  #stored = false;
  #historyTo = 0;
  /** The reset is written, not yet durable: the state is put in its place after it, so that no checkpoint runs ahead of the log. */
  #reset: { readonly ticket: Ticket; readonly index: number; readonly state: Uint8Array } | undefined;
  #unmarked: Ticket | undefined;

  constructor(copy: Copy) {
    this.#copy = copy;
  }

  get needsSnapshot(): boolean {
    return this.#copy.incomplete && !this.#received;
  }

  /** Another leader sends a snapshot of its own; what is on its way to the disk stays on it. */
  startEpoch(): void {
    this.#begin(-1, 0);
  }

  /** Answers true when this part completes the snapshot. */
  part(message: Message<"snapshot">): boolean {
    const { index, part, parts } = message;
    if (index < this.index) return false; // delayed: one leader's snapshots rise
    if (index > this.index && part === 0) this.#begin(index, parts);
    if (index !== this.index || parts !== this.#total || this.#received || part !== this.#parts.length) return false;
    this.#parts.push(message.bytes);
    if (this.#parts.length < this.#total) return false;
    const state = join(this.#parts);
    this.#parts = [];
    this.#received = true;
    this.#unmarked = undefined;
    const { floor, epochs, indexEpoch: baseEpoch, time } = message;
    assert(floor <= index + 1, "a snapshot's floor is not above it");
    const ticket = this.#copy.reset({ floor, base: index, baseEpoch, last: index, epochs, time });
    this.#reset = { ticket, index, state };
    this.#historyTo = floor - 1;
    return true;
  }

  /** Entries from the floor to the snapshot's index, in order. */
  history(entries: readonly Entry[]): void {
    if (!this.#received || entries[0]?.index !== this.#historyTo + 1) return; // doubled or out of order: sent again from what is answered
    const last = this.#historyTo + entries.length;
    assert(last <= this.index && entries.at(-1)!.index === last, "history comes without a hole and ends at the snapshot");
    this.#copy.effects.fill(this.#copy.bucket, entries);
    this.#historyTo = last;
    this.#finish();
  }

  installed(applied: number): void {
    if (!this.#restored || applied !== this.index) return;
    this.#stored = true;
    this.#finish();
  }

  /** Answers what came of it: the state was put in place, or the copy is whole. */
  durable(ticket: Ticket): "restored" | "whole" | undefined {
    const reset = this.#reset;
    if (reset !== undefined && reset.ticket <= ticket) {
      this.#reset = undefined;
      this.#copy.restore(reset.state, reset.index);
      this.#copy.effects.install(this.#copy.bucket, reset.index);
      this.#restored = this.#received && reset.index === this.index;
      return "restored";
    }
    if (this.#unmarked !== undefined && this.#unmarked <= ticket) {
      this.#unmarked = undefined;
      this.#copy.incomplete = false;
      return "whole";
    }
    return undefined;
  }

  /** For the leader: which parts and how much of the history need not be sent again. */
  progress(): { readonly index: number; readonly parts: number; readonly historyTo: number } | undefined {
    if (this.index < 0) return undefined;
    const parts = this.#received ? (this.#restored ? this.#total : this.#total - 1) : this.#parts.length;
    return { index: this.index, parts, historyTo: this.#historyTo };
  }

  #begin(index: number, parts: number): void {
    this.index = index;
    this.#parts = [];
    this.#total = parts;
    this.#received = false;
    this.#restored = false;
    this.#stored = false;
    this.#historyTo = 0;
  }

  #finish(): void {
    if (!this.#stored || this.#historyTo < this.index || this.#unmarked !== undefined || !this.#copy.incomplete) return;
    this.#unmarked = this.#copy.effects.mark(this.#copy.bucket, false); // R22: only a finished acclimation
  }
}

function join(parts: readonly Uint8Array[]): Uint8Array {
  const whole = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}

// The in-memory twin of one bucket's part of a node's disk: a log of operations with a durable end, and the state store.

import type { Entry } from "../../../src/core/entry.ts";
import type { CopyAtStart, EpochStart, Ticket } from "../../../src/core/replica/types.ts";

type Operation =
  | { readonly type: "write"; readonly entry: Entry }
  | { readonly type: "reset"; readonly index: number; readonly epoch: number }
  | { readonly type: "fill"; readonly entries: readonly Entry[] }
  | { readonly type: "mark"; readonly incomplete: boolean }
  | { readonly type: "floor"; readonly index: number };

export class Disk {
  /** Each operation is a group of its own: its ticket is its position, from 1. */
  readonly #operations: Operation[] = [];
  #durable = 0;
  readonly store: string;
  /** The stored state. */
  state: { readonly applied: number; readonly bytes: Uint8Array } | undefined;

  constructor(store: string) {
    this.store = store;
  }

  get ticket(): Ticket {
    return this.#operations.length;
  }

  get isSynced(): boolean {
    return this.#durable === this.#operations.length;
  }

  add(operation: Operation): Ticket {
    return this.#operations.push(operation);
  }

  /** Makes durable up to `ticket`. */
  sync(ticket: Ticket = this.ticket): Ticket {
    this.#durable = Math.max(this.#durable, ticket);
    return this.#durable;
  }

  /** What was not durable is gone. */
  crash(): void {
    this.#operations.length = this.#durable;
  }

  /** The entries from … to that are kept, as far as they follow one another; `most` at once. */
  read(from: number, to: number, most: number): Entry[] {
    const { entries } = this.#fold();
    const found: Entry[] = [];
    for (let index = from; index <= to && found.length < most; index += 1) {
      const entry = entries.get(index);
      if (entry === undefined) break;
      found.push(entry);
    }
    return found;
  }

  recover(): CopyAtStart {
    const { entries, floor, base, baseEpoch, incomplete, last } = this.#fold();
    const epochs: EpochStart[] = [];
    for (const entry of [...entries.values()].filter(({ index }) => index >= floor).sort((a, b) => a.index - b.index)) {
      if (epochs.at(-1)?.epoch !== entry.epoch) epochs.push({ epoch: entry.epoch, first: entry.index });
    }
    return { floor, base, baseEpoch, last, epochs, incomplete, applied: this.state?.applied ?? 0, lastTime: entries.get(last)?.time ?? 0 };
  }

  #fold(): { entries: Map<number, Entry>; floor: number; base: number; baseEpoch: number; incomplete: boolean; last: number } {
    const entries = new Map<number, Entry>();
    let [floor, base, baseEpoch, incomplete, last] = [1, 0, 0, false, 0];
    const isKept = (index: number): boolean => index >= floor || index > (this.state?.applied ?? 0); // the checkpoint holds back what is forgotten
    const put = (entry: Entry): void => {
      if (isKept(entry.index)) entries.set(entry.index, entry);
    };
    for (const operation of this.#operations) {
      switch (operation.type) {
        case "write":
          for (const index of entries.keys()) if (index >= operation.entry.index) entries.delete(index);
          put(operation.entry);
          last = operation.entry.index;
          break;
        case "reset":
          entries.clear();
          [base, baseEpoch, incomplete, last, floor] = [operation.index, operation.epoch, true, operation.index, 1];
          break;
        case "fill":
          operation.entries.forEach(put);
          break;
        case "mark":
          incomplete = operation.incomplete;
          break;
        case "floor":
          floor = operation.index;
          for (const index of entries.keys()) if (!isKept(index)) entries.delete(index);
          break;
      }
    }
    return { entries, floor, base, baseEpoch, incomplete, last };
  }
}

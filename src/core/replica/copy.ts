// One copy of a bucket on this node, whatever its role: the log, the promise, what is committed and what is applied.

import { assert } from "../../base/assert.ts";
import { ENTRY_KIND, type Entry } from "../entry.ts";
import { LogView, type LogStart } from "./log.ts";
import type { CopyAtStart, LoadPurpose, Machine, ReplicaEffects, ReplicaLimits, Ticket } from "./types.ts";

export class Copy {
  readonly bucket: number;
  readonly node: string;
  readonly incarnation: number;
  readonly machine: Machine;
  readonly effects: ReplicaEffects;
  readonly limits: ReplicaLimits;
  readonly log: LogView;
  /** Nothing of a lower epoch is accepted. It never falls within an incarnation (R11). */
  promised: number;
  commit: number;
  applied: number;
  /** The durable mark of R22: state or history may lack something. */
  incomplete: boolean;
  /** Rises only when an operator accepted a loss; before that nothing committed is ever taken back (R9). */
  generation = 0;
  /** Milliseconds of a monotonic clock, as last told. */
  now = 0;
  /** For whom a load is out: at most one each. */
  readonly #loading = new Set<string>();

  constructor(bucket: number, node: string, incarnation: number, start: CopyAtStart, machine: Machine, effects: ReplicaEffects, limits: ReplicaLimits) {
    this.bucket = bucket;
    this.node = node;
    this.incarnation = incarnation;
    this.machine = machine;
    this.effects = effects;
    this.limits = limits;
    this.log = new LogView({ ...start, time: start.lastTime });
    this.promised = Math.max(this.log.lastEpoch, start.baseEpoch); // R11: at start the greatest epoch in the log
    const floorWasMoved = !start.incomplete && start.floor > start.base + 1;
    this.commit = floorWasMoved ? Math.max(start.applied, start.floor) : start.applied; // a floor is applied only at or below what is
    this.applied = start.applied;
    this.incomplete = start.incomplete;
    assert(start.incomplete || (start.applied >= start.base && start.applied <= start.last), "a whole copy's state lies within its log");
  }

  promise(epoch: number): void {
    assert(epoch >= this.promised, "promised never falls"); // invariant 8
    this.promised = epoch;
  }

  write(entry: Entry): void {
    this.log.add(entry, this.effects.write(this.bucket, entry));
  }

  /** R13: the suffix from `index` on makes way. */
  truncate(index: number): void {
    assert(index > this.commit, `bucket ${this.bucket} truncates at ${index}, below its commit ${this.commit}`); // R13: never below commit
    this.log.truncate(index);
  }

  /** The log and the state become those of a snapshot; the state follows once the reset is durable (R22). */
  reset(start: LogStart): Ticket {
    const ticket = this.effects.reset(this.bucket, start.base, start.baseEpoch);
    this.incomplete = true;
    this.log.reset(start, ticket);
    this.effects.floor(this.bucket, start.floor);
    return ticket;
  }

  restore(state: Uint8Array, index: number): void {
    this.machine.restore(state, index);
    this.applied = index;
    this.commit = index;
  }

  /** R9: an operator takes this copy for what there is. Where its log does not lead on from its state, it begins anew after it. */
  acceptLoss(): void {
    const { log, applied } = this;
    if (applied < log.base || applied < log.floor - 1 || applied > log.last) {
      this.reset({ floor: applied + 1, base: applied, baseEpoch: log.lastEpoch, last: applied, epochs: [], time: log.lastTime });
    }
    this.incomplete = false;
    this.effects.mark(this.bucket, false);
  }

  commitTo(index: number): void {
    if (index > this.commit) this.commit = index;
  }

  /** Applies what is committed and durable here, so that a checkpoint never runs ahead of the log. Answers whether anything was applied. */
  applyCommitted(): boolean {
    const before = this.applied;
    const to = Math.min(this.commit, this.log.durableTo);
    while (this.applied < to) {
      const entry = this.log.get(this.applied + 1);
      if (entry === undefined) {
        if (this.applied >= this.log.base) this.load("apply", this.applied + 1, to);
        break;
      }
      this.#apply(entry);
    }
    if (this.applied === before) return false;
    this.log.release(this.applied, this.limits.residentBytes);
    return true;
  }

  /** Asks for entries that are not in memory, unless a load for this purpose is out. */
  load(purpose: LoadPurpose, from: number, to: number): void {
    const key = loadKey(purpose);
    if (this.#loading.has(key)) return;
    this.#loading.add(key);
    this.effects.load(this.bucket, purpose, from, to);
  }

  loaded(purpose: LoadPurpose): void {
    this.#loading.delete(loadKey(purpose));
  }

  /** Entries for the state machine that were not in memory. Answers whether anything was applied. */
  applyLoaded(entries: readonly Entry[]): boolean {
    const before = this.applied;
    const to = Math.min(this.commit, this.log.durableTo);
    for (const entry of entries) {
      // A snapshot may have come between the question and the answer.
      if (entry.index === this.applied + 1 && entry.index <= to) this.#apply(entry);
    }
    if (this.applied === before) return false; // asked again with the next tick
    this.applyCommitted();
    return true;
  }

  #apply(entry: Entry): void {
    this.machine.apply(entry);
    this.applied = entry.index;
    if (entry.kind === ENTRY_KIND.floor) this.#raiseFloor(readFloor(entry.payload));
  }

  #raiseFloor(floor: number): void {
    assert(floor <= this.applied, "the floor never passes what is applied");
    if (floor <= this.log.floor) return;
    this.log.raiseFloor(floor); // R17: moved by a log entry, so that all copies retain the same
    this.effects.floor(this.bucket, floor);
  }
}

function loadKey(purpose: LoadPurpose): string {
  return purpose === "apply" ? "apply" : `peer ${purpose.peer}`;
}

const FLOOR_BYTES = 6;

export function writeFloor(floor: number): Uint8Array {
  const payload = new Uint8Array(FLOOR_BYTES);
  const view = new DataView(payload.buffer);
  view.setUint16(0, Math.floor(floor / 2 ** 32));
  view.setUint32(2, floor % 2 ** 32);
  return payload;
}

function readFloor(payload: Uint8Array): number {
  assert(payload.length === FLOOR_BYTES, "a floor entry's payload is a u48");
  const view = new DataView(payload.buffer, payload.byteOffset, payload.byteLength);
  return view.getUint16(0) * 2 ** 32 + view.getUint32(2);
}

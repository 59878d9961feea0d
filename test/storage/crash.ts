// The crash simulation's parts: a model of what was handed to the log at each ticket, workloads, and the check of what a recovery found.

import { expect } from "vitest";
import { ENTRY_KIND, type Entry } from "../../src/core/entry.ts";
import { openLog } from "../../src/storage/open-log.ts";
import type { OpenedLog } from "../../src/storage/open-log.ts";
import type { Log, LogEvents, Ticket } from "../../src/storage/port.ts";
import { DEFAULT_LOG_SETTINGS } from "../../src/storage/settings.ts";
import type { LogSettings } from "../../src/storage/settings.ts";
import { SimDisk } from "./sim-fs.ts";

export const SETTINGS: LogSettings = {
  ...DEFAULT_LOG_SETTINGS,
  segmentBytes: 8192,
  groupBytes: 1024,
  groupsInFlight: 3,
  poolSegments: 1,
  pinnedSegments: 2,
  fullRetryMs: 1,
};

export const DIRECTORY = "/data";

export interface ModelCopy {
  readonly floor: number;
  readonly base: number;
  readonly baseEpoch: number;
  readonly last: number;
  readonly incomplete: boolean;
  /** By index, all that ever were and are not cut: what may be forgotten is here too. */
  readonly entries: ReadonlyMap<number, string>;
}

type State = ReadonlyMap<number, ModelCopy>;

const EMPTY: ModelCopy = { floor: 1, base: 0, baseEpoch: 0, last: 0, incomplete: false, entries: new Map() };

/** The log as a simple list of states, one for each ticket that was given out. */
export class Model {
  readonly log: Log;
  /** The state with everything up to a ticket. */
  readonly states: Map<Ticket, State>;
  /** What `durable` told. */
  acknowledged: Ticket = 0;
  readonly applied: Map<number, number>;
  /** Texts that may be blank. */
  readonly erasing = new Set<string>();
  #state: State;
  #count = 0;

  constructor(log: Log, begin: State = new Map(), applied: ReadonlyMap<number, number> = new Map()) {
    this.log = log;
    this.#state = begin;
    this.applied = new Map(applied);
    this.states = new Map([[0, begin]]);
  }

  get state(): State {
    return this.#state;
  }

  last(bucket: number): number {
    return this.#copy(bucket).last;
  }

  append(bucket: number, index: number, epoch: number): void {
    this.#count += 1;
    const text = `b${bucket} i${index} e${epoch} #${this.#count}`;
    const copy = this.#copy(bucket);
    const entries = new Map([...copy.entries].filter(([other]) => other < index)).set(index, text);
    this.#put(this.log.append(bucket, entryOf(index, epoch, text)), bucket, { ...copy, last: index, entries });
  }

  reset(bucket: number, index: number, epoch: number): void {
    this.#put(this.log.reset(bucket, index, epoch), bucket, { floor: 1, base: index, baseEpoch: epoch, last: index, incomplete: true, entries: new Map() });
    this.applied.delete(bucket);
  }

  fill(bucket: number, index: number, epoch: number): void {
    this.#count += 1;
    const text = `b${bucket} i${index} e${epoch} history`;
    const copy = this.#copy(bucket);
    this.#put(this.log.fill(bucket, [entryOf(index, epoch, text)]), bucket, { ...copy, entries: new Map(copy.entries).set(index, text) });
  }

  mark(bucket: number, incomplete: boolean): void {
    this.#put(this.log.mark(bucket, incomplete), bucket, { ...this.#copy(bucket), incomplete });
  }

  floor(bucket: number, index: number): void {
    this.#put(this.log.floor(bucket, index), bucket, { ...this.#copy(bucket), floor: index });
  }

  drop(bucket: number): void {
    const ticket = this.log.drop(bucket);
    this.#state = new Map([...this.#state].filter(([other]) => other !== bucket));
    this.states.set(ticket, this.#state);
    this.applied.delete(bucket);
  }

  /** Blanks every third entry of a bucket up to an index. What is in the files afterwards is either, until it is done: the check takes both. */
  async erase(bucket: number, to: number): Promise<boolean> {
    const isGone = (of: number, { index }: Entry): boolean => of === bucket && index % 3 === 0;
    this.#copy(bucket).entries.forEach((text, index) => {
      if (index <= to && index % 3 === 0) this.erasing.add(text);
    });
    return (await this.log.erase({ ranges: new Map([[bucket, { from: 1, to }]]), isGone, pace: () => Promise.resolve(true) })).isWhole;
  }

  checkpointed(bucket: number, applied: number): void {
    this.applied.set(bucket, applied);
    this.log.checkpointed(bucket, applied);
  }

  #copy(bucket: number): ModelCopy {
    return this.#state.get(bucket) ?? EMPTY;
  }

  #put(ticket: Ticket, bucket: number, copy: ModelCopy): void {
    this.#state = new Map(this.#state).set(bucket, copy);
    this.states.set(ticket, this.#state);
  }
}

export function entryOf(index: number, epoch: number, text: string): Entry {
  return { index, epoch, kind: 1, time: 1000 + index, payload: new Uint8Array(Buffer.from(text)) };
}

/** What was known at a crash. */
export interface Known {
  readonly states: ReadonlyMap<Ticket, State>;
  readonly acknowledged: Ticket;
  /** Checkpoints that the log was told of: it may have forgotten what they cover. */
  readonly applied: ReadonlyMap<number, number>;
  readonly erasing?: ReadonlySet<string>;
}

export function known(model: Model): Known {
  return { states: new Map(model.states), acknowledged: model.acknowledged, applied: new Map(model.applied), erasing: new Set(model.erasing) };
}

export const NO_EVENTS: LogEvents = {
  durable: () => undefined,
  full: () => undefined,
  failed: (error) => {
    throw error;
  },
};

export async function openOn(disk: SimDisk, events: LogEvents = NO_EVENTS): Promise<OpenedLog> {
  return openLog(disk, DIRECTORY, SETTINGS, events);
}

/**
 * Recovers an image and checks it: clean, and exactly the state of one ticket between the last that was acknowledged and the last handed over.
 * Returns that state, and the log still open.
 */
export async function recoverAndCheck(disk: SimDisk, what: Known, context: string): Promise<{ opened: OpenedLog; state: State }> {
  const opened = await openOn(disk);
  expect(opened.recovery, `${context}: ${opened.recovery.damage.join("; ")}`).toMatchObject({ clean: true, damage: [] });
  const reasons: string[] = [];
  for (const [ticket, state] of [...what.states].reverse()) {
    if (ticket < what.acknowledged && ticket !== lastAtMost(what.states, what.acknowledged)) continue;
    const reason = await difference(opened, state, what.applied, what.erasing);
    if (reason === undefined) return { opened, state };
    reasons.push(`ticket ${ticket}: ${reason}`);
  }
  throw new Error(`${context}: what was recovered is the log after no ticket from ${what.acknowledged} on\n${reasons.slice(0, 8).join("\n")}`);
}

/** The state at a ticket stands under the last ticket that changed it. */
function lastAtMost(states: ReadonlyMap<Ticket, State>, ticket: Ticket): Ticket {
  return Math.max(...[...states.keys()].filter((one) => one <= ticket));
}

export async function difference({ recovery, log }: OpenedLog, state: State, applied: ReadonlyMap<number, number>, erasing: ReadonlySet<string> = new Set()): Promise<string | undefined> {
  const found = recovery.copies.map((copy) => copy.bucket).join();
  const wanted = [...state.keys()].sort((a, b) => a - b).join();
  if (found !== wanted) return `buckets ${found}, not ${wanted}`;
  for (const copy of recovery.copies) {
    const model = state.get(copy.bucket) as ModelCopy;
    for (const field of ["floor", "base", "baseEpoch", "last", "incomplete"] as const) {
      if (copy[field] !== model[field]) return `bucket ${copy.bucket}: ${field} is ${copy[field]}, not ${model[field]}`;
    }
    const kept = Math.min(model.floor, (applied.get(copy.bucket) ?? 0) + 1, model.last);
    const read = new Map((await log.readRange(copy.bucket, 1, model.last + 5, 1e6)).map((entry) => [entry.index, entry]));
    for (const [index, text] of model.entries) {
      const entry = read.get(index);
      if (entry?.kind === ENTRY_KIND.erased && erasing.has(text) && entry.payload.subarray(4).every((byte) => byte === 0)) continue;
      if (entry === undefined ? index >= kept : Buffer.from(entry.payload).toString() !== text) return `bucket ${copy.bucket}: entry ${index} is ${entry === undefined ? "gone" : Buffer.from(entry.payload).toString()}, not ${text}`;
    }
    for (const index of read.keys()) if (!model.entries.has(index)) return `bucket ${copy.bucket}: entry ${index} was never written, or was cut`;
    const epochs = [...read.values()].filter((entry) => entry.index >= copy.floor).reduce<{ epoch: number; first: number }[]>((list, { index, epoch }) => {
      if (list[list.length - 1]?.epoch !== epoch) list.push({ epoch, first: index });
      return list;
    }, []);
    if (JSON.stringify(epochs) !== JSON.stringify(copy.epochs)) return `bucket ${copy.bucket}: epochs ${JSON.stringify(copy.epochs)}, not ${JSON.stringify(epochs)}`;
  }
  return undefined;
}

export type Workload = (model: Model, turn: (times?: number) => Promise<void>) => Promise<void>;

export const WORKLOADS: Readonly<Record<string, Workload>> = {
  async append(model, turn) {
    for (let i = 1; i <= 6; i += 1) {
      for (let bucket = 0; bucket < 3; bucket += 1) model.append(bucket, i, 1);
      await turn();
    }
  },

  async roll(model, turn) {
    for (let i = 1; i <= 90; i += 1) {
      model.append(i % 3, model.last(i % 3) + 1, 1);
      if (i % 4 === 0) await turn(3);
    }
  },

  async truncate(model, turn) {
    for (let i = 1; i <= 12; i += 1) {
      model.append(0, i, 1);
      model.append(1, i, 1);
      if (i % 3 === 0) await turn(4);
    }
    model.append(0, 5, 2);
    await turn(2);
    model.append(0, 6, 2);
    model.append(1, 12, 3);
    await turn(6);
    for (let i = 7; i <= 30; i += 1) {
      model.append(0, i, 4);
      await turn();
    }
    model.append(0, 20, 5);
    await turn();
  },

  async reset(model, turn) {
    for (let i = 1; i <= 8; i += 1) {
      model.append(0, i, 1);
      model.append(1, i, 1);
      await turn();
    }
    model.reset(0, 50, 4);
    model.append(0, 51, 4);
    await turn(2);
    for (let i = 46; i <= 50; i += 1) {
      model.fill(0, i, 3);
      model.append(0, i + 6, 4);
      await turn();
    }
    model.floor(0, 46);
    model.mark(0, false);
    await turn(2);
    model.drop(1);
    await turn();
    model.append(1, 1, 7);
  },

  async retire(model, turn) {
    for (let i = 1; i <= 320; i += 1) {
      model.append(0, i, 1);
      if (i % 10 === 1) model.append(1, model.last(1) + 1, 1);
      if (i <= 20 && i % 5 === 0) model.append(2, model.last(2) + 1, 2);
      if (i === 30) model.floor(2, model.last(2) + 1); // not in a checkpoint: its entries are needed for the replay
      if (i % 5 === 0) await turn(3);
      if (i % 40 === 0) {
        model.floor(0, i - 10);
        model.checkpointed(0, i - 8);
        model.floor(1, model.last(1));
        model.checkpointed(1, model.last(1));
        await turn(8);
      }
    }
    model.append(2, 3, 9);
    await turn(20);
  },

  /** Entries are blanked while others are written, segments sealed and retired. */
  async erase(model, turn) {
    for (let round = 0; round < 4; round += 1) {
      for (let i = 1; i <= 60; i += 1) {
        model.append(i % 2, model.last(i % 2) + 1, 1);
        if (i % 5 === 0) await turn(3);
      }
      for (const bucket of [0, 1]) model.checkpointed(bucket, model.last(bucket));
      const erased = model.erase(0, model.last(0));
      for (let i = 0; i < 6; i += 1) {
        model.append(1, model.last(1) + 1, 1);
        await turn(2);
      }
      model.log.roll();
      await erased;
      if (round === 2) {
        model.floor(0, model.last(0) - 20);
        model.floor(1, model.last(1) - 20);
      }
      model.append(0, model.last(0) + 1, 1);
      await turn(10);
    }
  },

  /** Segments are retired just before the log goes on in a new one: RETIRED and LINK are under way together. */
  async retireAndRoll(model, turn) {
    for (let round = 0; round < 14; round += 1) {
      for (let i = 0; i < 17 + (round % 5) * 6; i += 1) model.append(i % 2, model.last(i % 2) + 1, 1);
      await turn(25);
      for (const bucket of [0, 1]) {
        model.floor(bucket, model.last(bucket) - 2);
        model.checkpointed(bucket, model.last(bucket));
      }
      await turn(1);
    }
  },
};

// One replica alone, with everything it asks for written down: for tests that say each message themselves.

import { ENTRY_KIND, type Entry } from "../../../src/core/entry.ts";
import { Replica } from "../../../src/core/replica/replica.ts";
import type { CopyAtStart, LoadPurpose, PeerBody, PeerMessage, ReplicaEffects, ReplicaLimits, TableView, Ticket } from "../../../src/core/replica/types.ts";
import type { Bucket, Command, Member } from "../../../src/core/table/commands.ts";
import { add, Counter } from "./counter.ts";

export const WALL = 1_800_000_000_000;

export const LIMITS: ReplicaLimits = {
  residentBytes: 1_000_000,
  appendBytes: 100_000,
  inflightBytes: 1_000_000,
  partBytes: 5,
  nearEntries: 4,
  resendMs: 100,
  heartbeatMs: 300,
  acclimationMs: 3000,
  slowMs: 150,
};

export const EMPTY: CopyAtStart = { floor: 1, base: 0, baseEpoch: 0, last: 0, epochs: [], incomplete: false, applied: 0, lastTime: 0 };

/** A copy whose log has these epochs: holding(1, 1, 2) has three entries, the last of epoch 2. */
export function holding(...epochs: number[]): CopyAtStart {
  const starts = epochs.flatMap((epoch, i) => (epoch === epochs[i - 1] ? [] : [{ epoch, first: i + 1 }]));
  return { ...EMPTY, last: epochs.length, epochs: starts, lastTime: epochs.length === 0 ? 0 : WALL };
}

export function entry(index: number, epoch: number, amount = index): Entry {
  return { index, epoch, kind: ENTRY_KIND.machine, time: WALL, payload: add(amount) };
}

export function member(node: string, attempt = 0, incarnation = 1): Member {
  return { node, incarnation, attempt };
}

/** Records rise in version by themselves. */
export function record(epoch: number, leader: string, members: readonly (string | Member)[], learners: readonly Member[] = [], state: Bucket["state"] = "on"): Omit<Bucket, "version"> {
  const named = members.map((one) => (typeof one === "string" ? member(one) : one));
  return { id: 0, epoch, leader, members: named, learners, state, generation: 0 };
}

export class Rig implements ReplicaEffects {
  readonly machine = new Counter();
  readonly replica: Replica;
  readonly written: Entry[] = [];
  /** What happened, in order. */
  readonly calls: string[] = [];
  readonly loads: { readonly purpose: LoadPurpose; readonly from: number; readonly to: number }[] = [];
  proposed: Command[] = [];
  #sent: { readonly to: string; readonly message: PeerMessage }[] = [];
  /** The open group's ticket. */
  ticket: Ticket = 1;
  now = 0;
  #version = 0;

  constructor(copy: CopyAtStart = EMPTY, limits: Partial<ReplicaLimits> = {}) {
    this.machine.applied = copy.applied;
    this.replica = new Replica({
      bucket: 0,
      node: "a",
      incarnation: 1,
      copy,
      machine: this.machine,
      effects: this,
      limits: { ...LIMITS, ...limits },
      lead: {
        opened: (epoch) => void this.calls.push(`opened ${epoch}`),
        closed: () => void this.calls.push("closed"),
        appliedTo: (index) => void this.calls.push(`appliedTo ${index}`),
        confirmed: (question) => void this.calls.push(`confirmed ${question}`),
      },
    });
  }

  write(_bucket: number, written: Entry): Ticket {
    this.written.push(written);
    return this.ticket;
  }

  reset(_bucket: number, index: number, epoch: number): Ticket {
    this.calls.push(`reset ${index}/${epoch}`);
    return this.ticket;
  }

  fill(_bucket: number, entries: readonly Entry[]): Ticket {
    this.calls.push(`fill ${entries.map(({ index }) => index).join(" ")}`);
    return this.ticket;
  }

  mark(_bucket: number, incomplete: boolean): Ticket {
    this.calls.push(`mark ${incomplete}`);
    return this.ticket;
  }

  floor(_bucket: number, index: number): void {
    this.calls.push(`floor ${index}`);
  }

  load(_bucket: number, purpose: LoadPurpose, from: number, to: number): void {
    this.loads.push({ purpose, from, to });
  }

  install(_bucket: number, applied: number): void {
    this.calls.push(`install ${applied}`);
  }

  send(to: string, message: PeerMessage): void {
    this.#sent.push({ to, message });
  }

  propose(command: Command): void {
    this.proposed.push(command);
  }

  table(bucket: Omit<Bucket, "version">, view: Partial<TableView> = {}): void {
    this.#version += 1;
    this.replica.table({ ...bucket, version: this.#version }, { minCopies: 1, plan: undefined, ...view }, WALL + this.now);
  }

  /** A message to this replica, from an incarnation 1 and with attempt 0 unless said otherwise. */
  from(node: string, epoch: number, body: PeerBody, header: Partial<PeerMessage> = {}): void {
    const whole = { bucket: 0, from: node, fromIncarnation: 1, toIncarnation: 1, attempt: 0, epoch, ...body, ...header } as PeerMessage;
    this.replica.receive(whole, this.now);
  }

  append(node: string, epoch: number, prev: number, prevEpoch: number, entries: readonly Entry[], commit = 0, round = 0): void {
    this.from(node, epoch, { type: "append", prev, prevEpoch, entries, commit, round });
  }

  appended(node: string, epoch: number, match: number, more: { round?: number; whole?: boolean } = {}, header: Partial<PeerMessage> = {}): void {
    this.from(node, epoch, { type: "appended", match, whole: true, round: 0, ...more }, header);
  }

  /** The open group reaches the disk. */
  sync(): void {
    this.ticket += 1;
    this.replica.durable(this.ticket - 1);
  }

  flush(): void {
    this.replica.flush(this.now);
  }

  pass(ms: number): void {
    this.now += ms;
    this.replica.tick(this.now);
    this.flush();
  }

  add(amount: number): number {
    return this.replica.propose(add(amount), WALL + this.now);
  }

  /** What was sent since last asked. */
  sent(): PeerMessage[] {
    return this.#sent.splice(0).map(({ message }) => message);
  }

  /** The same in words: type and what matters of it. */
  said(): string[] {
    return this.#sent.splice(0).map(({ to, message }) => `${to} ${words(message)}`);
  }
}

function words(message: PeerMessage): string {
  switch (message.type) {
    case "append":
      return `append ${message.prev}/${message.prevEpoch} +${message.entries.length} commit ${message.commit} round ${message.round}`;
    case "appended":
      return `appended ${message.match} round ${message.round}${message.whole ? "" : " not whole"}`;
    case "refused":
      return `refused promised ${message.promised} hint ${message.hint}`;
    case "report":
      return `report ${message.floor}…${message.last}${message.whole ? "" : " not whole"}`;
    case "snapshot":
      return `snapshot ${message.index} ${message.part}/${message.parts}`;
    case "history":
      return `history ${message.entries.map(({ index }) => index).join(" ")}`;
    case "installed":
      return `installed ${message.index} parts ${message.parts} history ${message.historyTo}`;
  }
}

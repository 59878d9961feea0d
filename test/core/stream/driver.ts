// A log of one member, in memory: what is proposed is committed when the test says so. With a state store beside it, and the answers that went out.

import { ENTRY_KIND, type Entry, type EntryKind } from "../../../src/core/entry.ts";
import { PUBLISH_KIND, type GatewayId, type HopAnswer, type HopRequest, type PublishKind } from "../../../src/core/hop.ts";
import { Admission } from "../../../src/core/stream/admission.ts";
import { utf8 } from "../../../src/core/stream/bytes.ts";
import type { AdmissionLimits } from "../../../src/core/stream/limits.ts";
import { StreamMachine, type Checkpoint } from "../../../src/core/stream/machine.ts";
import { indexesOf, view, type View } from "../../../src/core/stream/view.ts";

export const GATEWAY: GatewayId = { node: "n1", incarnation: 1 };

export const LIMITS: AdmissionLimits = {
  window: 64, sessionsPerDevice: 4, keyRetentionMs: 1000, keySpaceBytes: 10_000, bodyBytes: 1024, held: 8, waiting: 64, seats: 64,
};

/** A state store in memory: reads give what was last put in whole. */
export class Store {
  readonly #records = new Map<string, Uint8Array>();

  get(name: string): Uint8Array | undefined {
    return this.#records.get(name);
  }

  range(prefix: string, after = ""): Iterable<readonly [string, Uint8Array]> {
    return [...this.#records].filter(([name]) => name.startsWith(prefix) && name > after).sort(([a], [b]) => (a < b ? -1 : 1));
  }

  write({ writes }: Checkpoint): void {
    for (const { key, value } of writes) {
      if (value === undefined) this.#records.delete(key);
      else this.#records.set(key, value);
    }
  }
}

export class Bench {
  readonly store = new Store();
  readonly entries: Entry[] = [];
  readonly answers: { readonly to: GatewayId; readonly answer: HopAnswer }[] = [];
  readonly machine: StreamMachine;
  readonly admission: Admission;
  rounds = 0;
  #request = 0;

  constructor(limits: Partial<AdmissionLimits> = {}, cachedDevices = 2) {
    this.machine = new StreamMachine(this.store, { cachedDevices });
    this.admission = new Admission(this.machine, { ...LIMITS, ...limits }, (to, answer) => this.answers.push({ to, answer }));
    this.admission.serve({ propose: (payload) => this.append(ENTRY_KIND.machine, payload), confirm: () => (this.rounds += 1) });
    this.admission.wall = 1_000;
  }

  append(kind: EntryKind, payload: Uint8Array): number {
    const index = this.entries.length + 1;
    this.entries.push({ index, epoch: 1, kind, time: this.admission.wall, payload });
    return index;
  }

  open(): this {
    this.append(ENTRY_KIND.gov, new Uint8Array(0));
    this.commit();
    this.admission.opened(1);
    return this;
  }

  /** Applies what was proposed, up to an index, and lets the answers go; what that makes it propose waits. */
  commit(to = this.entries.length): void {
    while (this.machine.index < to) this.machine.apply(this.entries[this.machine.index]!);
    this.admission.appliedTo(to);
  }

  checkpoint(): void {
    this.store.write(this.machine.checkpoint());
    this.machine.checkpointed();
  }

  /** Another machine that has applied the same log from its beginning. */
  replayed(): StreamMachine {
    const machine = new StreamMachine(new Store(), { cachedDevices: 1000 });
    for (const entry of this.entries.slice(0, this.machine.index)) machine.apply(entry);
    return machine;
  }

  /** Sends a request under a number of its own, which is returned. */
  send(request: DistributiveOmit<Extract<HopRequest, { request: number }>, "request">, from = GATEWAY): number {
    this.#request += 1;
    this.admission.request(from, { ...request, request: this.#request });
    return this.#request;
  }

  /** Sends it, commits, and gives its answer. */
  ask<T extends HopAnswer["type"]>(type: T, request: DistributiveOmit<Extract<HopRequest, { request: number }>, "request">, from = GATEWAY): Extract<HopAnswer, { type: T }> {
    const number = this.send(request, from);
    this.commit();
    return this.answerTo(type, number);
  }

  answerTo<T extends HopAnswer["type"]>(type: T, request: number): Extract<HopAnswer, { type: T }> {
    const found = this.answers.filter(({ answer }) => "request" in answer && answer.request === request);
    if (found.length !== 1 || found[0]!.answer.type !== type) throw new Error(`request ${request} was answered ${JSON.stringify(found, (_, value) => (typeof value === "bigint" ? `${value}` : value))}`);
    return found[0]!.answer as Extract<HopAnswer, { type: T }>;
  }

  /** Opens a device's session with presence, and gives the answer. */
  device(device: string, nonce = 1n, from = GATEWAY): Attached {
    return this.ask("attached", { type: "open", device, publisher: "", nonce, window: 8, leaves: 0, attach: true }, from);
  }

  publish(handle: number, series: number, text = `message ${series}`, kind: PublishKind = PUBLISH_KIND.message): void {
    const bytes = kind === PUBLISH_KIND.void ? new Uint8Array(0) : body(text);
    this.admission.publish(handle, series, kind, bytes, 0, bytes.length);
  }

  /** A publish of a server's own series to the device "d", under a request number of its own, which is returned. */
  numbered(session: number, series: number, text = `message ${series}`, more: Partial<Extract<HopRequest, { type: "numbered" }>> = {}, from = GATEWAY): number {
    return this.send({ type: "numbered", device: "d", session, series, kind: PUBLISH_KIND.message, code: undefined, body: body(text), ...more }, from);
  }

  /** Answers of a type that went out since the last call of this method or `forget`. */
  take<T extends HopAnswer["type"]>(type: T): Extract<HopAnswer, { type: T }>[] {
    const taken = this.answers.filter(({ answer }) => answer.type === type).map(({ answer }) => answer as Extract<HopAnswer, { type: T }>);
    this.forget();
    return taken;
  }

  forget(): void {
    this.answers.length = 0;
  }

  stream(id: string): View[] {
    const device = this.machine.devices.find(id);
    if (device === undefined) return [];
    const { first, indexes } = indexesOf(this.machine, device, 1, device.end);
    return indexes.map((index, i) => view(this.entries[index - 1]!, id, first + i));
  }
}

export type Attached = Extract<HopAnswer, { type: "attached" }>;
type DistributiveOmit<T, K extends PropertyKey> = T extends unknown ? Omit<T, K> : never;

/** `[text, nil, nil]` in msgpack. */
export function body(text: string): Uint8Array {
  const bytes = utf8(text);
  return Uint8Array.of(0x93, 0xc5, bytes.length >>> 8, bytes.length & 0xff, ...bytes, 0xc0, 0xc0);
}

export function textOf(bytes: Uint8Array): string {
  return new TextDecoder().decode(bytes);
}

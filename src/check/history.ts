// What the publishers of a run gave and what they were answered, and the fingerprint of every entry that anyone read: in a few bytes each, so that a run may be long.

import { murmur3 } from "../core/hash.ts";

/** Violations kept with their words; beyond them only the count rises. */
const TOLD_MAX = 100;

/** An entry of a stream as the HTTP API shows it. */
export interface ReadEntry {
  readonly offset: string;
  readonly time: string;
  readonly type: string;
  readonly publisher: string;
  readonly payload: unknown;
}

/** One device: it publishes 1, 2, 3, … */
export interface DeviceHistory {
  readonly device: string;
  given: number;
  /** Answers come in order: every number up to this one was answered. */
  answered: number;
  /** Of the entries at offsets 1, 2, 3, … as they were first read, through whichever node. */
  readonly fingerprints: number[];
}

/** One HTTP publisher: its messages 1, 2, 3, … go to the devices in turn, each under a key of its own. */
export interface PublisherHistory {
  readonly name: string;
  /** By number − 1: the offset that was answered; 0 until then. */
  readonly offsets: number[];
}

export class History {
  readonly run: string;
  readonly devices: readonly DeviceHistory[];
  readonly publishers: readonly PublisherHistory[];
  readonly violations: string[] = [];
  violationCount = 0;
  /** Answers, and the longest time in which none came, in milliseconds. */
  answers = 0;
  longestPauseMs = 0;
  #answeredAt = performance.now();

  /** @param run begins every device's id, so that runs do not meet */
  constructor(run: string, devices: number, publishers: number) {
    this.run = run;
    this.devices = Array.from({ length: devices }, (_, i) => ({ device: `${run}-${i}`, given: 0, answered: 0, fingerprints: [] }));
    this.publishers = Array.from({ length: publishers }, (_, i) => ({ name: `${run}-p${i}`, offsets: [] }));
  }

  violated(what: string): void {
    this.violationCount += 1;
    if (this.violations.length < TOLD_MAX) this.violations.push(what);
  }

  /** The load begins: pauses count from now. */
  begin(): void {
    this.#answeredAt = performance.now();
  }

  /** Publishes that nobody answered yet. */
  get unanswered(): number {
    const ofDevices = this.devices.reduce((sum, { given, answered }) => sum + given - answered, 0);
    return this.publishers.reduce((sum, { offsets }) => sum + (offsets.at(-1) === 0 ? 1 : 0), ofDevices);
  }

  answeredDevice(device: DeviceHistory, number: number): void {
    if (number !== device.answered + 1) this.violated(`${device.device}: ${number} was answered after ${device.answered}`);
    device.answered = number;
    this.#answered();
  }

  answeredPublisher({ offsets }: PublisherHistory, number: number, offset: number): void {
    offsets[number - 1] = offset;
    this.#answered();
  }

  /** The device that message `number` of publisher `place` goes to. */
  deviceOf(place: number, number: number): DeviceHistory {
    return this.devices[(place + number) % this.devices.length]!;
  }

  /** What stands at an offset stays, and is the same through every node. */
  read(device: DeviceHistory, entry: ReadEntry, node: string): void {
    const { fingerprints } = device;
    const place = Number(entry.offset) - 1;
    const fingerprint = murmur3(JSON.stringify([entry.time, entry.type, entry.publisher, entry.payload]));
    if (place < fingerprints.length) {
      if (fingerprints[place] !== fingerprint) this.violated(`${device.device}: at offset ${entry.offset} node ${node} has ${JSON.stringify(entry)}, which is not what was read there before`);
    } else if (place === fingerprints.length) fingerprints.push(fingerprint);
    else this.violated(`${device.device}: through node ${node} offset ${entry.offset} comes after ${fingerprints.length}`);
  }

  #answered(): void {
    const now = performance.now();
    this.longestPauseMs = Math.max(this.longestPauseMs, now - this.#answeredAt);
    this.#answeredAt = now;
    this.answers += 1;
  }
}

// Devices and backends that publish without pause, and the check that what was answered is in the streams: all of it, once, in order.

import { setTimeout as sleep } from "node:timers/promises";
import { connect, type Device } from "../../clients/device/src/index.ts";
import type { NodeProcess } from "./node.ts";

const DEVICES = 3;
const IN_FLIGHT = 32;
const BACKENDS = 2;
const RETRY_MS = 50;
const FILLER = "x".repeat(4096);

interface Publisher {
  readonly id: string;
  readonly client: Device;
  given: number;
  answered: number;
}

export class Load {
  readonly devices: readonly Publisher[];
  /** Pause of a publisher after each answer, milliseconds: what was made room for is not full again at once. */
  restMs = 0;
  /** Key → where it was answered to be. */
  readonly #keys = new Map<string, { readonly device: string; readonly offset: string }>();
  readonly #running: Promise<void>[];
  #stopping = false;

  constructor(node: NodeProcess) {
    this.devices = Array.from({ length: DEVICES }, (_one, i) => ({
      id: `device-${i}`, client: connect({ brokers: node.device, device: `device-${i}`, maxBackoff: 0.5 }), given: 0, answered: 0,
    }));
    this.#running = [
      ...this.devices.flatMap((device) => Array.from({ length: IN_FLIGHT }, () => this.#runDevice(device))),
      ...Array.from({ length: BACKENDS }, (_one, i) => this.#runBackend(node, i)),
    ];
  }

  get answered(): number {
    return this.#keys.size + this.devices.reduce((sum, device) => sum + device.answered, 0);
  }

  /** Resolves when that many more have been answered than now. */
  async flows(more = 300): Promise<void> {
    const until = this.answered + more;
    while (this.answered < until) await Promise.race([sleep(20), Promise.all(this.#running)]);
  }

  /** Resolves when everything that was given is answered. */
  async stop(): Promise<void> {
    this.#stopping = true;
    await Promise.all(this.#running);
    for (const { client } of this.devices) await client.close();
  }

  /** What is wrong with the streams; after `stop`. */
  async violations(node: NodeProcess): Promise<string[]> {
    const wrong: string[] = [];
    for (const { id, given, answered } of this.devices) {
      const stream = await node.stream(id);
      stream.forEach(({ offset }, i) => offset === String(i + 1) || wrong.push(`${id}: offset ${offset} stands where ${i + 1} should`));
      const stored = stream.filter(({ type }) => type === "uplink").map(({ payload }) => Number(String(payload).split(" ")[0]));
      stored.forEach((number, i) => number === i + 1 || wrong.push(`${id}: ${number} stands where ${i + 1} should`));
      if (stored.length !== given || answered !== given) wrong.push(`${id}: of ${given} were ${answered} answered and ${stored.length} stored`);
      const keys = stream.filter(({ type }) => type === "downlink").map(({ payload }) => String(payload));
      if (new Set(keys).size !== keys.length) wrong.push(`${id}: a key is stored twice`);
      for (const [key, { device, offset }] of this.#keys) {
        if (device === id && stream[Number(offset) - 1]?.payload !== key) wrong.push(`${id}: ${key} was answered with offset ${offset} and is not there`);
      }
    }
    return wrong;
  }

  async #runDevice(device: Publisher): Promise<void> {
    while (!this.#stopping) {
      device.given += 1;
      await device.client.publish(`${device.given} ${FILLER}`);
      device.answered += 1;
      if (this.restMs > 0) await sleep(this.restMs);
    }
  }

  async #runBackend(node: NodeProcess, backend: number): Promise<void> {
    for (let number = 1; !this.#stopping; number += 1) {
      const device = `device-${number % DEVICES}`;
      const key = `backend-${backend}-${number}`;
      for (;;) {
        const reply = await node.publish(device, key, key).catch(() => undefined); // the connection broke: only the same key can tell (A6)
        if (reply !== undefined && reply.status < 300) {
          this.#keys.set(key, { device, offset: reply.json.offset });
          break;
        }
        await sleep(RETRY_MS);
      }
    }
  }
}

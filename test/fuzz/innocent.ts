// A device that has nothing to do with the attack: it publishes numbers, one after the other, and its stream is held against what it was told.

import { connect, type Device } from "../../clients/device/src/index.ts";
import type { NodeProcess } from "../faults/node.ts";

export class Innocent {
  /** Publishes that were answered, and the longest that one took, in milliseconds. */
  stored = 0;
  slowestMs = 0;
  readonly #node: NodeProcess;
  readonly #device: Device;
  readonly #violations: string[] = [];
  #isOver = false;
  readonly #running: Promise<void>;
  /** The number that the stream must go on with, and the offset behind which it is read. */
  #next = 1;
  #after = "0";

  constructor(node: NodeProcess) {
    this.#node = node;
    this.#device = connect({ brokers: node.device, device: "innocent" });
    this.#device.on("connection", ({ state, error }) => {
      if (state === "waiting" || state === "stopped") this.#violations.push(`The innocent device's connection was ended: ${String(error)}`);
    });
    this.#device.on("broken", (what) => this.#violations.push(`The innocent device's series was broken: ${JSON.stringify(what)}`));
    this.#running = this.#publish();
  }

  /** Resolves when it is connected and the first of its publishes is stored. */
  async first(): Promise<void> {
    while (this.stored === 0 && this.#violations.length === 0) await new Promise((resolve) => setTimeout(resolve, 20));
  }

  async #publish(): Promise<void> {
    while (!this.#isOver) {
      const start = performance.now();
      try {
        await this.#device.publish(String(this.stored + 1));
      } catch (error) {
        this.#violations.push(`The innocent device's publish was refused: ${String(error)}`);
        return;
      }
      this.stored += 1;
      this.slowestMs = Math.max(this.slowestMs, performance.now() - start);
    }
  }

  /** What is wrong so far: its stream is read on, and must have every number that was answered, once, in order. */
  async check(): Promise<readonly string[]> {
    const answered = this.stored;
    for (;;) {
      const { status, json } = await this.#node.call("GET", `/v1/devices/innocent/stream?after=${this.#after}&limit=1000&type=uplink`);
      if (status !== 200) return [...this.#violations, `The innocent device's stream answers ${status}.`];
      if (json.gap !== undefined) this.#violations.push(`The innocent device's stream has a gap: ${JSON.stringify(json.gap)}`);
      for (const { payload } of json.entries as { readonly payload: unknown }[]) {
        if (Number(payload) !== this.#next) this.#violations.push(`The innocent device's stream has ${String(payload)} where ${this.#next} belongs.`);
        this.#next = Number(payload) + 1;
      }
      if (json.entries.length === 0) break;
      this.#after = json.next as string;
    }
    if (this.#next <= answered) this.#violations.push(`The innocent device was told that ${answered} is stored; its stream ends before ${this.#next}.`);
    return this.#violations;
  }

  async end(): Promise<void> {
    this.#isOver = true;
    await Promise.race([this.#running, new Promise((resolve) => setTimeout(resolve, 10_000))]);
    await this.#device.close();
  }
}

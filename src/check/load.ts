// The load of a check: devices over TCP, publishers over HTTP through every node in turn, readers that poll every node. Each answer is put down in the history.

import { setTimeout as sleep } from "node:timers/promises";
import { connect, type Device } from "../../clients/device/src/index.ts";
import type { DeviceHistory, History, PublisherHistory } from "./history.ts";
import { page, type Ask, type CheckedNode } from "./nodes.ts";

/** A try of a publish; then the next node is asked, with the same key. Milliseconds. */
const TRY_MS = 3000;
const RETRY_MS = 20;
const READ_MS = 20;
/** The rate is dealt out so often a second. */
const DEALS = 100;
/** Seconds that a device waits at most before it connects again. */
const BACKOFF_SECONDS = 0.5;

export interface LoadOptions {
  readonly nodes: readonly CheckedNode[];
  readonly ask: Ask;
  /** Unanswered publishes of a device at most. */
  readonly inFlight: number;
  /** Publishes a second of all devices at most. */
  readonly rate: number;
  /** Of a device; undefined where the broker asks for none. */
  readonly tokenOf: (device: string) => string | undefined;
  readonly tls: { readonly ca: string } | undefined;
}

export class Load {
  readonly #history: History;
  readonly #options: LoadOptions;
  readonly #devices: Device[] = [];
  readonly #running: Promise<void>[] = [];
  readonly #dealer: NodeJS.Timeout;
  #next = 0;
  #stopping = false;
  #over = false;

  constructor(history: History, options: LoadOptions) {
    this.#history = history;
    this.#options = options;
    history.begin();
    for (const [place, device] of history.devices.entries()) this.#devices.push(this.#device(device, place));
    for (const [place, publisher] of history.publishers.entries()) this.#running.push(this.#publisher(publisher, place));
    for (const node of options.nodes) this.#running.push(this.#reader(node));
    this.#dealer = setInterval(() => this.#deal(), 1000 / DEALS);
  }

  /** Publishes nothing new, and resolves when everything is answered, or after `withinMs`. */
  async stop(withinMs: number): Promise<void> {
    this.#stopping = true;
    clearInterval(this.#dealer);
    const deadline = performance.now() + withinMs;
    while (this.#history.unanswered > 0 && performance.now() < deadline) await sleep(20);
    if (this.#history.unanswered > 0) this.#history.violated(`${this.#history.unanswered} publishes were not answered within ${Math.round(withinMs / 1000)} s after the last one was given`);
    this.#over = true;
    await Promise.all(this.#devices.map((device) => device.close()));
    await Promise.all(this.#running);
  }

  /** Gives each device in turn what its window and the rate allow. */
  #deal(): void {
    const { devices } = this.#history;
    const { inFlight, rate } = this.#options;
    let left = Math.ceil(rate / DEALS);
    for (let full = 0; left > 0 && full < devices.length; this.#next = (this.#next + 1) % devices.length) {
      const history = devices[this.#next]!;
      if (history.given - history.answered >= inFlight) {
        full += 1;
        continue;
      }
      full = 0;
      left -= 1;
      this.#give(history, this.#devices[this.#next]!);
    }
  }

  #give(history: DeviceHistory, device: Device): void {
    const number = (history.given += 1);
    device.publish(`${history.device} ${number}`).then(
      () => this.#history.answeredDevice(history, number),
      (error: unknown) => {
        if (!this.#over) this.#history.violated(`${history.device}: ${number} was refused: ${String(error)}`);
      },
    );
  }

  #device(history: DeviceHistory, place: number): Device {
    const { nodes, tokenOf, tls } = this.#options;
    const first = place % nodes.length;
    const brokers = nodes.map((_, i) => nodes[(first + i) % nodes.length]!.device);
    const token = tokenOf(history.device);
    const device = connect({ brokers, device: history.device, maxBackoff: BACKOFF_SECONDS, ...(token === undefined ? {} : { token }), ...(tls === undefined ? {} : { tls }) });
    device.on("broken", (what) => this.#history.violated(`${history.device}: its series is broken: ${JSON.stringify(what)}`));
    device.on("missed", (what) => this.#history.violated(`${history.device}: messages to it are missing: ${JSON.stringify(what)}`));
    device.on("connection", ({ state, error }) => {
      if (state === "stopped") this.#history.violated(`${history.device}: it was stopped: ${String(error)}`);
    });
    this.#running.push(this.#receive(history, device).catch(() => undefined)); // what stopped it is told above
    return device;
  }

  async #receive({ device: id }: DeviceHistory, device: Device): Promise<void> {
    let last = 0;
    for await (const { offset } of device) {
      if (offset <= last) this.#history.violated(`${id}: the message at offset ${offset} was delivered after that at ${last}`);
      last = offset;
    }
  }

  async #publisher(publisher: PublisherHistory, place: number): Promise<void> {
    const { nodes } = this.#options;
    let node = place % nodes.length;
    for (let number = 1; !this.#stopping; number += 1) {
      publisher.offsets.push(0);
      const text = `${publisher.name} ${number}`;
      const path = `/v1/devices/${encodeURIComponent(this.#history.deviceOf(place, number).device)}/messages`;
      for (let isSettled = false; !isSettled && !this.#over; node = (node + 1) % nodes.length) {
        const offset = await this.#publish(nodes[node]!, path, text);
        isSettled = offset !== undefined;
        if (offset === undefined) await sleep(RETRY_MS);
        else if (offset === 0) this.#history.violated(`${text} was refused for good`);
        else this.#history.answeredPublisher(publisher, number, offset);
      }
    }
  }

  /** The offset; undefined where it should be tried again, 0 where it never will be stored. */
  async #publish({ http }: CheckedNode, path: string, text: string): Promise<number | undefined> {
    const headers = { "idempotency-key": text.replace(" ", "."), "content-type": "text/plain" };
    try {
      const response = await this.#options.ask(http, { method: "POST", path, headers, body: text }, AbortSignal.timeout(TRY_MS));
      if (response.status === 200 || response.status === 201) return Number(((await response.json()) as { offset: string }).offset);
      await response.body?.cancel();
      return response.status >= 500 || response.status === 429 || response.status === 408 ? undefined : 0;
    } catch {
      return undefined; // whether it is stored, only sending it again tells
    }
  }

  /** Reads every stream as it grows: what one node has shown, no node may show otherwise. */
  async #reader(node: CheckedNode): Promise<void> {
    const next = this.#history.devices.map(() => "0");
    for (let turn = 0; !this.#stopping; turn = (turn + 1) % next.length) {
      const device = this.#history.devices[turn]!;
      const read = await page(this.#options.ask, node.http, device.device, next[turn]!).catch(() => undefined); // it may be down
      if (read !== undefined && Number(next[turn]) <= device.fingerprints.length) {
        for (const entry of read.entries) this.#history.read(device, entry, node.node);
        next[turn] = read.next;
      }
      await sleep(READ_MS);
    }
  }
}

// The devices that the broker knows, and one of them: seen, created, removed, explained.

import type { Calls } from "./calls.ts";
import { type Entry, entryOf, parseJson, recordOf } from "./entries.ts";
import { devicePath } from "./path.ts";

export interface DeviceView {
  readonly device: string;
  readonly connected: boolean;
  /** Last offset of its stream. */
  readonly end: string;
  readonly earliest: string;
  readonly delivered: string;
  readonly handled: string;
  readonly session: string;
  readonly lastSeries: string;
  readonly lastTime: string | null;
}

export interface Explanation extends DeviceView {
  readonly bucket: number;
  readonly leader: string;
  readonly epoch: number;
  readonly members: readonly string[];
  readonly window: number;
  readonly followers: number;
  readonly commit: string;
  readonly applied: string;
  /** What waits for this device, and why. */
  readonly waits: { readonly messages: number; readonly bytes: number; readonly why: string } | null;
  readonly offset?: { readonly offset: string; readonly is: "stored" | "absent" | "forgotten"; readonly entry?: Entry };
  readonly key?: { readonly key: string; readonly is: "stored" | "absent" | "forgotten"; readonly offset: string; readonly position: string };
}

/** What is absent or null is as the broker keeps it. */
export interface Retain {
  readonly retainSeconds?: number | null;
  readonly retainEntries?: number | null;
}

export interface SignalOption {
  readonly signal?: AbortSignal;
}

/** Every known device, in the list's order, read page by page. @throws BellhopError */
export async function* devices(calls: Calls, options: SignalOption & { readonly after?: string; readonly limit?: number }): AsyncGenerator<DeviceView> {
  let after: string | null = options.after ?? "";
  while (after !== null) {
    const query = new URLSearchParams({ after, ...(options.limit === undefined ? {} : { limit: String(options.limit) }) });
    const answer = await calls.call({ method: "GET", path: `/v1/devices?${query.toString()}`, signal: options.signal });
    const page = recordOf(parseJson(answer.text)) as unknown as { readonly devices: readonly DeviceView[]; readonly next: string | null };
    yield* page.devices;
    after = page.next;
  }
}

export class KnownDevice {
  readonly #calls: Calls;
  readonly #device: string;
  readonly #path: string;

  constructor(calls: Calls, device: string) {
    this.#calls = calls;
    this.#device = device;
    this.#path = devicePath(device);
  }

  /** @throws BellhopError `unknown_device` … */
  async get(options: SignalOption = {}): Promise<DeviceView> {
    return (await this.#get(this.#path, options)) as DeviceView;
  }

  /** Makes it known before its first message; with `retain`, how much of its stream is kept, instead of what the broker keeps of all. @throws BellhopError */
  async create(options: SignalOption & { readonly retain?: Retain } = {}): Promise<DeviceView> {
    const { retain, signal } = options;
    const content = retain === undefined ? {} : { headers: { "content-type": "application/json" }, body: JSON.stringify(retain) };
    const answer = await this.#calls.call({ method: "PUT", path: this.#path, device: this.#device, signal, ...content });
    return recordOf(parseJson(answer.text)) as unknown as DeviceView;
  }

  /** Removes it with its stream, state and keys. @throws BellhopError `unknown_device` … */
  async remove(options: SignalOption = {}): Promise<void> {
    await this.#calls.call({ method: "DELETE", path: this.#path, device: this.#device, signal: options.signal });
  }

  /** Where its stream is, who leads it, what waits and why; with `offset` or `key`, whether that is stored. @throws BellhopError */
  async explain(options: SignalOption & { readonly offset?: string; readonly key?: string } = {}): Promise<Explanation> {
    const { offset, key } = options;
    const query = new URLSearchParams({ ...(offset === undefined ? {} : { offset }), ...(key === undefined ? {} : { key }) });
    const explained = (await this.#get(`${this.#path}/explain?${query.toString()}`, options)) as Explanation;
    const entry = explained.offset?.entry;
    return entry === undefined ? explained : { ...explained, offset: { ...explained.offset!, entry: entryOf(entry) } };
  }

  async #get(path: string, { signal }: SignalOption): Promise<unknown> {
    return recordOf(parseJson((await this.#calls.call({ method: "GET", path, device: this.#device, signal })).text));
  }
}

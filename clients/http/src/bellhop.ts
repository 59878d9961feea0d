// The client of backends: what an application calls.

import { Calls } from "./calls.ts";
import { devices, type DeviceView, KnownDevice, type SignalOption } from "./devices.ts";
import { feed, type FeedItem, type FeedOptions } from "./feed.ts";
import { type Message, type Payload, type Stored } from "./messages.ts";
import { publish, publishMany, type PublishOptions, type Result } from "./publish.ts";
import { openPublisher, type Publisher, type PublisherOptions } from "./publisher.ts";
import { State } from "./state.ts";
import { follow, type Followed, type FollowOptions, type Page, pages, type StreamOptions } from "./streams.ts";

export interface RetryOptions {
  /** A call tries for so long, all attempts together. Milliseconds; 60,000 where nothing is said. */
  readonly forMs?: number;
  /** One attempt may take so long. Above the broker's `publishSeconds` (15), so that its own answer comes first. Milliseconds; 20,000. */
  readonly attemptMs?: number;
  /** The first wait is a random time up to this, doubled with each failure. Milliseconds; 100. */
  readonly baseMs?: number;
  /** What the waits double up to. Milliseconds; 10,000. */
  readonly mostMs?: number;
}

export interface BellhopOptions {
  /** One or several of the same cluster: `http://HOST:PORT`, `https://…`, or `HOST:PORT`. */
  readonly brokers: string | readonly string[];
  /** The API key, where the broker asks for one. */
  readonly key?: string | undefined;
  /** Instead of the runtime's own. */
  readonly fetch?: typeof fetch;
  readonly retry?: RetryOptions;
  /** Requests under way at once, followed streams aside; the others wait for their turn. 64. */
  readonly concurrency?: number;
}

const DEFAULTS = { forMs: 60_000, attemptMs: 20_000, baseMs: 100, mostMs: 10_000, concurrency: 64 } as const;

export class Bellhop {
  readonly #calls: Calls;

  /** Opens no connection yet. @throws TypeError where an address or a number makes no sense */
  constructor(options: BellhopOptions) {
    const numbers = { ...DEFAULTS, ...options.retry, ...(options.concurrency === undefined ? {} : { concurrency: options.concurrency }) };
    for (const [name, value] of Object.entries(numbers)) if (!(value > 0)) throw new TypeError(`\`${name}\` must be more than 0.`);
    this.#calls = new Calls({
      ...numbers,
      brokers: typeof options.brokers === "string" ? options.brokers.split(",") : options.brokers,
      key: options.key,
      fetch: options.fetch ?? ((input, init) => fetch(input, init)),
    });
  }

  /** Calls that wait for their turn, and requests under way. */
  get load(): { readonly waiting: number; readonly underWay: number } {
    return this.#calls.load;
  }

  /**
   * Resolves once the message is on the disk of every copy, once, however many attempts it took.
   * @throws BellhopError when it is refused for good, aborted (nobody knows then), or its time is over: `timed_out`, whose `outcome` is what the broker says
   */
  publish(device: string, payload: Payload, options: PublishOptions = {}): Promise<Stored> {
    return publish(this.#calls, device, payload, options);
  }

  /** In batches, with a result for each in their order; one's failure stops no other. @throws BellhopError `aborted` */
  publishMany(messages: Iterable<Message>, options: { readonly signal?: AbortSignal; readonly forMs?: number } = {}): Promise<Result[]> {
    return publishMany(this.#calls, messages, options);
  }

  /**
   * Opens a series of its own to a device: what is published in it is stored in the order of the calls, with several under way at once.
   * @throws BellhopError
   */
  publisher(device: string, options: PublisherOptions): Promise<Publisher> {
    return openPublisher(this.#calls, device, options);
  }

  /** What is in a device's stream up to its end, by page. @throws BellhopError */
  stream(device: string, options: StreamOptions = {}): AsyncIterable<Page> {
    return pages(this.#calls, device, options);
  }

  /** What comes, for ever; over lost connections too, without a hole or a repetition. Ends when the signal aborts. @throws BellhopError that is not retryable */
  follow(device: string, options: FollowOptions = {}): AsyncIterable<Followed> {
    return follow(this.#calls, device, options);
  }

  /** What comes from all devices, in order within each; else as `follow`. @throws BellhopError that is not retryable */
  feed(options: FeedOptions = {}): AsyncIterable<FeedItem> {
    return feed(this.#calls, options);
  }

  state(device: string): State {
    return new State(this.#calls, device);
  }

  /** Every known device. @throws BellhopError */
  devices(options: SignalOption & { readonly after?: string; readonly limit?: number } = {}): AsyncIterable<DeviceView> {
    return devices(this.#calls, options);
  }

  device(device: string): KnownDevice {
    return new KnownDevice(this.#calls, device);
  }
}

/** The same as `new Bellhop(options)`. */
export function connect(options: BellhopOptions): Bellhop {
  return new Bellhop(options);
}

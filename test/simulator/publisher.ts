// A simulated server that keeps a series of its own to a device: several numbers in flight, each brought to whichever node it reaches (A4, A6, R25, R30).

import type { Prng } from "../../src/base/prng.ts";
import { PUBLISH_KIND } from "../../src/core/hop.ts";
import type { GatewayAnswer } from "../../src/core/gateway/types.ts";
import { bodyOf } from "./stream-oracle.ts";
import type { Workload } from "./workload.ts";

const WINDOW = 4;
const OUTBOX_MAX = 20;

export class Publisher {
  readonly device: string;
  readonly name = "billing";
  readonly #world: Workload;
  readonly #random: Prng;
  /** Messages that are not known to be stored; "" spends its number. */
  readonly #outbox: { series: number; readonly text: string }[] = [];
  readonly #inFlight = new Set<number>();
  #given = 0;
  #next = 1;
  #nonce = 1n;
  /** Its numbers count within this session. */
  #session = 0;
  /** After an accepted loss a session's number may be given again (R9). */
  #generation = 0;
  #isOpen = false;
  #window = 0;
  #leaves = 0;

  constructor(world: Workload, device: string, random: Prng) {
    this.#world = world;
    this.device = device;
    this.#random = random;
    this.#open();
  }

  get waiting(): number {
    return this.#outbox.length;
  }

  get given(): number {
    return this.#given;
  }

  publish(): void {
    if (this.#outbox.length >= OUTBOX_MAX) return;
    const isVoid = this.#random.chance(0.1);
    if (!isVoid) this.#given += 1;
    this.#outbox.push({ series: this.#next, text: isVoid ? "" : `${this.device}:${this.#given}` });
    this.#next += 1;
    this.#sendMore();
  }

  /** It ends and comes back with its outbox: under the nonce it had, or under a newer one. */
  restart(): void {
    if (!this.#isOpen) return;
    if (this.#random.chance(0.5)) this.#leave();
    this.#open();
  }

  #leave(): void {
    this.#leaves = this.#session;
    this.#nonce += 1n;
  }

  #open(): void {
    const { device, name: publisher } = this;
    this.#isOpen = false;
    this.#world.call({ type: "open", device, publisher, nonce: this.#nonce, window: WINDOW, leaves: this.#leaves, attach: false }, (answer) => {
      if (answer.type === "attached") return this.#opened(answer);
      if (answer.type === "broken") this.#nonce = (answer.stored ?? this.#nonce) + 1n;
      this.#later(() => this.#open());
    });
  }

  #opened({ session, last, leftAt, window, generation }: Extract<GatewayAnswer, { type: "attached" }>): void {
    this.#inFlight.clear();
    this.#isOpen = true;
    this.#window = window;
    if (session !== this.#session || generation !== this.#generation) {
      // What the session left behind had stored is stored; the rest is counted anew.
      this.#drop(this.#leaves, leftAt);
      this.#next = 1;
      for (const message of this.#outbox) {
        message.series = this.#next;
        this.#next += 1;
      }
    }
    this.#leaves = 0;
    this.#session = session;
    this.#generation = generation;
    this.#drop(session, last);
    this.#sendMore();
  }

  #sendMore(): void {
    if (!this.#isOpen) return;
    const oldest = this.#outbox[0]?.series ?? this.#next;
    for (const { series, text } of [...this.#outbox]) {
      if (series >= oldest + this.#window) return; // a number further behind than the window would not be known as a duplicate (R27)
      if (!this.#inFlight.has(series)) this.#send(this.#session, series, text);
    }
  }

  #send(session: number, series: number, text: string): void {
    this.#inFlight.add(series);
    const content = text === "" ? { kind: PUBLISH_KIND.void, code: "expired", body: new Uint8Array() } as const : { kind: PUBLISH_KIND.message, code: undefined, body: bodyOf(text) };
    this.#world.call({ type: "numbered", device: this.device, session, series, ...content }, (answer) => {
      if (session !== this.#session || !this.#isOpen || !this.#inFlight.delete(series)) return; // of a session that was left, or from before a restart
      if (answer.type === "stored" || (answer.type === "failed" && answer.code === "expired")) {
        this.#acknowledge(session, series);
        this.#sendMore();
      } else if (answer.type === "failed" && (answer.code === "broken" || answer.code === "taken_over")) {
        this.#leave();
        this.#open();
      } else this.#later(() => this.#sendMore());
    });
  }

  /** Each number has an answer of its own. */
  #acknowledge(session: number, series: number): void {
    const place = this.#outbox.findIndex((message) => message.series === series);
    if (place === -1) return;
    const [message] = this.#outbox.splice(place, 1);
    this.#world.streams(this.device).acknowledged(this.device, session, series, message!.text);
    this.#world.cluster.checker.answers += 1;
  }

  /** Forgets what an OPEN told to be stored. */
  #drop(session: number, last: number): void {
    for (const { series } of this.#outbox.filter((message) => message.series <= last)) this.#acknowledge(session, series);
  }

  #later(run: () => void): void {
    this.#world.cluster.world.after(this.#random.between(2_000, 30_000), undefined, "publisher", this.device, run);
  }
}

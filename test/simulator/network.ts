// The simulated network: one directed link for each pair of nodes, which delays, drops, doubles, reorders, stalls and cuts.

import type { Prng } from "../../src/base/prng.ts";
import type { Process, World } from "./world.ts";

export interface LinkRates {
  /** Microseconds, least and most. */
  readonly delayUs: readonly [number, number];
  readonly drop: number;
  readonly duplicate: number;
  /** A copy that comes up to this much later (µs), of an epoch long gone; 0: never. */
  readonly lateUs: number;
  /** As over TCP: what arrives on a link arrives in the order it was sent. */
  readonly ordered: boolean;
}

export class Network {
  quiet = false;
  readonly #world: World;
  readonly #random: Prng;
  readonly #rates: LinkRates;
  /** Links that lose everything, and links that hold everything back, until when (µs). */
  readonly #cuts = new Map<string, number>();
  readonly #stalls = new Map<string, number>();
  readonly #lastArrival = new Map<string, number>();

  constructor(world: World, random: Prng, rates: LinkRates) {
    this.#world = world;
    this.#random = random;
    this.#rates = rates;
  }

  cut(from: string, to: string, untilUs: number): void {
    this.#cuts.set(`${from}>${to}`, untilUs);
  }

  stall(from: string, to: string, untilUs: number): void {
    this.#stalls.set(`${from}>${to}`, untilUs);
  }

  isCut(from: string, to: string): boolean {
    return !this.quiet && (this.#cuts.get(`${from}>${to}`) ?? 0) > this.#world.now;
  }

  /** Whether chance has it that this message is lost. */
  loses(): boolean {
    return !this.quiet && this.#rates.drop > 0 && this.#random.chance(this.#rates.drop);
  }

  /** As over one connection: delayed, nothing else. */
  sendInOrder(from: string, to: Process, kind: string, detail: unknown, run: () => void): void {
    const link = `${from}=${to.name}`;
    const [least, most] = this.#rates.delayUs;
    const stalled = this.quiet ? 0 : (this.#stalls.get(`${from}>${to.name}`) ?? 0);
    const at = Math.max(this.#world.now + this.#random.between(least, most), stalled, this.#lastArrival.get(link) ?? 0);
    this.#lastArrival.set(link, at);
    this.#world.after(at - this.#world.now, to, kind, detail, run);
  }

  /** Ends every fault; what is under way still arrives. */
  heal(): void {
    this.#cuts.clear();
    this.#stalls.clear();
    this.quiet = true;
  }

  /** Runs `run` at the site `to`, whichever process runs there by then. */
  send(from: string, to: Process, kind: string, detail: unknown, run: () => void): void {
    const link = `${from}>${to.name}`;
    const rates = this.#rates;
    if (this.isCut(from, to.name)) return;
    if (this.loses()) return;
    this.#world.after(this.#arrival(link) - this.#world.now, to, kind, detail, run);
    if (this.quiet || rates.duplicate === 0 || !this.#random.chance(rates.duplicate)) return;
    const late = rates.lateUs > 0 && this.#random.chance(0.3) ? rates.lateUs : rates.delayUs[1];
    this.#world.after(this.#random.below(late), to, kind, detail, run);
  }

  #arrival(link: string): number {
    const [least, most] = this.#rates.delayUs;
    const stalled = this.quiet ? 0 : (this.#stalls.get(link) ?? 0);
    let at = Math.max(this.#world.now, stalled) + this.#random.between(least, most);
    if (this.#rates.ordered) {
      at = Math.max(at, this.#lastArrival.get(link) ?? 0);
      this.#lastArrival.set(link, at);
    }
    return at;
  }
}

// One raw connection of an attack: bytes out, in pieces of any size, and what came back.

import { connect, type Socket } from "node:net";
import type { Prng } from "../../src/base/prng.ts";

/** Attacks come from an address of their own, as its limits are (F5). */
const FROM = "127.0.0.2";
/** What comes back is kept up to so many bytes: enough for codes and statuses. */
const KEPT_BYTES = 65_536;

/** A way to attack a door. It draws everything from `random`, so that a seed gives the same bytes. */
export interface Attack {
  readonly name: string;
  run(target: Target, random: Prng): Promise<void>;
}

export interface Target {
  /** host:port of the attacked door. */
  readonly address: string;
  /** Greatest time that an attack holds its connection. Milliseconds. */
  readonly holdMs: number;
  /** What came back on a connection, once it is over. */
  answered(attack: string, sent: readonly Buffer[], answer: Buffer): void;
}

export class Hostile {
  readonly socket: Socket;
  readonly #sent: Buffer[] = [];
  readonly #came: Buffer[] = [];
  #kept = 0;
  #isOpen = true;
  readonly #over: Promise<void>;

  private constructor(socket: Socket) {
    this.socket = socket;
    socket.on("error", () => undefined); // refused and reset connections are what is asked for
    socket.on("data", (chunk) => {
      if (this.#kept < KEPT_BYTES) this.#came.push(chunk);
      this.#kept += chunk.length;
    });
    this.#over = new Promise((resolve) => {
      socket.once("close", () => {
        this.#isOpen = false;
        resolve();
      });
    });
  }

  /** Runs one attack's connection to its end: whatever is left open after `holdMs` is cut. */
  static async during(attack: string, target: Target, work: (hostile: Hostile) => Promise<void>): Promise<void> {
    const [host, port] = target.address.split(":");
    const hostile = new Hostile(connect({ host: host!, port: Number(port), localAddress: FROM, noDelay: true, allowHalfOpen: true }));
    const cut = setTimeout(() => hostile.socket.destroy(), target.holdMs);
    await work(hostile);
    await hostile.#over;
    clearTimeout(cut);
    target.answered(attack, hostile.#sent, Buffer.concat(hostile.#came));
  }

  get isOpen(): boolean {
    return this.#isOpen;
  }

  /** Writes in one piece, or in pieces of random sizes with pauses between some. */
  async write(bytes: Buffer, random: Prng): Promise<void> {
    this.#sent.push(bytes);
    if (random.chance(0.5)) return this.#writePiece(bytes);
    const most = random.pick([1, 7, 100, 5000]);
    for (let at = 0, pieces = 0; at < bytes.length && this.#isOpen; pieces += 1) {
      // Past the first pieces the rest goes in one, so that a long attack does not last for ever.
      const size = pieces < 50 ? random.between(1, most) : bytes.length;
      await this.#writePiece(bytes.subarray(at, at + size));
      at += size;
      if (random.chance(0.3)) await pause(random.below(5));
    }
  }

  /** The next bytes from the other side, or its end. */
  answer(): Promise<void> {
    if (!this.#isOpen) return Promise.resolve();
    return Promise.race([this.#over, new Promise<void>((resolve) => void this.socket.once("data", () => resolve()))]);
  }

  /** Leaves in one of the ways there are: in order, half, by a reset, or not at all until it is cut. */
  leave(random: Prng): void {
    const how = random.below(10);
    if (how < 4) this.socket.destroy();
    else if (how < 6) this.socket.end();
    else if (how < 8) this.socket.resetAndDestroy();
    else if (how < 9) this.socket.destroySoon();
  }

  #writePiece(bytes: Buffer): Promise<void> {
    return Promise.race([this.#over, new Promise<void>((resolve) => void this.socket.write(bytes, () => resolve()))]);
  }
}

export function pause(ms: number): Promise<void> {
  return new Promise((resolve) => {
    setTimeout(resolve, ms);
  });
}

/** Flips, inserts, removes, doubles and exchanges bytes, here and there. */
export function mangle(bytes: Buffer, random: Prng): Buffer {
  let mangled = Buffer.from(bytes);
  for (let times = random.between(1, 4); times > 0 && mangled.length > 0; times -= 1) {
    const at = random.below(mangled.length);
    const end = Math.min(mangled.length, at + random.between(1, 16));
    const how = random.below(5);
    if (how === 0) mangled[at] = random.below(256);
    else if (how === 1) mangled = Buffer.concat([mangled.subarray(0, at), randomBytes(random, random.between(1, 8)), mangled.subarray(at)]);
    else if (how === 2) mangled = Buffer.concat([mangled.subarray(0, at), mangled.subarray(end)]);
    else if (how === 3) mangled = Buffer.concat([mangled.subarray(0, end), mangled.subarray(at)]);
    else mangled[at] = mangled[at]! ^ (1 << random.below(8));
  }
  return mangled;
}

export function randomBytes(random: Prng, length: number): Buffer {
  return Buffer.from(Array.from({ length }, () => random.below(256)));
}

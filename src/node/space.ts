// Room on the disk: the node refuses writes while the log cannot grow, or while less is free than is to be kept free; reads go on (`storage_full`).

import { statfs } from "node:fs/promises";

const LOOK_MS = 1000;

export class Space {
  readonly #directory: string;
  readonly #minFreeBytes: number;
  readonly #changed: (isFull: boolean) => void;
  readonly #timer: NodeJS.Timeout;
  #logIsFull = false;
  #isLow = false;
  /** Bytes free for this user, as last seen. */
  freeBytes = 0;

  /** `changed` is told when writes are to be refused, and when they may go on; `failed` when the directory cannot be looked at. */
  constructor(directory: string, minFreeBytes: number, changed: (isFull: boolean) => void, failed: (error: Error) => void) {
    this.#directory = directory;
    this.#minFreeBytes = minFreeBytes;
    this.#changed = changed;
    this.#timer = setInterval(() => void this.look().catch(failed), LOOK_MS);
  }

  get isFull(): boolean {
    return this.#logIsFull || this.#isLow;
  }

  stop(): void {
    clearInterval(this.#timer);
  }

  /** The log found the disk full, or has written again. */
  logIsFull(isFull: boolean): void {
    this.#set(isFull, this.#isLow);
  }

  async look(): Promise<void> {
    const { bavail, bsize } = await statfs(this.#directory);
    this.freeBytes = bavail * bsize;
    this.#set(this.#logIsFull, this.freeBytes < this.#minFreeBytes);
  }

  #set(logIsFull: boolean, isLow: boolean): void {
    const before = this.isFull;
    this.#logIsFull = logIsFull;
    this.#isLow = isLow;
    if (this.isFull !== before) this.#changed(this.isFull);
  }
}

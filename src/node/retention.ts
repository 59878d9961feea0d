// Retention by time and size, a segment of the log at a time: proposes floors for the buckets led here; every copy forgets alike when the entry is applied (R17).

import { Aging } from "./aging.ts";
import type { Host } from "./host.ts";

export interface RetentionLimits {
  /** Entries older than this may be forgotten. */
  readonly seconds: number;
  /** The oldest segments are forgotten while the log is larger than this. */
  readonly bytes: number;
}

const LOOK_MS = 10_000;

export class Retention {
  readonly #host: Host;
  readonly #limits: RetentionLimits;
  readonly #aging: Aging;
  readonly #timer: NodeJS.Timeout;
  #looking = false;

  constructor(host: Host, limits: RetentionLimits) {
    this.#host = host;
    this.#limits = limits;
    this.#aging = new Aging(host);
    this.#timer = setInterval(() => {
      if (this.#looking) return;
      this.#looking = true;
      this.look()
        .catch((error: unknown) => host.fail(error as Error))
        .finally(() => {
          this.#looking = false;
        });
    }, LOOK_MS);
  }

  stop(): void {
    clearInterval(this.#timer);
  }

  /** Forgets what time and size allow. */
  async look(): Promise<void> {
    const floors = new Map<number, number>();
    const segments = this.#host.log.segments();
    let bytes = segments.reduce((sum, segment) => sum + segment.bytes, 0);
    for (const { sealed, bytes: size, last } of segments) {
      if (!sealed || !(bytes > this.#limits.bytes || (await this.#isOld(last)))) break;
      bytes -= size;
      for (const [bucket, index] of last) floors.set(bucket, index + 1);
    }
    if (floors.size > 0) this.#host.run(() => this.#propose(floors));
    await this.#aging.look();
  }

  /** Every bucket's last entry in the segment is older than the limit. */
  async #isOld(last: ReadonlyMap<number, number>): Promise<boolean> {
    const before = Date.now() - this.#limits.seconds * 1000;
    for (const [bucket, index] of last) {
      const [entry] = await this.#host.log.read(bucket, [index], 1);
      if (entry !== undefined && entry.time >= before) return false;
    }
    return true;
  }

  #propose(floors: ReadonlyMap<number, number>): void {
    for (const [bucket, floor] of floors) {
      const replica = this.#host.core.copy(bucket)?.replica;
      if (replica?.isOpen === true && floor > replica.floor) replica.proposeFloor(Math.min(floor, replica.applied), Date.now());
    }
  }
}

// One timing wheel for all connections: a deadline costs a place in a set, and moving it costs nothing until its slot comes round.

export interface WheelItem {
  /** Kept by the wheel; -1: not on it. */
  slot: number;
  /** The tick at which it is due, by what is known now. */
  due(): number;
  expire(): void;
}

const SLOTS = 512;

export class Wheel<T extends WheelItem> {
  /** Ticks since the start. */
  now = 0;
  readonly #slots: Set<T>[] = Array.from({ length: SLOTS }, () => new Set<T>());

  /** Puts the item where it is due; beyond the wheel's reach it is looked at on the way. Call it again when `due` has come nearer. */
  place(item: T): void {
    this.remove(item);
    const ahead = Math.min(Math.max(item.due() - this.now, 1), SLOTS - 1);
    item.slot = (this.now + ahead) % SLOTS;
    this.#slots[item.slot]!.add(item);
  }

  remove(item: T): void {
    if (item.slot >= 0) this.#slots[item.slot]!.delete(item);
    item.slot = -1;
  }

  /** One tick: expires what is due, and moves what has been put off meanwhile. */
  tick(): void {
    this.now += 1;
    const index = this.now % SLOTS;
    const items = this.#slots[index]!;
    if (items.size === 0) return;
    this.#slots[index] = new Set<T>();
    for (const item of items) {
      if (item.slot !== index) continue; // moved or removed by one that expired before it
      item.slot = -1;
      if (item.due() <= this.now) item.expire();
      else this.place(item);
    }
  }
}

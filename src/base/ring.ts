// A first-in first-out queue on a ring that doubles when full: no shifting of an array on a hot path.

export class Ring<T> {
  #slots: (T | undefined)[];
  #head = 0;
  #size = 0;

  /** @param capacity slots to start with; a power of two. */
  constructor(capacity = 16) {
    this.#slots = new Array<T | undefined>(capacity);
  }

  get size(): number {
    return this.#size;
  }

  push(item: T): void {
    if (this.#size === this.#slots.length) this.#grow();
    this.#slots[(this.#head + this.#size) & (this.#slots.length - 1)] = item;
    this.#size += 1;
  }

  /** The item `position` places behind the front, or undefined past the end. */
  at(position: number): T | undefined {
    return position < this.#size ? this.#slots[(this.#head + position) & (this.#slots.length - 1)] : undefined;
  }

  first(): T | undefined {
    return this.at(0);
  }

  last(): T | undefined {
    return this.#size === 0 ? undefined : this.at(this.#size - 1);
  }

  shift(): T | undefined {
    if (this.#size === 0) return undefined;
    const item = this.#slots[this.#head];
    this.#slots[this.#head] = undefined;
    this.#head = (this.#head + 1) & (this.#slots.length - 1);
    this.#size -= 1;
    return item;
  }

  /** Takes the newest item off again. */
  pop(): T | undefined {
    if (this.#size === 0) return undefined;
    const slot = (this.#head + this.#size - 1) & (this.#slots.length - 1);
    const item = this.#slots[slot];
    this.#slots[slot] = undefined;
    this.#size -= 1;
    return item;
  }

  clear(): void {
    this.#slots = new Array<T | undefined>(16);
    this.#head = 0;
    this.#size = 0;
  }

  #grow(): void {
    const next = new Array<T | undefined>(this.#slots.length * 2);
    for (let i = 0; i < this.#size; i += 1) next[i] = this.at(i);
    this.#slots = next;
    this.#head = 0;
  }
}

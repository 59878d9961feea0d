// The events that are to come, ordered by (time, sequence).

export interface Scheduled {
  /** Microseconds of simulated time. */
  at: number;
  /** Given by the heap: events of the same time run in the order they were added. */
  sequence: number;
}

export class EventHeap<E extends Scheduled> {
  readonly #items: E[] = [];
  #sequence = 0;

  get size(): number {
    return this.#items.length;
  }

  get nextAt(): number {
    return this.#items.length === 0 ? Infinity : this.#items[0]!.at;
  }

  push(event: E): void {
    this.#sequence += 1;
    event.sequence = this.#sequence;
    const items = this.#items;
    let place = items.length;
    items.push(event);
    while (place > 0) {
      const parent = (place - 1) >> 1;
      if (before(items[parent]!, event)) break;
      items[place] = items[parent]!;
      place = parent;
    }
    items[place] = event;
  }

  pop(): E | undefined {
    const items = this.#items;
    const first = items[0];
    const last = items.pop();
    if (first === undefined || last === undefined || items.length === 0) return first;
    const size = items.length;
    let place = 0;
    for (;;) {
      let child = 2 * place + 1;
      if (child >= size) break;
      if (child + 1 < size && before(items[child + 1]!, items[child]!)) child += 1;
      if (before(last, items[child]!)) break;
      items[place] = items[child]!;
      place = child;
    }
    items[place] = last;
    return first;
  }
}

function before(a: Scheduled, b: Scheduled): boolean {
  return a.at < b.at || (a.at === b.at && a.sequence < b.sequence);
}

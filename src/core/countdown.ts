// A countdown: wait until every expected node has answered. A departed node no longer counts.

export class Countdown {
  readonly #waiting: Set<string>;

  constructor(expected: Iterable<string>) {
    this.#waiting = new Set(expected);
  }

  get done(): boolean {
    return this.#waiting.size === 0;
  }

  /** Who has not answered yet. */
  get waiting(): ReadonlySet<string> {
    return this.#waiting;
  }

  answered(node: string): void {
    this.#waiting.delete(node);
  }

  departed(node: string): void {
    this.#waiting.delete(node);
  }
}

// Cuts a stream of bytes into lines. A line that is too long is passed over without being kept.

const NEWLINE = 0x0a;
const NONE = Buffer.alloc(0);

/** Takes a line without its newline; undefined for one that was too long. False: no further one is wanted now. */
export type TakeLine = (line: Buffer | undefined) => boolean;

export class LineCutter {
  readonly #most: number;
  /** The beginning of a line that has not ended; at most `most` bytes. */
  #begun: Buffer = NONE;
  #tooLong = false;

  /** @param most bytes of a line */
  constructor(most: number) {
    this.#most = most;
  }

  /** @returns bytes of the chunk that were cut; the others are to come again */
  push(chunk: Buffer, take: TakeLine): number {
    let from = 0;
    for (let end = chunk.indexOf(NEWLINE); end !== -1; end = chunk.indexOf(NEWLINE, from)) {
      this.#add(chunk.subarray(from, end));
      from = end + 1;
      if (!this.#take(take)) return from;
    }
    this.#add(chunk.subarray(from));
    return chunk.length;
  }

  /** The stream has ended: what is left is a line, too. */
  end(take: TakeLine): void {
    if (this.#tooLong || this.#begun.length > 0) this.#take(take);
  }

  #add(part: Buffer): void {
    if (this.#tooLong || part.length === 0) return;
    this.#tooLong = this.#begun.length + part.length > this.#most;
    if (this.#tooLong) this.#begun = NONE;
    else this.#begun = this.#begun.length === 0 ? part : Buffer.concat([this.#begun, part]);
  }

  #take(take: TakeLine): boolean {
    const line = this.#tooLong ? undefined : this.#begun;
    this.#tooLong = false;
    this.#begun = NONE;
    return take(line);
  }
}

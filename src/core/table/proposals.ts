// Proposals that are made again, ever more slowly, for as long as the table shows that they are still wanted.

import type { Command } from "./commands.ts";

export interface ProposalSink {
  /** Puts a command on the control log; it may be lost or doubled. */
  propose(command: Command): void;
}

const DOUBLINGS_MAX = 6;

export class Proposals {
  readonly #sink: ProposalSink;
  readonly #repeatMs: number;
  readonly #made = new Map<string, { at: number; doublings: number }>();
  readonly #wanted = new Set<string>();

  /** @param repeatMs the first pause, in ms; each repetition doubles it, up to 64 times as long. */
  constructor(sink: ProposalSink, repeatMs: number) {
    this.#sink = sink;
    this.#repeatMs = repeatMs;
  }

  /** @param key what the command is to bring about: another key is another proposal */
  propose(key: string, command: Command, now: number): void {
    this.#wanted.add(key);
    const last = this.#made.get(key);
    if (last !== undefined && now - last.at < this.#repeatMs * 2 ** last.doublings) return;
    this.#made.set(key, { at: now, doublings: last === undefined ? 0 : Math.min(DOUBLINGS_MAX, last.doublings + 1) });
    this.#sink.propose(command);
  }

  /** Forgets what was not proposed since the last round: it has had its effect, or is not wanted any more. */
  endRound(): void {
    for (const key of this.#made.keys()) {
      if (!this.#wanted.has(key)) this.#made.delete(key);
    }
    this.#wanted.clear();
  }
}

// What a client process did, on disk in its own file: a process that is killed has written every line before it acted on it.

import { appendFileSync, existsSync, readFileSync } from "node:fs";

export class Journal {
  readonly #path: string;
  #lines: string[] = [];

  constructor(path: string) {
    this.#path = path;
  }

  /** Adds a line; `write` puts it on disk. */
  add(line: string): void {
    this.#lines.push(line);
  }

  write(): void {
    if (this.#lines.length === 0) return;
    appendFileSync(this.#path, `${this.#lines.join("\n")}\n`);
    this.#lines = [];
  }
}

/** The whole lines of a journal; the last one may be torn by the kill. */
export function readJournal(path: string): string[] {
  if (!existsSync(path)) return [];
  const lines = readFileSync(path, "utf8").split("\n");
  lines.pop();
  return lines;
}

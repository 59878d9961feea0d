// What commands print: text for people, JSON for programs (`-o json`), errors in words on stderr.

import { CliError, EXIT } from "./exit.ts";

export type Format = "text" | "json";

const STYLES = { bold: "1", dim: "2", red: "31", green: "32", yellow: "33", cyan: "36" } as const;
export type Style = keyof typeof STYLES;

/** Colour only on a terminal, and never with NO_COLOR (no-color.org). */
export function styled(stream: { readonly isTTY?: boolean }, style: Style, text: string): string {
  const colour = stream.isTTY === true && (process.env["NO_COLOR"] ?? "") === "" && process.env["TERM"] !== "dumb";
  return colour ? `\x1b[${STYLES[style]}m${text}\x1b[0m` : text;
}

export function print(text: string): void {
  process.stdout.write(`${text}\n`);
}

/** A reader that has read enough (`| head -1`) ends the command, and that is no failure; a note that nobody reads any more is dropped. */
export function endWithReader(): void {
  process.stdout.on("error", (error: NodeJS.ErrnoException) => {
    if (error.code !== "EPIPE") reportFailure(new CliError("failed", "no_output", "The output could not be written.", error.message), "text");
    process.exit();
  });
  process.stderr.on("error", () => {});
}

/** For notes beside the result: stays out of what a pipe reads. */
export function note(text: string): void {
  process.stderr.write(`${asCalled(text)}\n`);
}

/** The commands that it names, as this one was called: where npx had to find `bellhop`, a shell does not. */
function asCalled(text: string): string {
  return process.env["npm_command"] === "exec" ? text.replace(/(?<!npx )(?<![\w./=-])bellhop (?=[a-z])/g, "npx bellhop ") : text;
}

let reader: Format = "text";

/** Who reads what this process prints. */
export function writeFor(format: Format): void {
  reader = format;
}

/** That something takes its time: a program that reads JSON is told by the end alone. */
export function noteToPeople(text: string): void {
  if (reader === "text") note(text);
}

/** Control characters of a message never reach the terminal. */
export function printable(text: string): string {
  return text.replace(/\p{Cc}/gu, (character) => `\\u${character.codePointAt(0)!.toString(16).padStart(4, "0")}`);
}

/** One JSON document a line, so that a program can read results as they come. */
export function printJson(value: unknown): void {
  print(JSON.stringify(value));
}

/** Prints `value` for programs or `text` for people. */
export function printResult(format: Format, value: unknown, text: () => string): void {
  if (format === "json") printJson(value);
  else print(text());
}

/** The text cut to so many columns; colours count nothing and are ended. */
export function fit(text: string, columns: number): string {
  let shown = "";
  let left = columns;
  // eslint-disable-next-line no-control-regex -- the colours that `styled` writes
  for (const [part] of text.matchAll(/\x1b\[\d+m|[^\x1b]+/g)) {
    if (part.startsWith("\x1b")) shown += part;
    else {
      const characters = [...part];
      shown += characters.slice(0, left).join("");
      left = Math.max(0, left - characters.length);
    }
  }
  return shown;
}

/** Columns as wide as their widest cell. */
export function table(rows: readonly (readonly string[])[]): string {
  const widths: number[] = [];
  for (const row of rows) for (const [column, cell] of row.entries()) widths[column] = Math.max(widths[column] ?? 0, cell.length);
  return rows.map((row) => row.map((cell, column) => cell.padEnd(widths[column]!)).join("  ").trimEnd()).join("\n");
}

/** `name  value` lines with the names dimmed. */
export function facts(pairs: readonly (readonly [string, string])[]): string {
  const width = Math.max(...pairs.map(([name]) => name.length));
  return pairs.map(([name, value]) => `${styled(process.stdout, "dim", name.padEnd(width))}  ${value}`).join("\n");
}

/** Prints the error and sets the exit code of the process. */
export function reportFailure(error: unknown, format: Format): void {
  const failure = error instanceof CliError ? error : unexpected(error);
  process.exitCode = EXIT[failure.exit].code;
  const { code, message, why, next } = failure;
  if (format === "json") return note(JSON.stringify({ error: { code, what: message, why, next } }));
  note(`${styled(process.stderr, "red", "error")} ${code}: ${message}`);
  if (why !== "") note(`  why:  ${why.replaceAll("\n", "\n        ")}`);
  if (next !== "") note(`  next: ${next}`);
}

function unexpected(error: unknown): CliError {
  if (process.env["DEBUG"] === "bellhop") console.error(error);
  const what = error instanceof Error ? error.message : String(error);
  return new CliError("failed", "internal", what, "", "run it again with DEBUG=bellhop to see where it failed");
}

const PROGRESS_MS = 200;
const PLAIN_PROGRESS_MS = 5_000;

/** How far a long command is, on stderr: one line that changes on a terminal, a plain line now and then elsewhere. */
export class Progress {
  readonly #word: string;
  readonly #startedAt = performance.now();
  readonly #terminal = process.stderr.isTTY && process.env["TERM"] !== "dumb";
  #toldAt = performance.now();
  #done = 0;

  /** @param word what has been done: "1,000 stored" */
  constructor(word: string) {
    this.#word = word;
  }

  step(): void {
    this.#done += 1;
    const now = performance.now();
    if (now - this.#toldAt < (this.#terminal ? PROGRESS_MS : PLAIN_PROGRESS_MS)) return;
    this.#toldAt = now;
    process.stderr.write(this.#terminal ? `\r\x1b[K${this.#line()}` : `${this.#line()}\n`);
  }

  /** Before another line is written. */
  clear(): void {
    if (this.#terminal) process.stderr.write("\r\x1b[K");
  }

  end(): void {
    this.clear();
    note(this.#line());
  }

  #line(): string {
    const seconds = (performance.now() - this.#startedAt) / 1000;
    return `${this.#done.toLocaleString("en")} ${this.#word}, ${Math.round(this.#done / Math.max(seconds, 0.001)).toLocaleString("en")} a second`;
  }
}

// bellhop status --watch: the picture again each second; in place on a terminal, a line or a document each second elsewhere.

import { setTimeout as sleep } from "node:timers/promises";

import { call } from "./call.ts";
import { dashboard } from "./dashboard.ts";
import { CliError, EXIT } from "./exit.ts";
import { unhealthy, waitingInWords, type Status } from "./health.ts";
import type { AtOption } from "./options.ts";
import { fit, print, printJson, styled } from "./output.ts";
import { Scrape } from "./scrape.ts";

const EVERY_MS = 1_000;

export interface WatchOptions extends AtOption {
  /** Ends when the node is ready. */
  readonly exitWhenHealthy?: true;
  /** Seconds that this may take. */
  readonly timeout: number;
}

interface Look {
  readonly status: Status;
  readonly scrape: Scrape;
}

export async function watch(options: WatchOptions): Promise<void> {
  if (options.output === "text" && process.stdout.isTTY) await watchOnTerminal(options);
  else await watchAsLines(options);
}

async function look(at: string): Promise<Look> {
  const [status, metrics] = await Promise.all([call(at, { path: "/v1/status" }), call(at, { path: "/metrics" })]);
  return { status: status.body as Status, scrape: new Scrape(typeof metrics.body === "string" ? metrics.body : "", performance.now()) };
}

async function watchAsLines(options: WatchOptions): Promise<void> {
  const until = deadline(options);
  for (let before: Look | undefined; ; ) {
    const now = await look(options.at);
    if (options.output === "json") printJson(now.status);
    else print(lineOf(now, before ?? now));
    if (options.exitWhenHealthy === true && now.status.ready) return;
    if (performance.now() > until) throw unhealthy(now.status.why);
    before = now;
    await sleep(EVERY_MS);
  }
}

function lineOf({ status, scrape }: Look, before: Look): string {
  const rate = (front: string): string => scrape.rate(before.scrape, "publishes_total", { front, outcome: "stored" }).toFixed(0);
  const is = status.ready ? "ready" : `not ready (${status.why.join("; ")})`;
  return `${new Date().toISOString()} ${status.node} ${is}, ${status.devices.connected} devices, ${rate("device")}/s from devices, ${rate("http")}/s over HTTP, waiting: ${waitingInWords(status)}`;
}

async function watchOnTerminal(options: WatchOptions): Promise<void> {
  const until = deadline(options);
  const screen = new Screen();
  let [before, now]: (Look | undefined)[] = [];
  let failure: CliError | undefined;
  const draw = (): void => screen.draw((columns) => linesOf(options, now, before, failure, columns));
  process.stdout.on("resize", draw);
  try {
    while (!screen.ended.aborted) {
      try {
        const next = await look(options.at);
        before = now ?? next;
        now = next;
        failure = undefined;
      } catch (error) {
        if (!(error instanceof CliError) || error.exit === "usage" || error.exit === "refused") throw error;
        failure = error;
      }
      draw();
      if (options.exitWhenHealthy === true && failure === undefined && now?.status.ready === true) return;
      if (performance.now() > until) throw unhealthy(now?.status.why ?? [failure?.message ?? ""]);
      await sleep(EVERY_MS, undefined, { signal: screen.ended }).catch(() => undefined);
    }
  } finally {
    process.stdout.off("resize", draw);
    screen.close();
  }
  if (screen.interrupted) process.exitCode = EXIT.interrupted.code;
}

function linesOf(options: WatchOptions, now: Look | undefined, before: Look | undefined, failure: CliError | undefined, columns: number): string[] {
  const lines = now === undefined ? [] : dashboard(now.status, now.scrape, (before ?? now).scrape, columns);
  if (failure !== undefined) lines.unshift(fit(styled(process.stdout, "red", `${failure.message} It is asked again; below is what it said last.`), columns), "");
  return [...lines, "", fit(styled(process.stdout, "dim", `${options.at}  ${new Date().toLocaleTimeString("en-GB")}  q quits`), columns)];
}

function deadline({ exitWhenHealthy, timeout }: WatchOptions): number {
  return exitWhenHealthy === true ? performance.now() + timeout * 1000 : Infinity;
}

const ALTERNATE = { on: "\x1b[?1049h\x1b[?25l", off: "\x1b[?25h\x1b[?1049l" };

/** The terminal's second screen, without a cursor; whatever ends the process gives back the first. */
class Screen {
  readonly #end = new AbortController();
  readonly #restore = (): void => void process.stdout.write(ALTERNATE.off);
  readonly #key = (key: Buffer): void => {
    if (key[0] === 0x03) this.#interrupt();
    else if (key[0] === 0x71 || key[0] === 0x04) this.#end.abort(); // q, Ctrl-D
  };
  readonly #interrupt = (): void => {
    this.interrupted = true;
    this.#end.abort();
  };
  interrupted = false;

  constructor() {
    process.stdout.write(ALTERNATE.on);
    process.once("exit", this.#restore);
    process.on("SIGINT", this.#interrupt).on("SIGTERM", this.#interrupt);
    if (process.stdin.isTTY) process.stdin.setRawMode(true).on("data", this.#key);
  }

  /** Aborted by q, Ctrl-C or a signal. */
  get ended(): AbortSignal {
    return this.#end.signal;
  }

  /** Line by line over what stands there: nothing flickers, and what does not fit is left out. */
  draw(lines: (columns: number) => readonly string[]): void {
    const columns = process.stdout.columns || 80; // a terminal may not tell its size
    const rows = process.stdout.rows || 24;
    const shown = lines(columns).slice(0, rows);
    process.stdout.write(`\x1b[H${shown.map((line) => `${line}\x1b[K`).join("\r\n")}\x1b[J`);
  }

  close(): void {
    process.off("exit", this.#restore);
    process.off("SIGINT", this.#interrupt).off("SIGTERM", this.#interrupt);
    if (process.stdin.isTTY) process.stdin.setRawMode(false).off("data", this.#key).pause();
    this.#restore();
  }
}

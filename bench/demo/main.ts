// npm run demo: a broker, three devices that measure this machine, and a backend that commands them; until Ctrl-C, or for --seconds N.

import { fork, type ChildProcess } from "node:child_process";
import { setTimeout as sleep } from "node:timers/promises";
import { parseArgs } from "node:util";

import { EXIT } from "../../src/cli/exit.ts";
import { note, styled } from "../../src/cli/output.ts";
import { SETTINGS } from "../../src/config.ts";
import { firstWord, sibling, stopped } from "../processes.ts";
import type { BrokerReady } from "./broker.ts";

/** Each device and what it measures at first. */
const DEVICES = [["sensor-1", "cpu"], ["sensor-2", "mem"], ["sensor-3", "net"]] as const;
/** A timer can wait no longer. */
const MOST_SECONDS = 2_147_483;

const { seconds, ...place } = options();
const children: ChildProcess[] = [];
const stop = new AbortController();

/** Children are out of the terminal's reach (each in a group of its own), so that Ctrl-C comes here first and they end in order. */
function start(path: string, ...words: string[]): ChildProcess {
  const child = fork(sibling(`./demo/${path}`), words, { detached: true });
  children.push(child);
  child.once("exit", (code) => stop.signal.aborted || process.exit(code ?? 1)); // Too early; it has said why.
  return child;
}

for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.once(signal, () => stop.abort());
process.stderr.on("error", () => {}); // A terminal that was closed takes no notes, and the end goes on in order.
process.once("exit", () => children.forEach((child) => child.kill("SIGKILL"))); // Whatever happens here, nothing is left behind.

const broker = start("broker", JSON.stringify(place));
const { http, device, data } = (await firstWord(broker)) as BrokerReady;
note(`${styled(process.stderr, "bold", "Bellhop is ready")}: devices ${device}, HTTP ${http}, data ${data}`);
note(`Three devices measure this machine and act on commands (←).\nA backend reads their streams and commands them (→). ${styled(process.stderr, "bold", "Ctrl-C ends it.")}\n`);
const backend = start("backend", http, ...DEVICES.map(([name]) => name));
await firstWord(backend); // It follows the streams from here on, and misses nothing.
const devices = DEVICES.map(([name, report]) => start("device", device, name, report));

await sleep(seconds * 1000, undefined, { signal: stop.signal }).catch(() => undefined);
stop.abort();
await stopped(backend); // It sums up.
await Promise.all(devices.map(stopped));
await stopped(broker);

const words = Object.entries(place).map(([name, value]) => ` --${name} ${value}`);
const at = http === SETTINGS.http.default ? "" : ` --at ${http}`;
note(`The streams are in ${data}. Try next:\n  npx bellhop start${words.join("")}\nand in another terminal:\n  npx bellhop follow sensor-1 --after 0${at}\n  npx bellhop explain sensor-1${at}`);
process.exit(backend.exitCode ?? 1);

/** How long, and what `bellhop start` is told about the place. */
function options(): { readonly seconds: number; readonly http?: string; readonly device?: string; readonly data?: string } {
  try {
    const text = { type: "string" } as const;
    const { seconds: asked = String(MOST_SECONDS), ...rest } = parseArgs({ options: { seconds: text, http: text, device: text, data: text } }).values;
    const chosen = Number(asked);
    if (!(chosen >= 1 && chosen <= MOST_SECONDS)) throw new Error(`--seconds ${asked} is none of 1 to ${MOST_SECONDS}.`);
    return { seconds: chosen, ...rest };
  } catch (error) {
    note(`error usage: ${(error as Error).message}\n  next: npm run demo -- [--seconds N] [--http HOST:PORT] [--device HOST:PORT] [--data DIR]`);
    process.exit(EXIT.usage.code);
  }
}

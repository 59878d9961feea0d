// npm run demo: a broker, three devices that measure this machine, and a backend that commands them; until Ctrl-C, or for --seconds N.

import { fork, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { setTimeout as sleep } from "node:timers/promises";
import { parseArgs } from "node:util";

import { note, styled } from "../../src/cli/output.ts";
import { SETTINGS } from "../../src/config.ts";
import { firstWord, sibling, stopped } from "../processes.ts";
import type { DemoSummary } from "./backend.ts";

/** Each device and what it measures at first. */
const DEVICES = [["cpu", "cpu"], ["memory", "mem"], ["network", "net"]] as const;

const { values } = parseArgs({
  options: {
    seconds: { type: "string" },
    data: { type: "string", default: SETTINGS.data.default },
    http: { type: "string", default: SETTINGS.http.default },
    device: { type: "string", default: SETTINGS.device.default },
  },
});
const children: ChildProcess[] = [];
const stop = new AbortController();

/** Children are out of the terminal's reach (each in a group of its own), so that Ctrl-C comes here first and they end in order. */
function start(path: string, ...words: string[]): ChildProcess {
  const child = fork(sibling(path), words, { detached: true });
  children.push(child);
  return child;
}

process.once("SIGINT", () => stop.abort()).once("SIGTERM", () => stop.abort());
process.once("exit", () => children.forEach((child) => child.kill("SIGKILL"))); // Whatever happens here, nothing is left behind.

const broker = start("../src/main", "start", "--data", values.data, "--http", values.http, "--device", values.device, "--log-level", "warn");
broker.once("exit", (code) => stop.signal.aborted || process.exit(code ?? 1)); // It has said why.
await firstWord(broker);
note(`\nThree devices measure this machine and act on commands (←).\nA backend reads their streams and commands them (→). ${styled(process.stderr, "bold", "Ctrl-C ends it.")}\n`);
const backend = start("./demo/backend", values.http, ...DEVICES.map(([name]) => name));
await firstWord(backend); // It follows the streams from here on, and misses nothing.
const devices = DEVICES.map(([name, report]) => start("./demo/device", values.device, name, report));

await sleep(values.seconds === undefined ? 2 ** 31 - 1 : Number(values.seconds) * 1000, undefined, { signal: stop.signal }).catch(() => undefined);
stop.abort();
const told = once(backend, "message") as Promise<[DemoSummary]>;
backend.send("stop");
const [summary] = await told;
await Promise.all(devices.map(stopped));
await stopped(broker);

note(
  `\nIn all: ${summary.messages} messages, ${summary.commands} commands, ${summary.actedOn} of them acted on, ${summary.missingOffsets} offsets missing.` +
    `\nThe streams are in ${values.data}. Try next:\n  npx bellhop start${values.data === SETTINGS.data.default ? "" : ` --data ${values.data}`}\n  npx bellhop follow cpu --after 0    in another terminal\n  npx bellhop explain cpu`,
);
process.exit(summary.missingOffsets === 0 && summary.messages > 0 ? 0 : 1);

// The demo's backend, a process of its own: follows every device's stream over HTTP, answers with commands, prints what happens.
// What it says it has learned from the streams alone: what a device measures, whether it acted on a command, whether an offset is missing.

import { randomUUID } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";

import { call, open } from "../../src/cli/call.ts";
import type { ShownEntry } from "../../src/cli/entry.ts";
import { endWithReader, note, print, styled } from "../../src/cli/output.ts";
import { serverEvents } from "../../src/cli/sse.ts";
import { endWithParent } from "./parent.ts";

const SUMMARY_MS = 2_000;
/** Three of them fit into 80 columns. */
const READING_WIDTH = 13;
/** Every second summary, the next device gets the next command. */
const COMMANDS = ["burst 100", "interval 200", "report load", "burst 100", "interval 1000", "report mem", "report net", "report cpu"] as const;
/** A broken stream is asked for again after this. */
const AGAIN_MS = 500;

type Content = Readonly<Record<string, unknown>>;

/** What the backend knows of a device. */
class Watched {
  readonly name: string;
  latest: Content = {};
  messages = 0;
  /** Messages of a burst since the last command. */
  burst = 0;
  missingOffsets = 0;
  /** The last offset seen; undefined until it follows the stream. */
  offset: number | undefined;
  command: { readonly text: string; readonly sentAt: number } | undefined;

  constructor(name: string) {
    this.name = name;
  }
}

const [at = "", ...names] = process.argv.slice(2);
const devices = names.map((name) => new Watched(name));
let commands = 0;
let actedOn = 0;

endWithParent();
endWithReader();
process.once("SIGTERM", () => {
  const total = (of: (device: Watched) => number): number => devices.reduce((sum, device) => sum + of(device), 0);
  const messages = total((device) => device.messages);
  const missing = total((device) => device.missingOffsets);
  note(`\nIn all: ${messages} messages, ${commands} commands, ${actedOn} of them acted on, ${missing} offsets missing.`);
  process.exit(missing === 0 && messages > 0 ? 0 : 1);
});

let following = 0;
await Promise.all([...devices.map(follow), command()]);

/** Follows one stream, from now on, over broken connections. */
async function follow(device: Watched): Promise<void> {
  const known = await call(at, { path: `/v1/devices/${device.name}`, accept: [404] });
  device.offset = known.status === 404 ? 0 : Number((known.body as { end: string }).end);
  while (true) {
    try {
      const response = await open(at, { path: `/v1/devices/${device.name}/stream?after=${device.offset}`, headers: { accept: "text/event-stream" } });
      if (response.body === null) continue;
      following += 1;
      if (following === devices.length) process.send!("following");
      for await (const { event, data } of serverEvents(response.body)) if (event !== "gap") await take(device, JSON.parse(data) as ShownEntry);
    } catch (error) {
      say(device, "!", `the stream broke (${error instanceof Error ? error.message : String(error)}); reading on after offset ${device.offset}`);
    }
    await sleep(AGAIN_MS);
  }
}

async function take(device: Watched, entry: ShownEntry): Promise<void> {
  const offset = Number(entry.offset);
  device.missingOffsets += offset - device.offset! - 1;
  device.offset = offset;
  if (entry.type === "presence") return say(device, "●", (entry.payload as Content)["connected"] === true ? "connected" : "disconnected");
  if (entry.type !== "uplink") return;
  device.messages += 1;
  const content = entry.payload as Content;
  if (content["report"] !== undefined) device.latest = content;
  if (content["burst"] !== undefined) device.burst += 1;
  if (content["did"] === undefined || device.command?.text !== content["did"]) return;

  const { text, sentAt } = device.command;
  device.command = undefined;
  actedOn += 1;
  const took = Math.round(performance.now() - sentAt);
  if (text.startsWith("burst")) return say(device, "←", `${text}: ${device.burst} messages in ${took} ms, up to offset ${offset}`);
  const { body } = await call(at, { path: `/v1/devices/${device.name}/state?at=${offset}` });
  const { report, interval } = (body as { reported: { document: Content } }).reported.document;
  say(device, "←", `${text}: done in ${took} ms; its state: ${String(report)} every ${String(interval)} ms`);
}

async function command(): Promise<void> {
  for (let round = 0; ; round += 1) {
    await sleep(SUMMARY_MS);
    print(`${clock()}  ${devices.map((device) => `${device.name} ${inWords(device.latest).padEnd(READING_WIDTH)}`).join("  ").trimEnd()}`);
    const device = devices[(round >> 1) % devices.length]!;
    if (round % 2 === 1 || device.offset === undefined || device.command !== undefined) continue;
    const text = COMMANDS[(round >> 1) % COMMANDS.length]!;
    device.command = { text, sentAt: performance.now() };
    device.burst = 0;
    commands += 1;
    const headers = { "content-type": "text/plain", "idempotency-key": randomUUID() };
    const { body } = await call(at, { method: "POST", path: `/v1/devices/${device.name}/messages`, headers, body: text });
    say(device, "→", `${text} (on disk at offset ${(body as { offset: string }).offset})`);
  }
}

function say(device: Watched, arrow: string, text: string): void {
  print(`${clock()}  ${styled(process.stdout, "bold", device.name)} ${arrow} ${text}`);
}

function clock(): string {
  return styled(process.stdout, "dim", new Date().toTimeString().slice(0, 8));
}

function inWords(reading: Content): string {
  const value = (name: string): number => Number(reading[name]);
  switch (reading["report"]) {
    case "cpu":
      return `cpu ${Math.round(value("busyPercent"))} %`;
    case "mem":
      return `mem ${Math.round(100 * (1 - value("availableMiB") / value("totalMiB")))} %`;
    case "net": {
      const kilobytes = value("receivedBytesPerSecond") / 1000;
      return kilobytes < 1000 ? `net ${Math.round(kilobytes)} kB/s` : `net ${(kilobytes / 1000).toFixed(1)} MB/s`;
    }
    case "load":
      return `load ${value("oneMinute").toFixed(1)}`;
    default:
      return "…";
  }
}

// bellhop explain: where a device's stream is, who leads it, and what it waits for and why.

import { Command } from "commander";

import { call } from "./call.ts";
import { entryLine, type ShownEntry } from "./entry.ts";
import { devicePath, withAt, withExamples, type AtOption } from "./options.ts";
import { facts, printResult } from "./output.ts";

interface Explanation {
  readonly device: string;
  readonly connected: boolean;
  readonly end: string;
  readonly earliest: string;
  readonly delivered: string;
  readonly handled: string;
  readonly session: string;
  readonly lastSeries: string;
  readonly lastTime: string | null;
  readonly bucket: number;
  readonly leader: string;
  readonly epoch: number;
  readonly members: readonly string[];
  readonly window: number;
  readonly followers: number;
  readonly commit: string;
  readonly applied: string;
  readonly waits: { readonly messages: number; readonly bytes: number; readonly why: string } | null;
  readonly offset?: { readonly offset: string; readonly is: string; readonly entry?: ShownEntry };
  readonly key?: { readonly key: string; readonly is: string; readonly offset: string; readonly position: string };
}

export function explainCommand(): Command {
  const command = withAt(new Command("explain"))
    .description("say where a device's stream is, who leads it, and what waits for it and why")
    .argument("<device>", "id of the device")
    .argument("[offset-or-key]", "also say what became of this offset (digits) or idempotency key");
  withExamples(command, ["bellhop explain lamp-1", "bellhop explain lamp-1 42", "bellhop explain lamp-1 order-7731 -o json"]);
  return command.action(explain);
}

async function explain(device: string, about: string | undefined, options: AtOption): Promise<void> {
  const query = about === undefined ? "" : `?${/^\d+$/.test(about) ? "offset" : "key"}=${encodeURIComponent(about)}`;
  const explanation = (await call(options.at, { path: devicePath(device, `/explain${query}`) })).body as Explanation;
  printResult(options.output, explanation, () => inWords(explanation));
}

function inWords(of: Explanation): string {
  const pairs: [string, string][] = [
    ["device", `${of.device}, ${of.connected ? "connected" : "not connected"}${of.lastTime === null ? "" : `; last entry ${of.lastTime}`}`],
    ["stream", Number(of.end) === 0 ? "empty" : `offsets ${of.earliest} to ${of.end}`],
    ["bucket", `${of.bucket}, led by ${of.leader} in epoch ${of.epoch}; copies on ${of.members.join(", ")}`],
    ["session", of.session === "0" ? "none yet" : `${of.session}; last number taken ${of.lastSeries}; window ${of.window}`],
    ["cursor", `delivered up to ${of.delivered}, handled up to ${of.handled}`],
    ["followers", String(of.followers)],
    ["log", `committed up to index ${of.commit}, applied up to ${of.applied}`],
    ["waits", of.waits === null ? "for nothing" : `${of.waits.messages} messages, ${of.waits.bytes} bytes: ${of.waits.why}`],
  ];
  if (of.offset !== undefined && of.key === undefined) pairs.push([`offset ${of.offset.offset}`, of.offset.is]);
  if (of.key !== undefined) pairs.push([`key ${of.key.key}`, keyInWords(of.key)]);
  const text = facts(pairs);
  return of.offset?.entry === undefined ? text : `${text}\n${entryLine(of.offset.entry)}`;
}

function keyInWords(key: NonNullable<Explanation["key"]>): string {
  if (key.is === "stored") return `stored at offset ${key.offset}`;
  if (key.is === "absent") return `not stored up to index ${key.position}`;
  return "forgotten: older than keys are kept";
}

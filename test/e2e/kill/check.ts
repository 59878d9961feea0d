// The history of a run against the streams that the broker has: everything answered is there, once, in order, at its offset, without a hole.

import { readdirSync } from "node:fs";
import { readJournal } from "./journal.ts";

export interface Verdict {
  readonly violations: readonly string[];
  readonly answeredByDevices: number;
  readonly answeredByBackends: number;
  readonly entries: number;
}

interface Entry {
  readonly offset: string;
  readonly type: string;
  readonly series: string | number;
  readonly payload: unknown;
}

/** @param killed devices whose own process was killed too: what they had not yet put in their outbox may be missing, unanswered */
export async function check(http: string, folder: string, killed: ReadonlySet<string>): Promise<Verdict> {
  const violations: string[] = [];
  const streams = new Map<string, Entry[]>();
  const journals = readdirSync(folder).filter((name) => name.endsWith(".journal"));
  let answeredByDevices = 0;
  let entries = 0;
  for (const file of journals.filter((name) => name.startsWith("device-"))) {
    const device = file.replace(".journal", "");
    const stream = await readStream(http, device);
    streams.set(device, stream);
    entries += stream.length;
    answeredByDevices += checkDevice(device, stream, readJournal(`${folder}/${file}`), killed.has(device), violations);
  }
  let answeredByBackends = 0;
  for (const file of journals.filter((name) => name.startsWith("backend-"))) answeredByBackends += checkBackend(readJournal(`${folder}/${file}`), streams, violations);
  return { violations, answeredByDevices, answeredByBackends, entries };
}

function checkDevice(device: string, stream: readonly Entry[], journal: readonly string[], wasKilled: boolean, violations: string[]): number {
  for (const [i, entry] of stream.entries()) if (entry.offset !== String(i + 1)) violations.push(`${device}: offset ${entry.offset} stands where ${i + 1} should`);
  const stored = stream.filter(({ type }) => type === "uplink").map(({ payload }) => Number(String(payload).split(" ")[1]));
  let before = 0;
  for (const number of stored) {
    if (number <= before) violations.push(`${device}: ${number} came after ${before}`);
    else if (number !== before + 1 && !wasKilled) violations.push(`${device}: ${before + 1} … ${number - 1} are missing before ${number}`);
    before = number;
  }
  const has = new Set(stored);
  if (has.size !== stored.length) violations.push(`${device}: ${stored.length - has.size} messages are stored twice`);
  let answered = 0;
  for (const line of journal) {
    if (line.startsWith("b ") || line.startsWith("r ")) violations.push(`${device}: ${line}`);
    if (!line.startsWith("a ")) continue;
    answered += 1;
    if (!has.has(Number(line.slice(2)))) violations.push(`${device}: ${line.slice(2)} was answered and is not in the stream`);
  }
  return answered;
}

function checkBackend(journal: readonly string[], streams: ReadonlyMap<string, readonly Entry[]>, violations: string[]): number {
  let answered = 0;
  for (const line of journal) {
    const [what, device, key, offset] = line.split(" ") as [string, string, string, string];
    const stream = streams.get(device) ?? [];
    if (what === "r") violations.push(`backend: ${line}`);
    if (what !== "a") continue;
    answered += 1;
    if (stream[Number(offset) - 1]?.payload !== key) violations.push(`${device}: ${key} was answered with offset ${offset}, where ${JSON.stringify(stream[Number(offset) - 1])} stands`);
  }
  const keys = new Set(journal.map((line) => line.split(" ")[2]));
  for (const [device, stream] of streams) {
    const stored = stream.filter(({ type, payload }) => type === "downlink" && keys.has(String(payload))).map(({ payload }) => payload);
    if (new Set(stored).size !== stored.length) violations.push(`${device}: a key is stored twice`);
  }
  return answered;
}

async function readStream(http: string, device: string): Promise<Entry[]> {
  const all: Entry[] = [];
  for (let after = "0"; ; ) {
    const answer = await fetch(`http://${http}/v1/devices/${device}/stream?after=${after}&limit=1000`);
    if (!answer.ok) throw new Error(`${device}'s stream: ${answer.status} ${await answer.text()}`);
    const page = (await answer.json()) as { entries: Entry[]; next: string };
    all.push(...page.entries);
    if (page.entries.length === 0) return all;
    after = page.next;
  }
}

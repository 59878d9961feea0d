// The bytes of the embedded control log. Folder `control` of the data directory:
//
//   log                      a head line, then a line for each entry after the head's `after`
//   snapshot                 a line {"v","position","bytes","crc"}, then the state's bytes; absent at first
//   kept                     of a node in a cluster: its copy of the cluster's control log, in the snapshot's form (kept.ts)
//   archive/FIRST-LAST.log   in the log's form: entries that a snapshot has taken the place of, kept so that any past routing can be
//                            explained (C9); two may overlap after a crash
//
// A line is the crc32c of its JSON in eight hex digits, a space, the JSON, a line feed. Head: {"v","after","synced"}. Entry:
// {"v","position","synced","id","commands"}, positions rising by one. `synced` is the last position known to be durable when the line was
// written: damage above the greatest one found is a torn tail and is left out, damage at or below it is an error (R21). An unknown `v` is
// an error. A log is written anew at every opening, so that nothing is served that only an earlier process had written (R23).

import { mkdir, open, readFile, readdir, rename } from "node:fs/promises";
import { dirname, join } from "node:path";

import { crc32c } from "../base/crc32c.ts";
import { BellhopError } from "../base/errors.ts";
import type { ControlEntry, ControlSnapshot } from "./port.ts";

const FORMAT = 1;
const CRC_DIGITS = 8;
const LINE_FEED = 0x0a;
/** Ends the name of a file that is being written; what a crash left of one is written over. */
const UNFINISHED = ".new";

/** A batch's line, in bytes, at most. */
export const LINE_MAX = 1024 * 1024;

export interface LogContent {
  /** The position before the first entry's. */
  readonly after: number;
  readonly entries: readonly ControlEntry[];
}

interface Line extends ControlEntry {
  readonly v: number;
  readonly after: number;
  readonly synced: number;
}

export function controlFolder(dataDirectory: string): string {
  return join(dataDirectory, "control");
}

/** @throws BellhopError `too_large` above LINE_MAX */
export function encodeEntry({ position, id, commands }: ControlEntry, synced: number): Buffer {
  const line = encodeLine({ v: FORMAT, position, synced, id, commands });
  if (line.length > LINE_MAX) throw new BellhopError("too_large", `A batch of control commands takes ${LINE_MAX} bytes at most, this one ${line.length}.`);
  return line;
}

function encodeLine(content: object): Buffer {
  const json = Buffer.from(JSON.stringify(content));
  return Buffer.concat([Buffer.from(`${checksum(json)} `), json, Buffer.from([LINE_FEED])]);
}

/** What a log file holds, without its torn tail; undefined where there is none. @throws BellhopError on damage and on an unknown version */
export async function readLog(path: string): Promise<LogContent | undefined> {
  const bytes = await readIfThere(path);
  if (bytes === undefined) return undefined;
  const lines = decodeLines(bytes, path);
  const head = lines[0];
  if (head?.after === undefined) throw damaged(path, "its head is damaged");
  const entries: ControlEntry[] = [];
  const synced = lines.reduce((greatest, line) => Math.max(greatest, line?.synced ?? 0), 0);
  for (const line of lines.slice(1)) {
    const next = head.after + entries.length + 1;
    if (line === undefined) break;
    if (line.position !== next) throw damaged(path, `position ${line.position} follows ${next - 1}`);
    entries.push({ position: line.position, id: line.id, commands: line.commands });
  }
  const last = head.after + entries.length;
  if (last < synced) throw damaged(path, `the entry at position ${last + 1} is damaged or gone, and it had been durable`);
  return { after: head.after, entries };
}

/** Undefined stands for a line that is not whole. */
function decodeLines(bytes: Buffer, path: string): (Line | undefined)[] {
  const lines: (Line | undefined)[] = [];
  for (let start = 0; start < bytes.length; ) {
    const feed = bytes.indexOf(LINE_FEED, start);
    const end = feed === -1 ? bytes.length : feed;
    const json = bytes.subarray(Math.min(end, start + CRC_DIGITS + 1), end);
    const isWhole = feed !== -1 && bytes.toString("latin1", start, start + CRC_DIGITS + 1) === `${checksum(json)} `;
    const line = isWhole ? (JSON.parse(json.toString()) as Line) : undefined;
    if (line !== undefined && line.v !== FORMAT) throw newer(path, line.v);
    lines.push(line);
    start = end + 1;
  }
  return lines;
}

export async function readSnapshot(folder: string): Promise<ControlSnapshot> {
  const found = await readState<{ position: number }>(join(folder, "snapshot"));
  return found === undefined ? { position: 0, state: new Uint8Array() } : { position: found.head.position, state: found.state };
}

export async function writeSnapshot(folder: string, { position, state }: ControlSnapshot): Promise<void> {
  await writeState(folder, "snapshot", { position }, state);
}

interface StateHead {
  readonly v: number;
  readonly bytes: number;
  readonly crc: string;
}

/** A state behind its head line; undefined where there is none. @throws BellhopError on damage and on an unknown version */
export async function readState<Head extends object>(path: string): Promise<{ readonly head: Head; readonly state: Uint8Array } | undefined> {
  const bytes = await readIfThere(path);
  if (bytes === undefined) return undefined;
  const feed = bytes.indexOf(LINE_FEED);
  const state = new Uint8Array(bytes.subarray(feed + 1));
  const head = parseHead<Head>(bytes.subarray(0, Math.max(0, feed)).toString());
  if (head !== undefined && head.v !== FORMAT) throw newer(path, head.v);
  if (head === undefined || head.bytes !== state.length || head.crc !== checksum(state)) throw damaged(path, "its checksum does not agree");
  return { head, state };
}

export async function writeState(folder: string, name: string, more: object, state: Uint8Array): Promise<void> {
  const head = JSON.stringify({ v: FORMAT, ...more, bytes: state.length, crc: checksum(state) });
  await writeWhole(folder, name, [Buffer.from(`${head}\n`), state]);
}

function parseHead<Head extends object>(text: string): (StateHead & Head) | undefined {
  try {
    return JSON.parse(text) as StateHead & Head;
  } catch {
    return undefined;
  }
}

/** @param name the file's path within the folder; its entries are the ones after `after`. Answers its size in bytes. */
export async function writeLog(folder: string, name: string, { after, entries }: LogContent): Promise<number> {
  const synced = after + entries.length; // true as soon as the file has its name
  const lines = [encodeLine({ v: FORMAT, after, synced }), ...entries.map((entry) => encodeEntry(entry, synced))];
  await writeWhole(folder, name, lines);
  return lines.reduce((size, line) => size + line.length, 0);
}

/** Durable and atomic: after a crash there is the old file or the new one. */
async function writeWhole(folder: string, name: string, parts: readonly Uint8Array[]): Promise<void> {
  const path = join(folder, name);
  const file = await open(`${path}${UNFINISHED}`, "w", 0o600);
  try {
    for (const part of parts) await file.writeFile(part);
    await file.sync();
  } finally {
    await file.close();
  }
  await rename(`${path}${UNFINISHED}`, path);
  await syncFolder(dirname(path));
}

async function syncFolder(folder: string): Promise<void> {
  const handle = await open(folder, "r");
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

export function archiveName(first: number, last: number): string {
  const digits = (position: number): string => String(position).padStart(16, "0");
  return join("archive", `${digits(first)}-${digits(last)}.log`);
}

/** Paths of the archived logs, oldest first; they may overlap. */
export async function archives(folder: string): Promise<string[]> {
  const names = await readdir(join(folder, "archive")).catch(ifThere);
  return (names ?? []).filter((name) => name.endsWith(".log")).toSorted().map((name) => join(folder, "archive", name));
}

/** Makes the folders where they are missing. */
export async function makeFolder(dataDirectory: string): Promise<string> {
  const folder = controlFolder(dataDirectory);
  await mkdir(join(folder, "archive"), { recursive: true, mode: 0o700 });
  for (const made of [folder, dataDirectory]) await syncFolder(made);
  return folder;
}

async function readIfThere(path: string): Promise<Buffer | undefined> {
  return readFile(path).catch(ifThere);
}

function ifThere(error: NodeJS.ErrnoException): undefined {
  if (error.code !== "ENOENT") throw error;
}

function newer(path: string, version: number): BellhopError {
  return new BellhopError("internal", `The control log ${path} cannot be used: version ${version} of its format is not known to this Bellhop, a newer one is needed.`);
}

function damaged(path: string, why: string): BellhopError {
  return new BellhopError("internal", `The control log ${path} cannot be used: ${why}. Restore the data directory from a copy.`);
}

function checksum(bytes: Uint8Array): string {
  const crc = crc32c(new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength), 0, bytes.byteLength);
  return crc.toString(16).padStart(CRC_DIGITS, "0");
}

// A device's record: its stream's end, its sessions, its receive cursor and the open chunk of its index.

import { assert } from "../../base/assert.ts";
import { DEVICE_PUBLISHER } from "../hop.ts";
import { Reader, Writer } from "./bytes.ts";
import { CHUNK_ENTRIES, readIndexes, writeIndexes } from "./chunk.ts";
import { readCredential, writeCredential, type Credential } from "./credentials.ts";
import { readSession, writeSession, type Session } from "./session.ts";

/** 2: with credentials. A record of version 1 has none. */
const VERSION = 2;

/** How much of a device's stream is kept; 0 each: as much as the broker keeps. */
export interface Retain {
  readonly seconds: number;
  readonly entries: number;
}

export const KEEP_ALL: Retain = { seconds: 0, entries: 0 };

export class Device {
  readonly id: string;
  /** Log index that made it known; a device of this name that was removed before had another. */
  readonly since: number;
  /** Last offset of its stream; 0 when it has none. */
  end = 0;
  /** Milliseconds since 1970 of the last entry. */
  lastTime = 0;
  /** Receive cursor (R35). */
  delivered = 0;
  handled = 0;
  /** First offset that the device's own retention keeps; the log's floor may be above it. At most end + 1, never falls. */
  first = 1;
  retain: Retain = KEEP_ALL;
  /** Ascending by publisher, at most one for each. */
  sessions: Session[] = [];
  /** In the order they were put, at most MOST_CREDENTIALS; the names differ. */
  credentials: readonly Credential[] = [];
  /** Number of the first sealed chunk that is kept, and the log index of its last entry (0: it has no sealed chunk). */
  firstChunk = 0;
  firstChunkEnd = 0;
  /** Log indexes of the offsets after the last sealed chunk. end = sealed × 128 + open.length. */
  open: number[] = [];
  /** Not state: changed since it was last encoded; someone watches its stream. */
  dirty = false;
  watched = false;
  /** Not state either: how the names of its keys' records begin, once it was asked for. */
  keysName = "";

  constructor(id: string, since: number) {
    this.id = id;
    this.since = since;
  }

  /** Count of chunks sealed so far, the dropped ones included. */
  get sealed(): number {
    return (this.end - this.open.length) / CHUNK_ENTRIES;
  }

  session(publisher: string): Session | undefined {
    for (const session of this.sessions) if (session.publisher === publisher) return session;
    return undefined;
  }

  /** The current session of this number. */
  numbered(number: number): Session | undefined {
    for (const session of this.sessions) if (session.number === number) return session;
    return undefined;
  }

  /** The device's own session: its presence. */
  get own(): Session | undefined {
    return this.session(DEVICE_PUBLISHER);
  }

  /** Puts the session in the place of its publisher's former one. */
  put(session: Session): void {
    this.sessions = [...this.sessions.filter(({ publisher }) => publisher !== session.publisher), session];
    this.sessions.sort((a, b) => (a.publisher < b.publisher ? -1 : 1));
  }
}

const out = new Writer();

export function encodeDevice(device: Device): Uint8Array {
  out.u8(VERSION).text(device.id).integer(device.since).integer(device.end).integer(device.lastTime);
  out.integer(device.delivered).integer(device.handled).integer(device.firstChunk).integer(device.firstChunkEnd);
  out.integer(device.first).integer(device.retain.seconds).integer(device.retain.entries);
  writeIndexes(out, device.open);
  out.integer(device.sessions.length);
  for (const session of device.sessions) writeSession(out, session);
  out.integer(device.credentials.length);
  for (const credential of device.credentials) writeCredential(out, credential);
  return out.take();
}

export function decodeDevice(bytes: Uint8Array): Device {
  const from = new Reader(bytes);
  const version = from.u8();
  assert(version === 1 || version === VERSION, "a device record has a known version");
  const device = new Device(from.text(), from.integer());
  device.end = from.integer();
  device.lastTime = from.integer();
  device.delivered = from.integer();
  device.handled = from.integer();
  device.firstChunk = from.integer();
  device.firstChunkEnd = from.integer();
  device.first = from.integer();
  device.retain = { seconds: from.integer(), entries: from.integer() };
  device.open = readIndexes(from);
  const sessions = from.integer();
  for (let i = 0; i < sessions; i += 1) device.sessions.push(readSession(from, device));
  if (version > 1) device.credentials = Array.from({ length: from.integer() }, () => readCredential(from));
  assert(from.done, "a device record ends where its fields end");
  return device;
}

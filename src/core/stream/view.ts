// What readers are shown of a stream: log entries as entries of one device's stream (pure), and where its offsets are in the log.

import { assert } from "../../base/assert.ts";
import { ENTRY_KIND, type Entry } from "../entry.ts";
import { DEVICE_PUBLISHER, PUBLISH_KIND } from "../hop.ts";
import { payloadOf } from "./body.ts";
import { utf8 } from "./bytes.ts";
import { chunkOf, CHUNK_ENTRIES } from "./chunk.ts";
import { COMMAND, commandOf, decodeCommand, publishBody, publishDevice, publishKind, publishPublisher, publishSeries, publishSession } from "./commands.ts";
import type { Device } from "./device.ts";
import type { StreamMachine } from "./machine.ts";

/** Types of entries, as bits for watchers. */
export const STREAM_TYPE = { uplink: 1, downlink: 2, presence: 4, state: 8 } as const;

/** Told to watchers beside those bits: the device was removed. */
export const REMOVED_TYPE = 16;

/** The publisher name shown for what a backend sent without a session: under a key, or as a change of state. */
export const BACKEND = "backend";

export interface View {
  readonly offset: number;
  readonly time: number;
  readonly type: keyof typeof STREAM_TYPE;
  readonly publisher: string;
  readonly session: number;
  readonly series: number;
  readonly body: Uint8Array;
  /** Of a backend's change of state: its traceparent, "" for none. */
  readonly trace?: string;
}

/** The log entry as the entry of this device's stream at this offset. */
export function view(entry: Entry, device: string, offset: number): View {
  const { payload, time } = entry;
  if (commandOf(payload) === COMMAND.publish) {
    const publisher = publishPublisher(payload);
    const place = { offset, time, publisher, session: publishSession(payload), series: publishSeries(payload) };
    const body = publishBody(payload);
    if (publishKind(payload) === PUBLISH_KIND.statePatch) return { ...place, type: "state", body: stateBody("reported", "patch", payloadOf(body)!) };
    return { ...place, type: publisher === DEVICE_PUBLISHER ? "uplink" : "downlink", body };
  }
  const command = decodeCommand(payload);
  switch (command.command) {
    case COMMAND.open:
      return presence(offset, time, entry.index, { connected: true });
    case COMMAND.attach:
      return presence(offset, time, command.session, { connected: true });
    case COMMAND.detach:
      return presence(offset, time, command.sessions.find((gone) => gone.device === device)?.session ?? 0, { connected: false, reason: command.reason });
    case COMMAND.keyed:
    case COMMAND.unkeyed:
      return { offset, time, type: "downlink", publisher: BACKEND, session: 0, series: 0, body: command.body };
    case COMMAND.state:
      return { offset, time, type: "state", publisher: BACKEND, session: 0, series: 0, body: stateBody(command.which, command.how, command.document), trace: command.trace };
    default:
      assert(false, "an entry with an offset is one that a stream shows");
  }
}

function presence(offset: number, time: number, session: number, what: { connected: boolean; reason?: string }): View {
  return { offset, time, type: "presence", publisher: DEVICE_PUBLISHER, session, series: 0, body: utf8(JSON.stringify({ ...what, session })) };
}

/** `{"which", "how", "document"}`; the document was found to be JSON when it was applied, so its text is put in as it is. */
function stateBody(which: string, how: string, document: Uint8Array): Uint8Array {
  const before = utf8(`{"which":"${which}","how":"${how}","document":`);
  const body = new Uint8Array(before.length + document.length + 1);
  body.set(before);
  body.set(document, before.length);
  body[body.length - 1] = 0x7d;
  return body;
}

/** First offset of the device's stream that is kept, by its own retention and by the log; end + 1 when there is none. */
export function earliest(machine: StreamMachine, device: Device): number {
  return Math.max(device.first, keptByLog(machine, device));
}

function keptByLog(machine: StreamMachine, device: Device): number {
  let low = device.firstChunk;
  let high = device.sealed;
  while (low < high) {
    const middle = Math.floor((low + high) / 2);
    if (machine.chunk(device, middle).at(-1)! < machine.floor) low = middle + 1;
    else high = middle;
  }
  const kept = machine.chunk(device, low).findIndex((index) => index >= machine.floor);
  return kept === -1 ? device.end + 1 : low * CHUNK_ENTRIES + kept + 1;
}

/** The log indexes of the offsets from … to that are kept, with the offset of the first; at most a stream's own. */
export function indexesOf(machine: StreamMachine, device: Device, from: number, to: number): { readonly first: number; readonly indexes: number[] } {
  const first = Math.max(from, earliest(machine, device));
  const last = Math.min(to, device.end);
  const indexes: number[] = [];
  for (let offset = first; offset <= last; ) {
    const chunk = chunkOf(offset);
    const within = machine.chunk(device, chunk).slice(offset - 1 - chunk * CHUNK_ENTRIES, last - chunk * CHUNK_ENTRIES);
    for (const index of within) indexes.push(index);
    offset += within.length;
  }
  return { first, indexes };
}

/** The devices whose streams a log entry may stand in. */
export function devicesOf(entry: Entry): readonly string[] {
  if (entry.kind !== ENTRY_KIND.machine) return [];
  if (commandOf(entry.payload) === COMMAND.publish) return [publishDevice(entry.payload)];
  const command = decodeCommand(entry.payload);
  switch (command.command) {
    case COMMAND.open:
    case COMMAND.attach:
    case COMMAND.keyed:
    case COMMAND.unkeyed:
    case COMMAND.state:
      return [command.device];
    case COMMAND.detach:
      return command.sessions.map(({ device }) => device);
    default:
      return [];
  }
}

/** Every device that a log entry tells something of. */
export function ownersOf(entry: Entry): readonly string[] {
  if (entry.kind !== ENTRY_KIND.machine) return [];
  if (commandOf(entry.payload) === COMMAND.publish) return [publishDevice(entry.payload)];
  const command = decodeCommand(entry.payload);
  if ("device" in command) return [command.device];
  if (command.command === COMMAND.detach) return command.sessions.map(({ device }) => device);
  return command.command === COMMAND.received ? command.cursors.map(({ device }) => device) : [];
}

/** The offset that the entry of this log index has in the device's stream; undefined when it has none: it changed nothing, or its place is forgotten. */
export function offsetAt(machine: StreamMachine, device: Device, index: number): number | undefined {
  let low = device.firstChunk;
  let high = device.sealed;
  if (index >= (device.open[0] ?? Infinity)) low = high; // mostly: the newest
  while (low < high) {
    const middle = Math.floor((low + high) / 2);
    if (machine.chunk(device, middle).at(-1)! < index) low = middle + 1;
    else high = middle;
  }
  const within = machine.chunk(device, low).lastIndexOf(index);
  return within === -1 ? undefined : low * CHUNK_ENTRIES + within + 1;
}

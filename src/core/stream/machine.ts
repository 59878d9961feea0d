// The replicated state machine of a bucket's streams: changed only by committed entries, in order, deterministically (R25–R27, R31–R33, R35).

import { assert } from "../../base/assert.ts";
import type { ErrorCode } from "../../base/errors.ts";
import { ENTRY_KIND, type Entry } from "../entry.ts";
import { PUBLISH_KIND, type GatewayId } from "../hop.ts";
import type { Machine } from "../replica/types.ts";
import { payloadOf } from "./body.ts";
import { Reader, Writer } from "./bytes.ts";
import { CHUNK_ENTRIES, decodeChunk, encodeChunk } from "./chunk.ts";
import {
  COMMAND, commandOf, decodeCommand, publishBody, publishCode, publishDevice, publishKind, publishSeries, publishSession, voidCode,
  type Attach, type Command, type Detach, type Keyed, type Open, type PutCredential, type Received, type RemoveCredential, type StateChange, type Trim, type Unkeyed,
} from "./commands.ts";
import { MOST_CREDENTIALS, sameDigest, VOUCHED } from "./credentials.ts";
import { Devices } from "./devices.ts";
import type { Device, Retain } from "./device.ts";
import { changed, decodeDocument, EMPTY_DOCUMENT, encodeDocument, type Document } from "./document.ts";
import { Keys } from "./keys.ts";
import { AGING, agingName, BUCKET_NAME, chunkName, documentName, RESENDS_NAME } from "./names.ts";
import { byName, Overlay, type RecordWrite, type StateReads } from "./overlay.ts";
import { Presence } from "./presence.ts";
import { Removals } from "./removals.ts";
import { Resends } from "./resends.ts";
import { older, type Applied, type Result } from "./results.ts";
import { isNext } from "./series.ts";
import { isOlder, rememberVoid, sessionNumber, type Session } from "./session.ts";
import { REMOVED_TYPE, STREAM_TYPE } from "./view.ts";

/** Chunks dropped at most when one is sealed: more than is added, and bounded. */
const DROPPED_AT_SEAL = 4;
const VERSION = 1;

export interface StreamLimits {
  /** Devices of one bucket kept in memory beside those that changed since the last checkpoint. */
  readonly cachedDevices: number;
}

export interface Checkpoint {
  readonly applied: number;
  readonly writes: readonly RecordWrite[];
}

export class StreamMachine implements Machine {
  readonly #records: Overlay;
  readonly #out = new Writer();
  readonly devices: Devices;
  readonly keys: Keys;
  readonly presence: Presence;
  readonly removals: Removals;
  readonly resends = new Resends();
  /** Set by the admission while it leads. */
  applied: Applied | undefined;
  /** Watched devices whose stream moved since `takeMoved`: the types that came, as bits. */
  #moved = new Map<string, number>();
  /** Log index applied last. */
  #index = 0;
  /** Log time: milliseconds since 1970 of the last entry (R32). */
  #time = 0;
  /** Entries below may be forgotten (R17). */
  #floor = 1;

  constructor(store: StateReads, limits: StreamLimits) {
    this.#records = new Overlay(store);
    this.devices = new Devices(this.#records, limits.cachedDevices);
    this.keys = new Keys(this.#records);
    this.presence = new Presence(this.#records);
    this.removals = new Removals(this.#records, this.keys);
    this.#load();
  }

  get index(): number {
    return this.#index;
  }

  get floor(): number {
    return this.#floor;
  }

  /** What the next checkpoint writes: devices that changed, and their keys, documents and chunks. */
  get dirtyDevices(): number {
    return this.devices.dirty + this.#records.changed;
  }

  apply(entry: Entry): void {
    assert(entry.index === this.#index + 1, "entries are applied in order, each once");
    assert(entry.time >= this.#time, "the log's time never falls");
    assert(entry.kind !== ENTRY_KIND.erased, "an entry whose payload was blanked is applied already");
    this.#index = entry.index;
    this.#time = entry.time; // R32
    if (entry.kind === ENTRY_KIND.machine) {
      if (commandOf(entry.payload) === COMMAND.publish) this.#publish(entry);
      else this.#command(entry, decodeCommand(entry.payload));
    } else if (entry.kind === ENTRY_KIND.floor) {
      const { payload } = entry;
      assert(payload.length === 6, "a floor entry names one index");
      this.#floor = Math.max(this.#floor, payload.reduce((sum, byte) => sum * 256 + byte, 0));
      this.removals.forgetBelow(this.#floor);
    }
    if (this.removals.left > 0) this.removals.drop();
  }

  // The hot path: a publish of a session.

  #publish({ index, time, payload }: Entry): void {
    const number = publishSession(payload);
    const series = publishSeries(payload);
    const session = this.applied?.publishing(number) ?? this.devices.session(number) ?? this.#loadSession(number, payload);
    if (session === undefined || !isNext(series, session.last)) { // R27: applying checks again
      this.applied?.lost(number);
      return;
    }
    session.last = series;
    const { device } = session;
    this.devices.touch(device);
    const kind = publishKind(payload);
    let code = publishCode(payload);
    if (kind === PUBLISH_KIND.message) {
      this.#append(device, index, time, session.publisher === "" ? STREAM_TYPE.uplink : STREAM_TYPE.downlink);
    } else if (kind === PUBLISH_KIND.statePatch && !this.#patchReported(device, index, time, publishBody(payload))) {
      code = voidCode("bad_document");
    }
    if (code !== 0) rememberVoid(session, series, code);
    this.applied?.published(session, series, code);
  }

  /** The session, where its device is not in memory. */
  #loadSession(number: number, payload: Uint8Array): Session | undefined {
    this.devices.find(publishDevice(payload));
    return this.devices.session(number);
  }

  #patchReported(device: Device, index: number, time: number, body: Uint8Array): boolean {
    const patch = payloadOf(body);
    const before = this.document(device.id, "reported");
    const text = patch === undefined ? undefined : changed(before, "patch", patch);
    if (text === undefined) return false;
    this.#write(device, index, time, "reported", { text, version: before.version + 1 });
    return true;
  }

  /** Gives the entry the device's next offset. */
  #append(device: Device, index: number, time: number, type: number): void {
    device.end += 1;
    device.lastTime = time;
    device.open.push(index);
    if (device.retain.entries > 0) keepLast(device);
    if (device.open.length === CHUNK_ENTRIES) this.#seal(device);
    if (device.watched) this.#moved.set(device.id, (this.#moved.get(device.id) ?? 0) | type);
  }

  #seal(device: Device): void {
    const chunk = device.sealed;
    this.#records.set(chunkName(device.id, device.since, chunk), encodeChunk(device.open));
    if (device.firstChunkEnd === 0) device.firstChunkEnd = device.open.at(-1)!;
    device.open = [];
    for (let left = DROPPED_AT_SEAL; left > 0 && device.firstChunk < chunk && this.#isForgotten(device, device.firstChunk); left -= 1) {
      this.#records.set(chunkName(device.id, device.since, device.firstChunk), undefined);
      device.firstChunk += 1;
      device.firstChunkEnd = this.chunk(device, device.firstChunk).at(-1)!;
    }
  }

  /** Every entry of the chunk, the first one that is kept, is below the log's floor or what the device keeps. */
  #isForgotten(device: Device, chunk: number): boolean {
    return device.firstChunkEnd < this.#floor || (chunk + 1) * CHUNK_ENTRIES < device.first;
  }

  // The other commands.

  #command(entry: Entry, command: Command): void {
    switch (command.command) {
      case COMMAND.open:
        return this.#tell(entry, this.#open(entry, command));
      case COMMAND.attach:
        return this.#tell(entry, this.#attach(entry, command));
      case COMMAND.detach:
        return this.#tell(entry, this.#detach(entry, command));
      case COMMAND.keyed:
        return this.#tell(entry, this.#keyed(entry, command));
      case COMMAND.unkeyed:
        return this.#tell(entry, this.#unkeyed(entry, command));
      case COMMAND.forgetGateway:
        return this.resends.forget(command.gateway.node, command.gateway.incarnation);
      case COMMAND.state:
        return this.#tell(entry, this.#state(entry, command));
      case COMMAND.received:
        for (const cursor of command.cursors) this.#received(cursor);
        return this.#tell(entry, DONE);
      case COMMAND.create:
        this.#create(entry.index, command.device, command.retain);
        return this.#tell(entry, DONE);
      case COMMAND.remove:
        return this.#tell(entry, this.#remove(entry.index, command.device));
      case COMMAND.putCredential:
        return this.#tell(entry, this.#putCredential(entry, command));
      case COMMAND.removeCredential:
        return this.#tell(entry, this.#removeCredential(command));
      case COMMAND.trim:
        return this.#trim(command);
      case COMMAND.sweep:
        return;
    }
  }

  #tell(entry: Entry, result: Result): void {
    this.applied?.result(entry.index, result);
  }

  #known(id: string, index: number): Device {
    return this.devices.find(id) ?? this.devices.add(id, index);
  }

  #open(entry: Entry, open: Open): Result {
    if (!this.#isHeld(open)) return failed("unauthenticated");
    const device = this.#known(open.device, entry.index);
    const former = device.session(open.publisher);
    if (former !== undefined && isOlder(open.nonce, former)) return older(former, former.number); // R25
    if (former !== undefined && open.nonce === former.nonce) return this.#join(entry, former, open.gateway); // R25: the same number
    if (former === undefined && device.sessions.length >= open.most) return failed("too_many_requests");
    if (former !== undefined) {
      this.#down(former);
      this.applied?.ended(former.number);
    }
    const session: Session = {
      last: 0, current: false, device, publisher: open.publisher, number: sessionNumber(open.generation, entry.index), window: open.window, nonce: open.nonce, generation: open.generation,
      attachment: 0, gateway: undefined, left: open.leaves, leftAt: leftAt(former, open.leaves), voids: [],
    };
    this.devices.touch(device);
    this.devices.put(device, session);
    return this.#join(entry, session, open.gateway);
  }

  #attach(entry: Entry, attach: Attach): Result {
    if (!this.#isHeld(attach)) return failed("unauthenticated");
    const session = this.devices.find(attach.device)?.session(attach.publisher);
    if (session === undefined) return { type: "broken", code: "broken", generation: attach.generation, last: 0, stored: undefined };
    if (isOlder(attach.nonce, session)) return older(session, attach.session); // R25
    const joins = attach.oldest - 1 <= session.last && session.last < attach.next; // R26
    if (attach.session !== session.number || attach.generation !== session.generation || !joins) {
      return { type: "broken", code: "broken", generation: attach.generation, last: session.last, stored: undefined };
    }
    session.nonce = attach.nonce;
    this.devices.touch(session.device);
    return this.#join(entry, session, attach.gateway);
  }

  /** The credential has not been removed while the open was in the tail (F4). */
  #isHeld({ device, credential }: Open | Attach): boolean {
    return credential === VOUCHED || this.devices.find(device)?.credentials.some(({ id }) => id === credential) === true;
  }

  /** Brings presence up under this entry, where a socket stands behind it (R33). */
  #join(entry: Entry, session: Session, gateway: GatewayId | undefined): Result {
    if (gateway !== undefined) {
      this.devices.touch(session.device);
      this.#down(session);
      session.attachment = entry.index;
      session.gateway = gateway;
      this.presence.up(session);
      this.#append(session.device, entry.index, entry.time, STREAM_TYPE.presence);
    }
    return { type: "attached", session, last: session.last, attachment: gateway === undefined ? 0 : session.attachment };
  }

  /** Presence is no longer up; what the stream is told is the caller's. */
  #down(session: Session): void {
    if (session.attachment === 0) return;
    this.presence.down(session);
    session.attachment = 0;
    session.gateway = undefined;
  }

  #detach(entry: Entry, detach: Detach): Result {
    for (const gone of detach.sessions) {
      const session = this.devices.find(gone.device)?.own;
      if (session === undefined || session.number !== gone.session || session.attachment !== gone.attachment) continue; // R33: only when current
      this.devices.touch(session.device);
      this.#down(session);
      this.#append(session.device, entry.index, entry.time, STREAM_TYPE.presence);
    }
    return DONE;
  }

  #keyed(entry: Entry, keyed: Keyed): Result {
    const known = this.devices.find(keyed.device);
    const name = this.keys.nameOf(known, keyed.device, keyed.key);
    const stored = known === undefined ? undefined : this.keys.find(known, name);
    if (stored !== undefined && stored.fingerprint !== keyed.fingerprint) return failed("key_reused"); // R31
    if (stored !== undefined) return { type: "stored", offset: stored.offset, duplicate: true };
    if (keyed.expires !== 0 && keyed.expires < entry.time) return failed("expired"); // R32: by log time
    this.keys.evict(entry.time, keyed.retention);
    if (!this.keys.hasRoom(keyed.device, keyed.key, entry.time, keyed.retention, keyed.space)) return failed("no_key_space"); // R31
    const device = this.#known(keyed.device, entry.index); // a message that is refused makes no device known
    this.devices.touch(device);
    this.#append(device, entry.index, entry.time, STREAM_TYPE.downlink);
    this.keys.add(device, keyed.key, name, { fingerprint: keyed.fingerprint, offset: device.end }, entry.time);
    return { type: "stored", offset: device.end, duplicate: false };
  }

  #unkeyed(entry: Entry, { device: id, gateway, number, least, expires }: Unkeyed): Result {
    const given = this.resends.find(gateway, number);
    if (given === 0) return failed("deadline"); // so late that nobody knows any more
    if (given !== undefined) return { type: "stored", offset: given, duplicate: false }; // R30: the cluster's own resend is no duplicate of its sender's
    if (expires !== 0 && expires < entry.time) return failed("expired"); // R32: by log time
    const device = this.#known(id, entry.index);
    this.devices.touch(device);
    this.#append(device, entry.index, entry.time, STREAM_TYPE.downlink);
    this.resends.add(gateway, number, least, device.end);
    return { type: "stored", offset: device.end, duplicate: false };
  }

  #state(entry: Entry, change: StateChange): Result {
    const before = this.document(change.device, change.which);
    const { version } = before;
    if (change.ifVersion !== undefined && change.ifVersion !== version) return failed("version_conflict", version);
    const text = changed(before, change.how, change.document);
    if (text === undefined) return failed("bad_document", version);
    const device = this.#known(change.device, entry.index); // a change that is refused makes no device known
    this.#write(device, entry.index, entry.time, change.which, { text, version: version + 1 });
    return { type: "changed", version: version + 1, offset: device.end };
  }

  /** The document's next version, as an entry of the stream. */
  #write(device: Device, index: number, time: number, which: "reported" | "desired", next: { readonly text: Uint8Array; readonly version: number }): void {
    this.devices.touch(device);
    this.#append(device, index, time, STREAM_TYPE.state);
    this.#records.set(documentName(device.id, which), encodeDocument({ ...next, offset: device.end }));
  }

  #received(cursor: Received): void {
    const session = this.devices.find(cursor.device)?.own;
    if (session === undefined || session.number !== cursor.session || session.attachment !== cursor.attachment) return; // R35: fenced by the attachment
    const { device } = session;
    this.devices.touch(device);
    device.delivered = Math.max(device.delivered, Math.min(cursor.delivered, device.end)); // cursors only rise
    device.handled = Math.max(device.handled, Math.min(cursor.handled, device.end));
  }

  #create(index: number, id: string, retain: Retain | undefined): void {
    const device = this.#known(id, index);
    if (retain === undefined) return;
    this.devices.touch(device);
    device.retain = retain;
    keepLast(device);
    this.#records.set(agingName(id), retain.seconds > 0 ? Uint8Array.of(VERSION) : undefined);
  }

  #trim({ device: id, since, first }: Trim): void {
    const device = this.devices.find(id);
    if (device === undefined || device.since !== since) return; // another device of this name
    this.devices.touch(device);
    device.first = Math.max(device.first, Math.min(first, device.end + 1));
  }

  #remove(index: number, id: string): Result {
    const device = this.devices.find(id);
    if (device === undefined) return failed("unknown_device");
    for (const session of device.sessions) {
      this.#down(session);
      this.applied?.ended(session.number, "removed");
    }
    this.devices.remove(device);
    this.#records.set(documentName(id, "reported"), undefined);
    this.#records.set(documentName(id, "desired"), undefined);
    this.#records.set(agingName(id), undefined);
    this.removals.add(device, index);
    if (device.watched) this.#moved.set(id, (this.#moved.get(id) ?? 0) | REMOVED_TYPE);
    return DONE;
  }

  #putCredential(entry: Entry, { device: id, name, digest }: PutCredential): Result {
    const credentials = this.devices.find(id)?.credentials ?? [];
    const same = credentials.find((credential) => credential.name === name);
    if (same !== undefined) return sameDigest(same.digest, digest) ? DONE : failed("exists"); // the cluster's own resend of it is done already
    if (credentials.length >= MOST_CREDENTIALS) return failed("limit_reached");
    const device = this.#known(id, entry.index);
    this.devices.touch(device);
    device.credentials = [...credentials, { id: entry.index, name, digest: digest.slice(), created: entry.time }];
    return DONE;
  }

  #removeCredential({ device: id, name }: RemoveCredential): Result {
    const device = this.devices.find(id);
    const removed = device?.credentials.find((credential) => credential.name === name);
    if (device === undefined || removed === undefined) return failed(device === undefined ? "unknown_device" : "not_found");
    this.devices.touch(device);
    device.credentials = device.credentials.filter((credential) => credential !== removed);
    for (const session of device.sessions) this.applied?.revoked(session.number, removed.id);
    return DONE;
  }

  // Reads of the applied state.

  /** Devices whose entries are forgotten by age, after the place of `after`; "" from the first. */
  *aging(after: string): Iterable<Device> {
    for (const [name] of this.#records.range(AGING, after === "" ? "" : agingName(after))) {
      const device = this.devices.find(name.slice(AGING.length + 9)); // behind the eight digits of its place
      if (device !== undefined) yield device;
    }
  }

  document(device: string, which: "reported" | "desired"): Document {
    const bytes = this.#records.get(documentName(device, which));
    return bytes === undefined ? EMPTY_DOCUMENT : decodeDocument(bytes);
  }

  /** The log indexes of a chunk that is kept: sealed, or the open one. */
  chunk(device: Device, chunk: number): readonly number[] {
    if (chunk === device.sealed) return device.open;
    const bytes = this.#records.get(chunkName(device.id, device.since, chunk));
    assert(bytes !== undefined, "every sealed chunk from the first kept one on is stored");
    return decodeChunk(bytes);
  }

  /** Counts watchers of a device; its moves are collected while there is one. */
  watch(device: string): void {
    this.devices.watch(device);
  }

  unwatch(device: string): void {
    this.devices.unwatch(device);
  }

  /** Watched devices that moved since the last call, with the types that came (bits of `STREAM_TYPE`); undefined when none did. */
  takeMoved(): ReadonlyMap<string, number> | undefined {
    if (this.#moved.size === 0) return undefined;
    const moved = this.#moved;
    this.#moved = new Map();
    return moved;
  }

  // The whole state, and its checkpoints.

  snapshot(): Uint8Array {
    this.#settle();
    const out = new Writer();
    out.u8(VERSION);
    for (const [name, bytes] of [...this.#records.range("")].sort(byName)) out.text(name).blob(bytes);
    return out.take();
  }

  /** Until `installed`, reads go to the restored state and not to the store. */
  restore(snapshot: Uint8Array, applied: number): void {
    const from = new Reader(snapshot);
    assert(from.u8() === VERSION, "a snapshot has a known version");
    const records = new Map<string, Uint8Array>();
    while (!from.done) records.set(from.text(), from.blob());
    this.devices.clear();
    this.#moved.clear();
    this.#records.replace(records);
    this.#load();
    assert(this.#index === applied, "a snapshot is of the index it is said to be of");
  }

  /** The whole state as writes, for the store to put in place of its own after `restore`. */
  whole(): Checkpoint {
    this.#settle();
    return { applied: this.#index, writes: [...this.#records.range("")].map(([key, value]) => ({ key, value })) };
  }

  /** The store holds the restored state. */
  installed(): void {
    this.#records.installed();
  }

  /** Takes everything that changed since the last one. One at a time; none while a restored state is being installed. */
  checkpoint(): Checkpoint {
    assert(!this.#records.restored, "a restored state is installed before its first checkpoint");
    this.#settle();
    return { applied: this.#index, writes: this.#records.take() };
  }

  /** The store holds what `checkpoint` gave: it may be forgotten here. */
  checkpointed(): void {
    this.#records.confirmed();
  }

  #settle(): void {
    this.devices.settle();
    const out = this.#out.u8(VERSION).integer(this.#index).integer(this.#time).integer(this.#floor);
    this.keys.write(out);
    this.removals.write(out);
    this.#records.set(BUCKET_NAME, out.take());
    if (!this.resends.changed) return;
    this.resends.write(this.#out);
    this.#records.set(RESENDS_NAME, this.#out.take());
  }

  #load(): void {
    this.presence.load();
    const resends = this.#records.get(RESENDS_NAME);
    this.resends.read(resends === undefined ? undefined : new Reader(resends));
    const bytes = this.#records.get(BUCKET_NAME);
    if (bytes === undefined) return;
    const from = new Reader(bytes);
    assert(from.u8() === VERSION, "a bucket's record has a known version");
    this.#index = from.integer();
    this.#time = from.integer();
    this.#floor = from.integer();
    this.keys.read(from);
    this.removals.read(from);
  }
}

/** Final `last` of the session that an OPEN leaves: the former one, or the one that left (its WELCOME never arrived); 0 when it is not known. */
function leftAt(former: Session | undefined, leaves: number): number {
  if (former?.number === leaves) return former.last;
  return former?.left === leaves ? former.leftAt : 0;
}

/** By count: what is before the last ones is forgotten. */
function keepLast(device: Device): void {
  if (device.retain.entries > 0) device.first = Math.max(device.first, device.end - device.retain.entries + 1);
}

const DONE: Result = { type: "done" };

function failed(code: ErrorCode, version = 0): Result {
  return { type: "failed", code, version };
}

// The outbox on disk: one file, appended to and synced once a turn, so that no message is sent before it would survive a power loss (R26).
//
//   file    "BHOUTBX1", then records
//   record  u32 length of the content, u32 crc32c of the content (both big-endian), content: a msgpack array
//   content [1, device]  [2, session, base, nonce, opening]  [3, place, kind, body]  [4, settled place, handled offset]
//
// A later [3] of the same place takes the place of the earlier one. What was settled or handled is told without a sync: after a crash it is told again by
// the broker. Opening reads up to the first record that is not whole, and cuts the file there: behind it nothing was ever synced.
// Past a size the file is written anew with what is left, synced, and renamed over the old one. One process at a time may use a file (outbox-lock.ts).

import { closeSync, existsSync, fdatasync, fsyncSync, ftruncateSync, openSync, readFileSync, renameSync, write, writeSync } from "node:fs";
import { dirname } from "node:path";
import { promisify } from "node:util";
import { crc32c } from "../../../src/base/crc32c.ts";
import { checkBody, decodeBody, type Kind } from "../../../src/wire/body.ts";
import { frameLength } from "../../../src/wire/frame.ts";
import { Reader, Writer } from "../../../src/wire/msgpack.ts";
import { MAX_NUMBER } from "../../../src/wire/series.ts";
import { DeviceError } from "./errors.ts";
import type { Item, Session } from "./outbox.ts";
import { lockOutbox } from "./outbox-lock.ts";

const MAGIC = new TextEncoder().encode("BHOUTBX1");
const RECORD_HEADER_BYTES = 8;
const RECORD = { device: 1, session: 2, message: 3, settled: 4 } as const;
/** The file is written anew when it is longer than this and longer than four times what is left in it. */
const COMPACT_BYTES = 1024 * 1024;

const writeAll = promisify(write);
const syncData = promisify(fdatasync);

export interface Restored {
  readonly session: Session;
  readonly items: readonly Item[];
  readonly last: number;
  readonly handled: number;
}

export class OutboxFile {
  readonly restored: Restored;
  /** Told when the disk fails; then nothing becomes durable any more. */
  failed: (error: DeviceError) => void = () => undefined;
  readonly #path: string;
  readonly #device: string;
  #fd: number;
  #length: number;
  #open = new Writer(4096);
  #waiting: (() => void)[] = [];
  #settled = 0;
  #handled = 0;
  #toldSettled = 0;
  #toldHandled = 0;
  #session: Session;
  #isPumping = false;
  #pumped: Promise<void> = Promise.resolve();
  #ended = false;
  #unlock: () => void = () => undefined;
  /** What a compaction writes; set by the outbox's owner. */
  left: Iterable<Item> = [];
  #leftLast = 0;

  /** @throws DeviceError `outbox_failed` when the file is another device's or cannot be opened. */
  constructor(path: string, device: string) {
    this.#path = path;
    this.#device = device;
    try {
      this.#unlock = lockOutbox(path);
      const isNew = !existsSync(path);
      this.#fd = openSync(path, isNew ? "ax+" : "a+", 0o600);
      const found = isNew ? undefined : recover(readFileSync(this.#fd), device);
      this.restored = found?.restored ?? { session: { session: 0, base: 0, nonce: 0n, opening: false }, items: [], last: 0, handled: 0 };
      this.#session = this.restored.session;
      this.#handled = this.#toldHandled = this.restored.handled;
      this.#leftLast = this.restored.last;
      this.#length = found?.end ?? 0;
      ftruncateSync(this.#fd, this.#length);
      if (this.#length === 0) {
        const head = new Writer();
        head.raw(MAGIC, 0, MAGIC.length);
        writeDevice(head, device);
        this.#length = writeSync(this.#fd, head.written);
      }
      fsyncSync(this.#fd);
      syncFolder(path);
    } catch (error) {
      this.#unlock();
      throw asFailure(error, path);
    }
  }

  message(place: number, kind: Kind, body: Uint8Array): void {
    this.#leftLast = Math.max(this.#leftLast, place);
    writeMessage(this.#open, place, kind, body);
  }

  session(session: Session): void {
    this.#session = session;
    writeSession(this.#open, session);
  }

  settled(place: number): void {
    this.#settled = place;
  }

  handled(offset: number): void {
    this.#handled = offset;
  }

  /** Writes and syncs everything so far, together with whatever else comes while the disk is busy; then calls back, in the order of the calls. */
  whenSynced(done: () => void): void {
    this.#waiting.push(done);
    if (!this.#isPumping) this.#pumped = this.#pump();
  }

  async close(): Promise<void> {
    await this.#pumped;
    if (this.#ended) return;
    this.#ended = true;
    this.#tell();
    writeSync(this.#fd, this.#open.written);
    fsyncSync(this.#fd);
    closeSync(this.#fd);
    this.#unlock();
  }

  /** One group after the other until nobody waits. */
  async #pump(): Promise<void> {
    this.#isPumping = true;
    try {
      while (this.#waiting.length > 0 && !this.#ended) {
        const done = this.#waiting;
        this.#waiting = [];
        this.#tell();
        if (this.#length > COMPACT_BYTES && this.#length > 4 * this.#bytesLeft()) this.#compact();
        else await this.#append();
        for (const one of done) one();
      }
    } catch (error) {
      this.#ended = true;
      this.failed(asFailure(error, this.#path));
    }
    this.#isPumping = false;
  }

  async #append(): Promise<void> {
    const group = this.#open;
    this.#open = new Writer(4096);
    for (let at = 0; at < group.at; ) at += (await writeAll(this.#fd, group.bytes, at, group.at - at, null)).bytesWritten;
    this.#length += group.at;
    await syncData(this.#fd);
  }

  #tell(): void {
    if (this.#settled === this.#toldSettled && this.#handled === this.#toldHandled) return;
    writeSettled(this.#open, this.#settled, this.#handled);
    this.#toldSettled = this.#settled;
    this.#toldHandled = this.#handled;
  }

  #bytesLeft(): number {
    let bytes = 0;
    for (const item of this.left) bytes += item.body.length + 32;
    return bytes;
  }

  /** The new file holds what is left, the open group's messages among it; the old one stays whole until the rename. */
  #compact(): void {
    const all = new Writer(65_536);
    all.raw(MAGIC, 0, MAGIC.length);
    writeDevice(all, this.#device);
    writeSession(all, this.#session);
    // The last place given, though its message may be settled: places only rise.
    writeSettled(all, this.#leftLast, this.#handled);
    for (const item of this.left) writeMessage(all, item.place, item.kind, item.body);
    const next = `${this.#path}.next`;
    const fd = openSync(next, "w+", 0o600);
    for (let at = 0; at < all.at; ) at += writeSync(fd, all.bytes, at, all.at - at);
    fsyncSync(fd);
    renameSync(next, this.#path);
    syncFolder(this.#path);
    closeSync(this.#fd);
    this.#fd = fd;
    this.#length = all.at;
    this.#open = new Writer(4096);
    this.#toldSettled = this.#settled;
    this.#toldHandled = this.#handled;
  }
}

function beginRecord(to: Writer): number {
  to.reserve(RECORD_HEADER_BYTES);
  to.at += RECORD_HEADER_BYTES;
  return to.at;
}

function endRecord(to: Writer, start: number): void {
  const view = new DataView(to.bytes.buffer, to.bytes.byteOffset);
  view.setUint32(start - 8, to.at - start);
  view.setUint32(start - 4, crc32c(view, start, to.at));
}

function writeDevice(to: Writer, device: string): void {
  const start = beginRecord(to);
  to.array(2);
  to.uint(RECORD.device);
  to.str(device);
  endRecord(to, start);
}

function writeSession(to: Writer, session: Session): void {
  const start = beginRecord(to);
  to.array(5);
  to.uint(RECORD.session);
  to.uint(session.session);
  to.uint(session.base);
  to.u64(session.nonce);
  to.bool(session.opening);
  endRecord(to, start);
}

function writeMessage(to: Writer, place: number, kind: Kind, body: Uint8Array): void {
  const start = beginRecord(to);
  to.array(4);
  to.uint(RECORD.message);
  to.uint(place);
  to.uint(kind);
  to.raw(body, 0, body.length);
  endRecord(to, start);
}

function writeSettled(to: Writer, place: number, handled: number): void {
  const start = beginRecord(to);
  to.array(3);
  to.uint(RECORD.settled);
  to.uint(place);
  to.uint(handled);
  endRecord(to, start);
}

/** Reads the records up to the first that is not whole; `end` is where that one begins. Undefined: not even the head is whole, as after a crash at the file's birth. */
function recover(bytes: Uint8Array, device: string): { readonly restored: Restored; readonly end: number } | undefined {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  if (bytes.length < MAGIC.length) return undefined;
  if (MAGIC.some((byte, i) => bytes[i] !== byte)) throw new DeviceError("outbox_failed", false, "The file is no outbox of this version.");
  const items = new Map<number, Item>();
  let session: Session = { session: 0, base: 0, nonce: 0n, opening: false };
  let owner = "";
  let last = 0;
  let handled = 0;
  let at = MAGIC.length;
  const reader = new Reader();
  while (bytes.length - at >= RECORD_HEADER_BYTES) {
    const start = at + RECORD_HEADER_BYTES;
    const end = start + frameLength(bytes, at);
    if (end === start || end > bytes.length || view.getUint32(at + 4) !== crc32c(view, start, end)) break;
    reader.reset(bytes, start, end);
    reader.array();
    const type = reader.uint(MAX_NUMBER);
    if (type === RECORD.device) owner = reader.str(MAX_NUMBER);
    else if (type === RECORD.session) {
      session = { session: reader.uint(MAX_NUMBER), base: reader.uint(MAX_NUMBER), nonce: reader.u64(), opening: reader.bool() };
    } else if (type === RECORD.message) {
      const place = reader.uint(MAX_NUMBER);
      const kind = reader.uint(2) as Kind;
      const from = reader.at;
      checkBody(reader, kind);
      const body = new Uint8Array(bytes.subarray(from, end));
      items.set(place, { place, kind, body, expires: decodeBody(body).expires, sent: true, resolve: undefined, reject: undefined });
      last = Math.max(last, place);
    } else if (type === RECORD.settled) {
      const place = reader.uint(MAX_NUMBER);
      for (let settled = place; items.delete(settled); settled -= 1);
      last = Math.max(last, place);
      handled = reader.uint(MAX_NUMBER);
    } else throw new DeviceError("outbox_failed", false, `The file holds a record of unknown type ${type}.`);
    at = end;
  }
  if (owner === "") return undefined;
  if (owner !== device) throw new DeviceError("outbox_failed", false, `The file is the outbox of ${owner}.`);
  return { restored: { session, items: [...items.values()].sort((a, b) => a.place - b.place), last, handled }, end: at };
}

function syncFolder(path: string): void {
  const fd = openSync(dirname(path), "r");
  fsyncSync(fd);
  closeSync(fd);
}

function asFailure(error: unknown, path: string): DeviceError {
  if (error instanceof DeviceError) return error;
  if ((error as NodeJS.ErrnoException).code === "ENOENT") return new DeviceError("outbox_failed", false, `${path}: there is no folder ${dirname(path)}.`);
  return new DeviceError("outbox_failed", false, `${path}: ${error instanceof Error ? error.message : String(error)}`);
}

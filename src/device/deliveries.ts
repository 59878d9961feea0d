// What goes down to one device: messages of its stream behind its cursor, in order, within the receive window, and the newest `desired` document.

import { BellhopError } from "../base/errors.ts";
import { Ring } from "../base/ring.ts";
import type { DeviceLine } from "../core/gateway/types.ts";
import type { NodeApi, StateDocument, StreamPage, StreamWatcher } from "../node/api.ts";
import { decodeBody } from "../wire/body.ts";
import { type Document, writeDeliver, writeDocument, writeMissed } from "../wire/device.ts";
import type { Writer } from "../wire/msgpack.ts";
import type { DeviceCounts } from "./counts.ts";

const DOWNLINK = 2;
const STATE = 8;
/** Entries and bytes of one read. */
const PAGE_ENTRIES = 256;
const PAGE_BYTES = 256 * 1024;
/** What DELIVER adds to a body, at most. */
const DELIVER_OVERHEAD_BYTES = 20;
/** The cursor passes entries that are nothing for the device once they are this many, so that a reconnect need not read them again. */
const PASS_ENTRIES = 1000;
/** What could not be read is read again after a random part, at least half, of this. */
const AGAIN_MS = 1000;
const NO_DOCUMENT: Document = { version: 0, json: new TextEncoder().encode("{}") };

/** The connection, as deliveries see it. */
export interface DeliveryWay {
  readonly line: DeviceLine | undefined;
  readonly counts: DeviceCounts;
  /** The device reads what it is sent: more may be written. */
  readonly hasRoom: boolean;
  /** Where frames go; sent at the end of the turn. */
  writer(): Writer;
  tooLarge(what: string): void;
  failed(error: unknown): void;
}

export class Deliveries implements StreamWatcher {
  readonly #node: NodeApi;
  readonly #way: DeliveryWay;
  readonly #device: string;
  readonly #window: number;
  readonly #maxFrame: number;
  readonly #unwatch: () => void;
  /** Everything ≤ `looked` was sent or is nothing for the device; the stream ends at `end`. */
  #looked: number;
  #end: number;
  /** Greatest offset that the cursor was told. */
  #told: number;
  /** Offsets sent and not handled. */
  #out: Ring<number> | undefined;
  #reading = false;
  #stopped = false;
  #desiredVersion: number;
  #readsDesired = false;
  #desiredMoved = false;

  constructor(node: NodeApi, way: DeliveryWay, device: string, window: number, maxFrame: number, after: number, handled: number, end: number, desired: number) {
    this.#node = node;
    this.#way = way;
    this.#device = device;
    this.#window = window;
    this.#maxFrame = maxFrame;
    this.#looked = Math.min(Math.max(after, handled), end);
    this.#told = handled;
    this.#desiredVersion = desired;
    this.#end = end;
    this.#unwatch = node.watch(device, this, DOWNLINK | STATE); // and is told at once what has come since the welcome
    this.pump();
  }

  moved(end: number, types: number): void {
    if (this.#stopped) return;
    if ((types & DOWNLINK) === 0 && this.#looked === this.#end && !this.#reading) this.#looked = end;
    this.#end = Math.max(this.#end, end);
    if ((types & STATE) !== 0) this.#pushDesired();
    if (this.#looked - this.#told >= PASS_ENTRIES && (this.#out === undefined || this.#out.size === 0)) {
      this.#told = this.#looked;
      this.#way.line?.received(this.#looked, this.#looked);
    }
    this.pump();
  }

  /** Offsets that the device has and has handled. False: it has never been sent so much. */
  received(delivered: number, handled: number): boolean {
    if (delivered > this.#end) return false;
    this.#told = Math.max(this.#told, handled);
    const out = this.#out;
    if (out !== undefined) {
      while (out.size > 0 && out.first()! <= handled) out.shift();
      if (out.size === 0) this.#out = undefined;
    }
    this.#way.line?.received(delivered, handled);
    this.pump();
    return true;
  }

  /** Both documents, asked for by the device. */
  answerState(request: number): void {
    this.#node.state(this.#device).then(
      (state) => {
        if (!this.#stopped) this.#writeDocument(request, documentOf(state?.desired), documentOf(state?.reported));
      },
      (error: unknown) => this.#failed(error, () => this.answerState(request)),
    );
  }

  /** Reads on if there is something to read and room for it. */
  pump(): void {
    if (this.#reading || this.#stopped || this.#looked >= this.#end || !this.#way.hasRoom) return;
    const room = this.#window - (this.#out?.size ?? 0);
    if (room <= 0) return;
    this.#reading = true;
    this.#node.read(this.#device, { after: this.#looked, limit: Math.min(room, PAGE_ENTRIES), maxBytes: PAGE_BYTES, types: ["downlink"] })
      .then((page) => this.#take(page))
      .catch((error: unknown) => {
        this.#failed(error, () => {
          this.#reading = false;
          this.pump();
        });
      });
  }

  stop(): void {
    this.#stopped = true;
    this.#unwatch();
  }

  /** The bucket may have no leader just now: the device keeps its socket, and what could not be read is read soon (C2). */
  #failed(error: unknown, again: () => void): void {
    if (this.#stopped) return;
    if (!(error instanceof BellhopError) || !error.retryable) return this.#way.failed(error);
    setTimeout(() => {
      if (!this.#stopped) again();
    }, AGAIN_MS * (0.5 + Math.random() / 2));
  }

  #take(page: StreamPage): void {
    this.#reading = false;
    if (this.#stopped) return;
    const { counts } = this.#way;
    if (page.gap !== undefined) {
      counts.missed.add("forgotten");
      writeMissed(this.#way.writer(), page.gap.from, page.gap.to, "forgotten");
    }
    const now = Date.now();
    for (const entry of page.entries) {
      const { expires } = decodeBody(entry.body);
      if (expires !== 0 && expires <= now) {
        counts.expired += 1; // A13
        continue;
      }
      if (entry.body.length + DELIVER_OVERHEAD_BYTES > this.#maxFrame) {
        counts.missed.add("too_large");
        writeMissed(this.#way.writer(), entry.offset, entry.offset, "too_large");
        continue;
      }
      counts.deliveries += 1;
      writeDeliver(this.#way.writer(), entry.offset, entry.body, entry.time);
      (this.#out ??= new Ring<number>(4)).push(entry.offset);
    }
    this.#end = Math.max(this.#end, page.end);
    const moved = page.next > this.#looked;
    this.#looked = Math.max(this.#looked, page.next);
    if (moved) this.pump();
  }

  /** One read at a time; what moves meanwhile is read by the next. */
  #pushDesired(): void {
    this.#desiredMoved = true;
    if (this.#readsDesired) return;
    this.#readsDesired = true;
    this.#desiredMoved = false;
    this.#node.state(this.#device).then(
      (state) => {
        this.#readsDesired = false;
        if (this.#stopped) return;
        if (state !== undefined && state.desired.version !== this.#desiredVersion) {
          this.#desiredVersion = state.desired.version;
          this.#writeDocument(0, documentOf(state.desired), undefined);
        }
        if (this.#desiredMoved) this.#pushDesired();
      },
      (error: unknown) => this.#failed(error, () => {
        this.#readsDesired = false;
        this.#pushDesired();
      }),
    );
  }

  #writeDocument(request: number, desired: Document, reported: Document | undefined): void {
    if (desired.json.length + (reported?.json.length ?? 0) + 64 > this.#maxFrame) return this.#way.tooLarge("The state is longer than the device's greatest frame.");
    writeDocument(this.#way.writer(), request, desired, reported);
  }
}

function documentOf(state: StateDocument | undefined): Document {
  return state === undefined ? NO_DOCUMENT : { version: state.version, json: state.document };
}

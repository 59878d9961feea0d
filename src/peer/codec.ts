// What two nodes say to each other, as bytes. The frequent messages (Append, its acknowledgement, publishes, cumulative answers) are written by hand;
// the others are msgpack maps, so that a later version may add fields (E3).

import { Packr } from "msgpackr";
import { BrokenInvariant } from "../base/assert.ts";
import type { ErrorCode } from "../base/errors.ts";
import { ENTRY_KIND, type Entry, type EntryKind } from "../core/entry.ts";
import { PUBLISH_KIND, type GatewayId, type HopAnswer, type HopRequest, type PublishKind } from "../core/hop.ts";
import type { Beat, HopPublish } from "../core/node.ts";
import type { PeerBody, PeerHeader, PeerMessage } from "../core/replica/types.ts";
import { Reader, Writer } from "../core/stream/bytes.ts";
import { isReadMessage, type ReadMessage } from "./reads.ts";

/** The first message each way; the dialling end says it once more when it has taken the other's. A link is for one incarnation of each node: whoever restarts links anew. */
export interface LinkHello {
  /** The link protocol's versions that the sender speaks. */
  readonly versions: readonly [least: number, greatest: number];
  readonly cluster: string;
  readonly node: string;
  readonly incarnation: number;
  /** Whom the sender means. */
  readonly to: string;
}

/** The last publish of a batch: the next one of its line leaves out what follows from it. A new batch begins with a publish that says all. */
export class PublishRun {
  bucket = -1;
  epoch = 0;
  handle = 0;
  series = 0;

  clear(): void {
    this.bucket = -1;
  }
}

export type LinkMessage =
  | { readonly type: "hello"; readonly hello: LinkHello }
  /** In place of a hello, or after it: the sender closes the link, and says why. */
  | { readonly type: "refused"; readonly node: string; readonly why: string }
  | { readonly type: "beat"; readonly suspects: Beat["suspects"] }
  | { readonly type: "replica"; readonly message: PeerMessage }
  | { readonly type: "publish"; readonly bucket: number; readonly epoch: number; readonly request: HopPublish }
  | { readonly type: "hop"; readonly bucket: number; readonly epoch: number; readonly request: HopRequest }
  | { readonly type: "answer"; readonly bucket: number; readonly toIncarnation: number; readonly applied: number; readonly answer: HopAnswer }
  | { readonly type: "read"; readonly message: ReadMessage };

/** Greatest and least version of what is written here. */
export const LINK_VERSIONS = [1, 1] as const;

const TYPE = { hello: 1, beat: 2, append: 3, appended: 4, history: 5, replica: 6, publish: 7, hop: 8, acked: 9, answer: 10, nextPublish: 11, read: 12, refused: 13 } as const;

const packr = new Packr({ useRecords: false, int64AsType: "bigint", variableMapSize: true });

export function writeHello(to: Writer, hello: LinkHello): void {
  to.u8(TYPE.hello).blob(packr.pack(hello));
}

export function writeRefused(to: Writer, node: string, why: string): void {
  to.u8(TYPE.refused).text(node).text(why);
}

export function writeBeat(to: Writer, { suspects }: Beat): void {
  to.u8(TYPE.beat).blob(packr.pack(suspects));
}

export function writeReplica(to: Writer, message: PeerMessage): void {
  switch (message.type) {
    case "append":
      writeHeader(to.u8(TYPE.append), message);
      to.integer(message.prev).integer(message.prevEpoch).integer(message.commit).integer(message.round);
      to.raw(encodeEntries(message.entries));
      return;
    case "appended":
      writeHeader(to.u8(TYPE.appended), message);
      to.integer(message.match).u8(message.whole ? 1 : 0).integer(message.round);
      return;
    case "history":
      writeHeader(to.u8(TYPE.history), message);
      to.integer(message.index).raw(encodeEntries(message.entries));
      return;
    default: {
      const { bucket: _bucket, from: _from, fromIncarnation: _incarnation, toIncarnation: _to, epoch: _epoch, attempt: _attempt, ...body } = message;
      writeHeader(to.u8(TYPE.replica), message);
      to.blob(packr.pack(body));
    }
  }
}

export function writePublish(to: Writer, run: PublishRun, bucket: number, epoch: number, { handle, series, kind, code, bytes, start, end }: HopPublish): void {
  const follows = run.bucket === bucket && run.handle === handle && run.epoch === epoch && series === run.series + 1;
  if (follows && kind === PUBLISH_KIND.message && code === undefined) to.u8(TYPE.nextPublish);
  else {
    to.u8(TYPE.publish).integer(bucket).integer(epoch).integer(handle).integer(series).u8(kind).text(code ?? "");
    run.bucket = bucket;
    run.epoch = epoch;
    run.handle = handle;
  }
  run.series = series;
  to.part(bytes, start, end);
}

export function writeHop(to: Writer, bucket: number, epoch: number, request: HopRequest): void {
  to.u8(TYPE.hop).integer(bucket).integer(epoch).blob(packr.pack(request));
}

/** @param applied what the leader has applied: whoever is answered reads no older copy afterwards */
export function writeAnswer(to: Writer, toIncarnation: number, bucket: number, applied: number, answer: HopAnswer): void {
  if (answer.type === "acked" && answer.voids.length === 0) {
    to.u8(TYPE.acked).integer(toIncarnation).integer(bucket).integer(applied).integer(answer.session).text(answer.device).text(answer.publisher).integer(answer.series);
  } else to.u8(TYPE.answer).integer(toIncarnation).integer(bucket).integer(applied).blob(packr.pack(answer));
}

export function writeRead(to: Writer, message: ReadMessage): void {
  to.u8(TYPE.read).blob(packr.pack(message));
}

/**
 * Reads one message of a link whose other end is `from`.
 * @param run that of the batch which the message is of
 * @param to this node's incarnation is not implied: replicas name the one they mean, which may be a former one
 * @throws LinkError on anything malformed: the link closes
 */
export function readMessage(reader: Reader, from: GatewayId, run: PublishRun): LinkMessage {
  try {
    return read(reader, from, run);
  } catch (error) {
    if (error instanceof LinkError) throw error;
    throw new LinkError(`malformed: ${error instanceof BrokenInvariant ? "cut short" : (error as Error).message}`);
  }
}

/** What came on a link is not what nodes say to each other. */
export class LinkError extends Error {
  override readonly name = "LinkError";
}

function read(reader: Reader, from: GatewayId, run: PublishRun): LinkMessage {
  const type = reader.u8();
  switch (type) {
    case TYPE.hello:
      return { type: "hello", hello: helloOf(unpacked(reader)) };
    case TYPE.refused:
      return { type: "refused", node: reader.text(), why: reader.text() };
    case TYPE.beat:
      return { type: "beat", suspects: textsOf(unpacked(reader)) };
    case TYPE.append: {
      // Evaluated in the order of the bytes.
      const message: PeerMessage = {
        bucket: reader.integer(), from: from.node, fromIncarnation: from.incarnation, toIncarnation: reader.integer(), epoch: reader.integer(), attempt: reader.integer(),
        type: "append", prev: reader.integer(), prevEpoch: reader.integer(), commit: reader.integer(), round: reader.integer(), entries: readEntries(reader),
      };
      return { type: "replica", message };
    }
    case TYPE.appended: {
      const message: PeerMessage = {
        bucket: reader.integer(), from: from.node, fromIncarnation: from.incarnation, toIncarnation: reader.integer(), epoch: reader.integer(), attempt: reader.integer(),
        type: "appended", match: reader.integer(), whole: reader.u8() === 1, round: reader.integer(),
      };
      return { type: "replica", message };
    }
    case TYPE.history: {
      const header = readHeader(reader, from);
      return { type: "replica", message: { ...header, type: "history", index: reader.integer(), entries: readEntries(reader) } };
    }
    case TYPE.replica: {
      const header = readHeader(reader, from);
      return { type: "replica", message: { ...(unpacked(reader) as PeerBody), ...header } };
    }
    case TYPE.publish: {
      run.bucket = reader.integer();
      run.epoch = reader.integer();
      run.handle = reader.integer();
      run.series = reader.integer();
      const kind = reader.u8();
      const code = reader.text();
      if (kind > PUBLISH_KIND.void) throw new LinkError(`a publish of kind ${kind} is not known here`);
      return publishOf(reader, run, kind as PublishKind, code === "" ? undefined : (code as ErrorCode));
    }
    case TYPE.nextPublish:
      if (run.bucket < 0) throw new LinkError("a publish follows on from none");
      run.series += 1;
      return publishOf(reader, run, PUBLISH_KIND.message, undefined);
    case TYPE.hop:
      return { type: "hop", bucket: reader.integer(), epoch: reader.integer(), request: unpacked(reader) as HopRequest };
    case TYPE.acked: {
      const toIncarnation = reader.integer();
      const bucket = reader.integer();
      const applied = reader.integer();
      const session = reader.integer();
      const answer: HopAnswer = { type: "acked", session, device: reader.text(), publisher: reader.text(), series: reader.integer(), voids: [] };
      return { type: "answer", toIncarnation, bucket, applied, answer };
    }
    case TYPE.answer:
      return { type: "answer", toIncarnation: reader.integer(), bucket: reader.integer(), applied: reader.integer(), answer: unpacked(reader) as HopAnswer };
    case TYPE.read: {
      const message = unpacked(reader);
      if (!isReadMessage(message)) throw new LinkError("a message about reads is not known here");
      return { type: "read", message };
    }
    default:
      throw new LinkError(`a message of type ${type} is not known here`);
  }
}

function publishOf(reader: Reader, { bucket, epoch, handle, series }: PublishRun, kind: PublishKind, code: ErrorCode | undefined): LinkMessage {
  const length = reader.integer();
  const start = reader.skip(length); // in the batch's own bytes: a view of them takes longer than all the rest
  return { type: "publish", bucket, epoch, request: { type: "publish", handle, series, kind, code, bytes: reader.bytes, start, end: start + length } };
}

function writeHeader(to: Writer, { bucket, toIncarnation, epoch, attempt }: PeerHeader): void {
  to.integer(bucket).integer(toIncarnation).integer(epoch).integer(attempt);
}

function readHeader(reader: Reader, { node, incarnation }: GatewayId): PeerHeader {
  return { bucket: reader.integer(), from: node, fromIncarnation: incarnation, toIncarnation: reader.integer(), epoch: reader.integer(), attempt: reader.integer() };
}

// Entries: their count, then for each [kind][index, epoch and time as rises over the entry before][length][payload].

const entriesOut = new Writer();
/** What stands in it. */
let encoded: readonly Entry[] | undefined;
const MAX_KIND = Math.max(...Object.values(ENTRY_KIND));

/** Good until the next call. The same entries go to each follower, one after the other: encoded for the first of them only. */
function encodeEntries(entries: readonly Entry[]): Uint8Array {
  if (entries === encoded) return entriesOut.written;
  encoded = undefined;
  entriesOut.clear();
  entriesOut.integer(entries.length);
  let index = 0;
  let epoch = 0;
  let time = 0;
  for (const entry of entries) {
    entriesOut.u8(entry.kind).integer(entry.index - index).integer(entry.epoch - epoch).integer(entry.time - time).blob(entry.payload);
    ({ index, epoch, time } = entry);
  }
  encoded = entries;
  return entriesOut.written;
}

function readEntries(reader: Reader): Entry[] {
  const entries: Entry[] = [];
  let index = 0;
  let epoch = 0;
  let time = 0;
  for (let left = reader.integer(); left > 0; left -= 1) {
    const kind = reader.u8();
    if (kind > MAX_KIND) throw new LinkError(`an entry of kind ${kind} is not known here`);
    index += reader.integer();
    epoch += reader.integer();
    time += reader.integer();
    entries.push({ index, epoch, kind: kind as EntryKind, time, payload: reader.blob() });
  }
  return entries;
}

function unpacked(reader: Reader): unknown {
  return packr.unpack(reader.blob());
}

function helloOf(value: unknown): LinkHello {
  const { versions, cluster, node, incarnation, to } = value as Partial<LinkHello>;
  const isHello =
    Array.isArray(versions) && versions.length === 2 && typeof cluster === "string" && typeof node === "string" && Number.isSafeInteger(incarnation) && typeof to === "string";
  if (!isHello) throw new LinkError("its hello is not one");
  return value as LinkHello;
}

function textsOf(value: unknown): readonly string[] {
  if (!Array.isArray(value) || !value.every((item) => typeof item === "string")) throw new LinkError("a beat names nodes");
  return value;
}

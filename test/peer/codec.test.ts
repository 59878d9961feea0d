// Messages between nodes: what is written is read again, and nothing malformed is taken for a message.

import fc from "fast-check";
import { expect, test } from "vitest";
import { ENTRY_KIND, type Entry } from "../../src/core/entry.ts";
import { PUBLISH_KIND, type HopAnswer, type HopRequest } from "../../src/core/hop.ts";
import type { PeerMessage } from "../../src/core/replica/types.ts";
import { Reader, Writer } from "../../src/core/stream/bytes.ts";
import { LINK_VERSIONS, LinkError, PublishRun, readMessage, writeAnswer, writeBeat, writeHello, writeHop, writePublish, writeRefused, writeReplica, type LinkMessage } from "../../src/peer/codec.ts";

const FROM = { node: "n2", incarnation: 7 };
const HEADER = { bucket: 300, from: "n2", fromIncarnation: 7, toIncarnation: 3, epoch: 12, attempt: 5 };

function through(write: (to: Writer) => void): LinkMessage {
  const out = new Writer();
  write(out);
  const reader = new Reader(out.take());
  const message = readMessage(reader, FROM, new PublishRun());
  expect(reader.done).toBe(true);
  return message;
}

const entry = fc.record({
  index: fc.nat({ max: 2 ** 31 }),
  epoch: fc.nat({ max: 2 ** 20 }),
  kind: fc.constantFrom(...Object.values(ENTRY_KIND)),
  time: fc.integer({ min: 0, max: 2 ** 45 }),
  payload: fc.uint8Array({ maxLength: 300 }),
});

/** Entries of a log: indexes rise by one or more, epoch and time never fall. */
const entries = fc.array(entry, { maxLength: 20 }).map((drawn): Entry[] => {
  const sorted = (of: (one: Entry) => number): number[] => drawn.map(of).sort((a, b) => a - b);
  const [indexes, epochs, times] = [sorted(({ index }) => index), sorted(({ epoch }) => epoch), sorted(({ time }) => time)];
  return drawn.map((one, place) => ({ ...one, index: indexes[place]! + place, epoch: epochs[place]!, time: times[place]! }));
});

function plain(message: LinkMessage): unknown {
  return JSON.parse(JSON.stringify(message, (_name, value: unknown) => (value instanceof Uint8Array ? [...value] : typeof value === "bigint" ? `${value}n` : value))) as unknown;
}

/** A publish is read where it stands in its batch: here its body by itself. */
function cutOut(message: LinkMessage): LinkMessage {
  if (message.type !== "publish") return message;
  const { bytes, start, end } = message.request;
  return { ...message, request: { ...message.request, bytes: bytes.slice(start, end), start: 0, end: end - start } };
}

test("entries of Append and History come out as they went in", () => {
  fc.assert(
    fc.property(entries, (drawn) => {
      for (const body of [
        { type: "append", prev: 9, prevEpoch: 11, entries: drawn, commit: 8, round: 2 },
        { type: "history", index: 77, entries: drawn },
      ] as const) {
        const message: PeerMessage = { ...HEADER, ...body };
        expect(plain(through((to) => writeReplica(to, message)))).toEqual(plain({ type: "replica", message }));
      }
    }),
  );
});

test("the same entries go to the next follower as they went to the first", () => {
  const drawn: Entry[] = [1, 2, 3].map((index) => ({ index, epoch: 1, kind: ENTRY_KIND.machine, time: 5, payload: new Uint8Array([index]) }));
  const append = (of: Entry[], toIncarnation: number): PeerMessage => ({ ...HEADER, toIncarnation, type: "append", prev: 0, prevEpoch: 0, entries: of, commit: 0, round: 0 });
  for (const part of [drawn, [...drawn], drawn.slice(0, 2), drawn.slice(1), []]) {
    const message = append(part, 4);
    expect(plain(through((to) => writeReplica(to, message)))).toEqual(plain({ type: "replica", message }));
  }
});

test.each<PeerMessage>([
  { ...HEADER, type: "appended", match: 2 ** 40, whole: true, round: 6 },
  { ...HEADER, type: "refused", promised: 13, hint: 4, round: 6 },
  { ...HEADER, type: "report", epochs: [{ epoch: 1, first: 1 }, { epoch: 5, first: 90 }], floor: 1, base: 0, last: 120, whole: false },
  { ...HEADER, type: "snapshot", index: 50, indexEpoch: 5, time: 1_800_000_000_000, floor: 4, epochs: [{ epoch: 5, first: 4 }], part: 0, parts: 2, bytes: new Uint8Array([1, 2, 3]) },
  { ...HEADER, type: "installed", index: 50, parts: 1, historyTo: 9 },
])("a replica's $type", (message) => {
  expect(plain(through((to) => writeReplica(to, message)))).toEqual(plain({ type: "replica", message }));
});

test.each<HopRequest>([
  { type: "open", request: 4, device: "ä-1", publisher: "", nonce: 5n, window: 64, leaves: 0, attach: true },
  { type: "open", request: 4, device: "d", publisher: "p", nonce: 2n ** 63n + 5n, window: 64, leaves: 9, attach: false },
  { type: "keyed", request: 5, device: "d", key: "k", fingerprint: "00", body: new Uint8Array([0x93]), expires: 0 },
  { type: "state", request: 6, device: "d", which: "desired", how: "put", document: new Uint8Array([123, 125]), ifVersion: undefined },
])("a hop: $type", (request) => {
  expect(plain(through((to) => writeHop(to, 3, 8, request)))).toEqual(plain({ type: "hop", bucket: 3, epoch: 8, request }));
});

test.each<HopAnswer>([
  { type: "acked", session: 2 ** 45, device: "d", publisher: "", series: 2 ** 50, voids: [] },
  { type: "acked", session: 4, device: "d", publisher: "", series: 5, voids: [{ series: 4, code: "expired" }] },
  { type: "broken", request: 8, generation: 1, last: 4, code: "taken_over", stored: 1n },
  { type: "stored", request: 9, offset: 12, duplicate: true },
])("an answer: $type", (answer) => {
  expect(plain(through((to) => writeAnswer(to, 3, 17, 99, answer)))).toEqual(plain({ type: "answer", bucket: 17, toIncarnation: 3, applied: 99, answer }));
});

const publish = fc.record({
  bucket: fc.constantFrom(1, 300),
  epoch: fc.constantFrom(2, 3),
  handle: fc.constantFrom(3, 4),
  series: fc.integer({ min: 2 ** 40, max: 2 ** 40 + 4 }),
  isVoid: fc.boolean(),
  body: fc.uint8Array({ maxLength: 5 }),
});

test("publishes come out as they went in, whatever follows on from what, and other messages between them", () => {
  const following = publish.chain((first) => fc.integer({ min: 0, max: 5 }).map((more) => Array.from({ length: more + 1 }, (_, i) => ({ ...first, series: first.series + i }))));
  fc.assert(
    fc.property(fc.array(following, { maxLength: 6 }), (drawn) => {
      const sent = drawn.flat();
      const out = new Writer();
      const writing = new PublishRun();
      for (const { bucket, epoch, handle, series, isVoid, body } of sent) {
        const kind = isVoid ? PUBLISH_KIND.void : PUBLISH_KIND.message;
        const code = isVoid ? "too_large" : undefined;
        const bytes = new Uint8Array([7, ...body, 7]);
        writePublish(out, writing, bucket, epoch, { type: "publish", handle, series, kind, code, bytes, start: 1, end: bytes.length - 1 });
        writeBeat(out, { from: FROM, suspects: [] });
      }
      const reader = new Reader(out.take());
      const reading = new PublishRun();
      for (const { bucket, epoch, handle, series, isVoid, body } of sent) {
        const request = { type: "publish", handle, series, kind: isVoid ? PUBLISH_KIND.void : PUBLISH_KIND.message, code: isVoid ? "too_large" : undefined, bytes: body, start: 0, end: body.length };
        expect(plain(cutOut(readMessage(reader, FROM, reading)))).toEqual(plain({ type: "publish", bucket, epoch, request } as LinkMessage));
        readMessage(reader, FROM, reading);
      }
      expect(reader.done).toBe(true);
    }),
  );
});

test("a publish that follows on from none is refused", () => {
  const out = new Writer();
  const run = new PublishRun();
  const request = { type: "publish", handle: 3, series: 4, kind: PUBLISH_KIND.message, code: undefined, bytes: new Uint8Array(2), start: 0, end: 2 } as const;
  writePublish(out, run, 1, 2, request);
  out.clear();
  writePublish(out, run, 1, 2, { ...request, series: 5 });
  expect(() => readMessage(new Reader(out.take()), FROM, new PublishRun())).toThrow(LinkError);
});

test("a beat, a hello", () => {
  expect(through((to) => writeRefused(to, "n3", "its certificate is for nobody"))).toEqual({ type: "refused", node: "n3", why: "its certificate is for nobody" });
  expect(through((to) => writeBeat(to, { from: FROM, suspects: ["n3"] }))).toEqual({ type: "beat", suspects: ["n3"] });
  const hello = { versions: LINK_VERSIONS, cluster: "c", node: "n2", incarnation: 7, to: "n1" };
  expect(through((to) => writeHello(to, hello))).toEqual({ type: "hello", hello: { ...hello, versions: [...LINK_VERSIONS] } });
});

test("bytes that are no message end in a LinkError, never in a broken invariant", () => {
  fc.assert(
    fc.property(fc.uint8Array({ minLength: 1, maxLength: 200 }), (bytes) => {
      try {
        readMessage(new Reader(bytes), FROM, new PublishRun());
      } catch (error) {
        expect(error).toBeInstanceOf(LinkError);
      }
    }),
    { numRuns: 5000 },
  );
});

test("a message that is cut anywhere ends in a LinkError", () => {
  const out = new Writer();
  writeReplica(out, { ...HEADER, type: "append", prev: 1, prevEpoch: 1, entries: [{ index: 2, epoch: 1, kind: 1, time: 3, payload: new Uint8Array(40) }], commit: 1, round: 1 });
  const whole = out.take();
  for (let end = 1; end < whole.length; end += 1) expect(() => readMessage(new Reader(whole.subarray(0, end)), FROM, new PublishRun())).toThrow(LinkError);
});

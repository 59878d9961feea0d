// The framing of a link: batches come out whole however the bytes are cut, and a damaged one ends the link.

import fc from "fast-check";
import { expect, test } from "vitest";
import { BatchReader, frameBatch } from "../../src/peer/batch.ts";
import { LinkError } from "../../src/peer/codec.ts";

test("whatever way the stream is cut, the batches are the ones that were framed", () => {
  fc.assert(
    fc.property(fc.array(fc.uint8Array({ maxLength: 200 }), { maxLength: 8 }), fc.array(fc.integer({ min: 1, max: 60 }), { minLength: 1, maxLength: 40 }), (batches, cuts) => {
      const room = Buffer.alloc(100); // used again for every batch that it has room for
      const stream = Buffer.concat(batches.map((batch) => Buffer.from(frameBatch(batch, room))));
      const reader = new BatchReader(1000);
      const taken: Uint8Array[] = [];
      let at = 0;
      for (let cut = 0; at < stream.length; cut += 1) {
        const end = at + cuts[cut % cuts.length]!;
        reader.push(Buffer.from(stream.subarray(at, end)), (messages) => taken.push(messages));
        at = end;
      }
      expect(taken.map((messages) => [...messages])).toEqual(batches.map((batch) => [...batch]));
    }),
  );
});

test("a flipped bit anywhere behind the length is found", () => {
  const batch = frameBatch(new Uint8Array([1, 2, 3, 4, 5]));
  for (let bit = 32; bit < batch.length * 8; bit += 1) {
    const damaged = Buffer.from(batch);
    damaged[bit >> 3]! ^= 1 << (bit & 7);
    expect(() => new BatchReader(1000).push(damaged, () => undefined)).toThrow(LinkError);
  }
});

test("a batch longer than the limit is refused by its head alone", () => {
  const head = frameBatch(new Uint8Array(65)).subarray(0, 8);
  expect(() => new BatchReader(64).push(head, () => undefined)).toThrow("longer than 64");
});

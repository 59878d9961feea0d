// The reader of server-sent events: the same events however the text is cut.

import fc from "fast-check";
import { expect, test } from "vitest";
import { EventReader, type ServerEvent } from "../../../clients/http/src/sse.ts";

const TEXT = 'retry: 1500\n\n: hello\nid: 4\n\nid: 5\ndata: {"a":1}\n\nevent: gap\r\ndata: one\r\ndata:two\r\nid: 9\r\n\r\rdata\rid\r\r: end';
const EVENTS: ServerEvent[] = [
  { event: "", data: "", id: "" },
  { event: "", data: "", id: "4" },
  { event: "message", data: '{"a":1}', id: "5" },
  { event: "gap", data: "one\ntwo", id: "9" },
  { event: "", data: "", id: "9" },
  { event: "message", data: "", id: "" },
];

test("events, comments, ids without data, every kind of line end", () => {
  const reader = new EventReader();
  expect(reader.read(TEXT)).toEqual(EVENTS);
  expect(reader.retryMs).toBe(1500);
});

test("cut anywhere, they are the same", () => {
  fc.assert(
    fc.property(fc.array(fc.nat(TEXT.length), { maxLength: 12 }), (cuts) => {
      const places = [0, ...cuts.sort((a, b) => a - b), TEXT.length];
      const reader = new EventReader();
      expect(places.slice(1).flatMap((end, index) => reader.read(TEXT.slice(places[index], end)))).toEqual(EVENTS);
    }),
  );
});

test("half an event is none yet, and one without an end is not collected for ever", () => {
  const reader = new EventReader();
  expect(reader.read("data: half")).toEqual([]);
  const endless = "x".repeat(1 << 20);
  expect(() => {
    for (let i = 0; i < 17; i += 1) reader.read(endless);
  }).toThrow("longer than");
});

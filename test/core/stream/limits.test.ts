// What is bounded: waiting requests, seats, sizes, a full disk; and the bodies and payloads that pass through.

import { describe, expect, test } from "vitest";
import { PUBLISH_KIND } from "../../../src/core/hop.ts";
import { payloadOf } from "../../../src/core/stream/body.ts";
import { Slab } from "../../../src/core/stream/slab.ts";
import { Bench, body } from "./driver.ts";

const keyed = (key: string, more: object = {}) => ({ type: "keyed", device: "d", key, fingerprint: "f", body: body("x"), expires: 0, ...more }) as const;
const open = (device: string) => ({ type: "open", device, publisher: "", nonce: 1n, window: 8, leaves: 0, attach: true }) as const;

describe("requests", () => {
  test("that wait for their entry are bounded, of every kind", () => {
    const bench = new Bench({ waiting: 2 }).open();
    const waits = [bench.send(keyed("1")), bench.send(open("d"))];
    const refused = [keyed("2"), open("e"), { type: "create", device: "f" } as const].map((request) => bench.send(request));
    for (const request of refused) expect(bench.answerTo("failed", request).code).toBe("overloaded");
    const entries = bench.entries.length;
    bench.commit();
    expect(bench.entries).toHaveLength(entries);
    bench.answerTo("stored", waits[0]!);
    bench.answerTo("attached", waits[1]!);
    expect(bench.ask("stored", keyed("2")).offset).toBeGreaterThan(0);
  });

  test("that wait for the original of their key, and questions that wait for a round, are bounded", () => {
    const bench = new Bench({ waiting: 2 }).open();
    for (let i = 0; i < 17; i += 1) bench.send(keyed("k"));
    expect(bench.answers).toEqual([]);
    expect(bench.answerTo("failed", bench.send(keyed("k"))).code).toBe("overloaded");
    for (let i = 0; i < 2; i += 1) bench.send({ type: "askKey", device: "d", key: "k" });
    expect(bench.answerTo("failed", bench.send({ type: "askKey", device: "d", key: "k" })).code).toBe("overloaded");
  });

  test("for a seat are refused while there is none; a closed socket frees one", () => {
    const bench = new Bench({ seats: 2 }).open();
    const { session, attachment } = bench.device("a");
    bench.device("b");
    expect(bench.ask("failed", open("c")).code).toBe("too_many_requests");
    bench.admission.request({ node: "n1", incarnation: 1 }, { type: "detach", request: 0, device: "a", publisher: "", session, nonce: 99n, attachment });
    expect(bench.ask("attached", open("c")).session).toBeGreaterThan(0);
  });

  test("with a bad name, or attached by another publisher than the device, are refused", () => {
    const bench = new Bench().open();
    for (const device of ["", "d".repeat(256), "\udc00", ".", ".."]) {
      expect(bench.ask("failed", open(device)).code).toBe("bad_request");
      expect(bench.ask("failed", { type: "create", device }).code).toBe("bad_request");
    }
    expect(bench.ask("failed", { ...open("d"), publisher: "server" }).code).toBe("bad_request");
    expect(bench.ask("failed", { ...open("d"), publisher: "p".repeat(256), attach: false }).code).toBe("bad_request");
    expect(bench.ask("failed", { type: "resume", device: "d", publisher: "server", session: 1, nonce: 99n, oldest: 1, next: 1, attach: true }).code).toBe("bad_request");
    expect(bench.ask("failed", keyed("k", { body: new Uint8Array(2000) })).code).toBe("too_large");
  });

  test("with numbers that the log cannot carry are refused before they reach it", () => {
    const bench = new Bench().open();
    for (const number of [-1, 0.5, Number.NaN, 2 ** 53, Infinity]) {
      expect(bench.ask("failed", { ...open("d"), window: number }).code).toBe("bad_request");
      expect(bench.ask("failed", keyed("k", { expires: number })).code).toBe("bad_request");
      bench.admission.request({ node: "n1", incarnation: 1 }, { type: "detach", request: 0, device: "d", publisher: "", session: number, nonce: 99n, attachment: 1 });
    }
    for (const nonce of [-1n, 2n ** 64n]) expect(bench.ask("failed", { ...open("d"), nonce }).code).toBe("bad_request");
    expect(bench.entries).toHaveLength(1);
    expect(bench.ask("attached", { ...open("d"), nonce: 2n ** 64n - 1n }).session).toBe(2);
  });

  test("of a gateway that is gone are dropped", () => {
    const bench = new Bench().open();
    bench.admission.gatewayGone("n1", 1);
    bench.send(open("d"));
    bench.commit();
    expect(bench.answers).toEqual([]);
    expect(bench.machine.devices.find("d")).toBeUndefined();
  });
});

test("a full disk: nothing new is taken, duplicates are acknowledged, and it goes on when there is room", () => {
  const bench = new Bench().open();
  const { handle } = bench.device("d");
  bench.publish(handle, 1);
  bench.commit();
  bench.admission.storageFull = true;
  bench.forget();
  const entries = bench.entries.length;
  bench.publish(handle, 2);
  expect(bench.take("refused")).toMatchObject([{ expected: 2, code: "storage_full" }]);
  bench.publish(handle, 1);
  expect(bench.take("acked")).toMatchObject([{ series: 1 }]);
  expect(bench.ask("failed", keyed("k")).code).toBe("storage_full");
  expect(bench.ask("failed", open("e")).code).toBe("storage_full");
  expect(bench.entries).toHaveLength(entries);
  bench.admission.storageFull = false;
  bench.publish(handle, 2);
  bench.commit();
  expect(bench.take("acked")).toMatchObject([{ series: 2 }]);
});

test("a server's session takes no seat: opening one again and again, at any gateway, is not counted", () => {
  const bench = new Bench({ seats: 1 }).open();
  bench.device("d");
  for (let i = 1; i <= 5; i += 1) {
    expect(bench.ask("attached", { ...open("d"), publisher: "server", attach: false }, { node: `n${i}`, incarnation: 1 })).toMatchObject({ handle: 0, attachment: 0 });
  }
  expect(bench.admission.waiting.seats).toBe(1);
  expect(bench.take("takenOver")).toEqual([]);
});

describe("bodies", () => {
  const payload = Uint8Array.of(0x7b, 0x7d);
  const nil = [0xc0, 0xc0];

  test.each([
    ["fixstr", [0x93, 0xa2, ...payload, ...nil]], ["bin 8", [0x93, 0xc4, 2, ...payload, ...nil]], ["str 8", [0x91, 0xd9, 2, ...payload]],
    ["bin 16", [0x93, 0xc5, 0, 2, ...payload, ...nil]], ["str 16", [0x93, 0xda, 0, 2, ...payload, ...nil]],
    ["bin 32", [0x93, 0xc6, 0, 0, 0, 2, ...payload, ...nil]], ["str 32", [0x93, 0xdb, 0, 0, 0, 2, ...payload, ...nil]],
    ["array 16", [0xdc, 0, 3, 0xc4, 2, ...payload, ...nil]], ["array 32", [0xdd, 0, 0, 0, 3, 0xc4, 2, ...payload, ...nil]],
  ])("a patch as %s is found", (_, bytes) => {
    expect(payloadOf(Uint8Array.from(bytes))).toEqual(payload);
  });

  test.each([[[]], [[0x90]], [[0x93]], [[0x93, 0xc0]], [[0x93, 0xa3, 1, 2]], [[0x93, 0xc6, 0xff, 0xff, 0xff, 0xff, 1]], [[0x93, 0xdb, 0, 0]], [[0xdc, 0]], [[0xc4, 1, 1]]])(
    "%j is no body with a payload",
    (bytes) => {
      expect(payloadOf(Uint8Array.from(bytes)) ?? new Uint8Array(0)).toHaveLength(0);
    },
  );

  test("a patch without a body is void, not fatal", () => {
    const bench = new Bench().open();
    const { handle } = bench.device("d");
    bench.forget();
    bench.admission.publish(handle, 1, PUBLISH_KIND.statePatch, new Uint8Array(0), 0, 0);
    bench.commit();
    expect(bench.take("acked")).toMatchObject([{ series: 1, voids: [{ series: 1, code: "bad_document" }] }]);
  });
});

test("payloads share memory, and never bytes", () => {
  const slab = new Slab();
  const taken = Array.from({ length: 3000 }, (_, i) => {
    slab.reserve(i % 700 === 0 ? 40_000 : 100 + (i % 100));
    slab.bytes[slab.start] = i % 251;
    return slab.take();
  });
  const places = taken.map((bytes) => ({ buffer: bytes.buffer, from: bytes.byteOffset, to: bytes.byteOffset + bytes.length }));
  for (const [i, place] of places.entries()) {
    const before = places[i - 1];
    if (before !== undefined && before.buffer === place.buffer) expect(place.from).toBeGreaterThanOrEqual(before.to);
    expect(taken[i]![0]).toBe(i % 251);
  }
  expect(new Set(places.map(({ buffer }) => buffer)).size).toBeLessThan(15);
});

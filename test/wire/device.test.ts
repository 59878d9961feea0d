// The device protocol's codec against the test vectors of docs/device-protocol.md, and each rule on elements, one by one.

import { Unpackr } from "msgpackr";
import { describe, expect, test } from "vitest";
import { BellhopError } from "../../src/base/errors.ts";
import { PUBLISH_KIND } from "../../src/core/hop.ts";
import { decodeBody, encodeBody, KIND } from "../../src/wire/body.ts";
import * as device from "../../src/wire/device.ts";
import { Writer } from "../../src/wire/msgpack.ts";
import { malformedFrames, vectors } from "./page.ts";
import { Recorder } from "./record.ts";

// "auto": a bigint only above 2^53; the type of the option lacks it.
const reference = new Unpackr({ useRecords: false, int64AsType: "auto" as "bigint" });

function read(frame: Uint8Array, byBroker: boolean): Recorder {
  const recorder = new Recorder();
  expect(new DataView(frame.buffer, frame.byteOffset).getUint32(0)).toBe(frame.length - 4);
  (byBroker ? device.readFromDevice : device.readFromBroker)(frame, 4, frame.length, recorder);
  return recorder;
}

const codeOf = (work: () => unknown): string => {
  try {
    work();
  } catch (error) {
    if (error instanceof BellhopError) return error.code;
    throw error;
  }
  return "none";
};

describe("vectors of the page", () => {
  test("there is one of every type", () => {
    const types = new Set(vectors.map((vector) => (vector.content as number[])[0]));
    expect([...types].sort((a, b) => a! - b!)).toEqual(Object.values(device.TYPE));
  });

  test.each(vectors)("$name", ({ content, frame }) => {
    expect(reference.unpack(frame.subarray(4))).toEqual(content); // the page's content is what another msgpack reads
    const recorder = read(frame, (content as number[])[0]! < 16);
    expect(recorder.calls).toHaveLength(1);
    const writer = new Writer();
    recorder.calls[0]!.write(writer);
    expect(Buffer.from(writer.written).toString("hex")).toBe(frame.toString("hex"));
  });

  test("malformed ones are there", () => expect(malformedFrames.length).toBeGreaterThan(10));

  test.each(malformedFrames)("malformed: $name", ({ name, frame }) => {
    expect(codeOf(() => read(frame, true))).toBe(name === "protocol 2" ? "unsupported_version" : "protocol");
  });

  test("elements that a later version adds are ignored", () => {
    for (const { content, frame } of vectors) {
      const array = content as unknown[];
      if (array[0] === device.TYPE.hello || array[0] === device.TYPE.document || array[0] === device.TYPE.ack || array[0] === device.TYPE.welcome) continue; // their next element is known
      const head = frame[4]!;
      const longer = Buffer.concat([Buffer.from([0, 0, 0, frame.length - 4 + 2, head + 1]), frame.subarray(5), Buffer.from([0x91, 0x2a])]);
      const before = read(frame, (array[0] as number) < 16).calls[0]!;
      const after = read(longer, (array[0] as number) < 16).calls[0]!;
      expect([after.name, after.args]).toEqual([before.name, before.args]);
    }
  });
});

describe("HELLO", () => {
  const required = [0x01, 0x01, 0xa2, 0x64, 0x31, 0xa0, 0x00, 0x07, 0x01, 0x01];
  const hello = (...bytes: number[]): device.HelloFrame => {
    const recorder = new Recorder();
    device.readFromDevice(Uint8Array.from(bytes), 0, bytes.length, recorder);
    return recorder.calls[0]!.args[0] as device.HelloFrame;
  };

  test("optional elements may be left out", () => {
    expect(hello(0x98, ...required)).toEqual({ protocol: 1, device: "d1", token: "", session: 0, nonce: 7n, oldest: 1, next: 1, ...device.HELLO_DEFAULTS });
  });

  test("optional elements may be nil", () => {
    expect(hello(0x9b, ...required, 0xc0, 0xc0, 0x10)).toMatchObject({ leaves: 0, window: 64, wrap: 16 });
  });

  test.each([
    ["a window of 0", [0x9a, ...required, 0, 0]],
    ["a wrap below 16", [0x9b, ...required, 0, 1, 15]],
    ["an oldest of 0", [0x98, ...required.slice(0, 8), 0, 1]],
    ["oldest above next", [0x98, ...required.slice(0, 8), 2, 1]],
    ["an empty device id", [0x98, 1, 1, 0xa0, ...required.slice(5)]],
    ["a control character in the id", [0x98, 1, 1, 0xa2, 0x64, 0x0a, ...required.slice(5)]],
    ["seven elements", [0x97, ...required.slice(0, 9)]],
    ["a float nonce above 2^53", [0x98, ...required.slice(0, 7), 0xcb, 0x43, 0xf0, 0, 0, 0, 0, 0, 0, 1, 1]],
  ])("%s is refused", (_what, bytes) => expect(codeOf(() => hello(...bytes))).toBe("protocol"));
});

describe("device ids", () => {
  test.each([["d", true], ["ä".repeat(64), true], ["ä".repeat(65), false], ["x".repeat(128), true], ["x".repeat(129), false], ["", false], ["a\u0085", false], [".", false], ["..", false], ["...", true], [".a", true]])(
    "%s: %s",
    (id, good) => expect(device.isDeviceId(id)).toBe(good),
  );
});

describe("body", () => {
  test("its kinds are those of the core", () => expect(KIND).toEqual(PUBLISH_KIND));

  test("a header may have any name", () => {
    const body = decodeBody(encodeBody("x", JSON.parse('{"__proto__":"1","constructor":"2"}') as Record<string, string>));
    expect(Object.entries(body.headers!)).toEqual([["__proto__", "1"], ["constructor", "2"]]);
    expect(({} as Record<string, unknown>)["1"]).toBeUndefined();
  });

  test("round trip", () => {
    const payload = new Uint8Array(300).fill(7);
    expect(decodeBody(encodeBody(payload, { a: "b" }, 1_795_185_720_000))).toEqual({
      payload, text: false, headers: Object.assign(Object.create(null) as object, { a: "b" }), expires: 1_795_185_720_000,
    });
    expect(decodeBody(encodeBody("°"))).toEqual({ payload: new TextEncoder().encode("°"), text: true, headers: undefined, expires: 0 });
  });
});

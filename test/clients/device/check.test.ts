// What the application hands over is looked at before it is taken: a mistake has a typed error that names it, and nothing is dropped in silence.

import { afterAll, beforeAll, expect, test } from "vitest";
import { mostWait } from "../../../clients/device/src/backoff.ts";
import { connect, type Device, type DeviceError, type DeviceOptions, type JsonObject, type PublishOptions } from "../../../clients/device/src/index.ts";

let device: Device;
beforeAll(() => {
  device = connect({ brokers: "127.0.0.1:1", device: "d1" });
});
afterAll(() => device.close());

const wrong = { brokers: "127.0.0.1:1", device: "d1" };
test.each<[string, unknown, RegExp]>([
  ["nothing", undefined, /not undefined/],
  ["no brokers", {}, /`brokers` is missing/],
  ["brokers of another type", { ...wrong, brokers: [4810] }, /`brokers` is a string or an array/],
  ["no broker in the list", { ...wrong, brokers: [] }, /No broker is named/],
  ["no host:port", { ...wrong, brokers: "a:b:c" }, /a:b:c is no host:port/],
  ["no device", { brokers: "a" }, /`device` is its id/],
  ["an id that is none", { ...wrong, device: ".." }, /128 bytes/],
  ["an unknown option", { ...wrong, outBox: "file" }, /no option `outBox`: did you mean outbox/],
  ["an option like no other", { ...wrong, retries: 3 }, /no option `retries`: there are brokers, device/],
  ["a number too great", { ...wrong, keepAlive: 100_000 }, /`keepAlive` is a number from 1 to 65535, not 100000/],
  ["a fraction", { ...wrong, window: 1.5 }, /`window` is a number from 1 to 65535, not 1.5/],
  ["a text for a number", { ...wrong, outboxMessages: "10" }, /`outboxMessages` is a number .* not a string/],
  ["a token of another type", { ...wrong, token: Buffer.from("x") }, /`token` is a string, not a Buffer/],
  ["an outbox without a name", { ...wrong, outbox: "" }, /not an empty string/],
  ["tls that is no object", { ...wrong, tls: false }, /`tls` is true or an object, not false/],
  ["tls without a certificate", { ...wrong, tls: { cert: "no certificate" } }, /`tls` cannot be used/],
])("connect, %s: bad_request, and the stack begins at the call", (_what, options, said) => {
  const error = failureOf(() => connect(options as DeviceOptions));
  expect([error.code, error.message]).toEqual(["bad_request", expect.stringMatching(said)]);
  expect(error.stack?.split("\n    at ")[1]).toContain("check.test.ts");
});

test("connect, a folder that does not exist: outbox_failed that names it", () => {
  const error = failureOf(() => connect({ ...wrong, outbox: "/nowhere/at/all.outbox" }));
  expect([error.code, error.message]).toEqual(["outbox_failed", "outbox_failed: /nowhere/at/all.outbox: there is no folder /nowhere/at."]);
});

test.each<[string, unknown, RegExp]>([
  ["a header that is a number", { headers: { a: 5 } }, /The header `a` has a number as its value/],
  ["a header that is too long", { headers: { a: "x".repeat(4097) } }, /The header `a` has more than 4096 bytes/],
  ["headers that are a Map", { headers: new Map([["a", "b"]]) }, /`headers` is an object of strings, not a Map/],
  ["an unknown option", { expire: 1 }, /no option `expire`: did you mean expires/],
  ["options that are none", "soon", /options of `publish` are an object, not a string/],
])("publish, %s: bad_request", async (_what, options, said) => {
  const error = await rejectionOf(device.publish("x", options as PublishOptions));
  expect([error.code, error.message]).toEqual(["bad_request", expect.stringMatching(said)]);
});

let deep: JsonObject = {};
for (let i = 0; i < 32; i += 1) deep = { deep };
test.each<[string, unknown, RegExp]>([
  ["NaN", { temperature: NaN }, /`temperature` is NaN/],
  ["Infinity, inside", { room: { lamps: [1, -Infinity] } }, /`room.lamps\[1\]` is -Infinity/],
  ["undefined", { temperature: undefined }, /`temperature` is undefined/],
  ["a hole in an array", { list: [1, undefined] }, /`list\[1\]` is undefined/],
  ["a function", { f: () => 1 }, /`f` is a function/],
  ["a bigint", { n: 1n }, /`n` is a bigint/],
  ["a Date", { at: new Date(0) }, /`at` is a Date/],
  ["a Map", { m: new Map() }, /`m` is a Map/],
  ["bytes", { b: new Uint8Array(2) }, /`b` is a Uint8Array/],
  ["an array", [1], /A patch is a JSON object, not an array/],
  ["a string", "on", /A patch is a JSON object, not a string/],
  ["too deep", deep, /deeper than 32/],
  ["too large", { text: "x".repeat(200_000) }, /The patch has 200011 bytes; .* at most 65536/],
])("state.patch, %s: bad_document that names it", async (_what, patch, said) => {
  const error = await rejectionOf(device.state.patch(patch as JsonObject));
  expect([error.code, error.message]).toEqual(["bad_document", expect.stringMatching(said)]);
});

test("what JSON has is taken: nested, null, without a prototype", () => {
  void device.state.patch({ a: [{ b: null }, "x", 1.5, true], c: Object.assign(Object.create(null), { d: {} }) as JsonObject }).catch(() => undefined);
  expect(device.waiting).toBe(1);
});

test("after a good connection the waits have a lower cap, for a minute, and never more than was asked for", () => {
  expect([mostWait(30_000, 0), mostWait(30_000, 59_999), mostWait(30_000, 60_000), mostWait(30_000, Infinity), mostWait(1000, 0)]).toEqual([5000, 5000, 30_000, 30_000, 1000]);
});

function failureOf(call: () => unknown): DeviceError {
  try {
    call();
  } catch (error) {
    return error as DeviceError;
  }
  throw new Error("It did not fail.");
}

async function rejectionOf(promise: Promise<unknown>): Promise<DeviceError> {
  return promise.then(() => expect.unreachable("It was taken."), (error: unknown) => error as DeviceError);
}

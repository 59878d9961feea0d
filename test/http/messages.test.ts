// Publishing to a device over HTTP and reading it back: keys, payloads of every type, limits, expiry.

import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { runBroker, type Reply, type RunningBroker } from "./broker.ts";

let broker: RunningBroker;
beforeAll(async () => {
  broker = await runBroker({ maxPayloadBytes: 10_000 });
});
afterAll(() => broker.stop());

let devices = 0;
const newDevice = (): string => `m${(devices += 1)}`;

const publish = (device: string, body: string | Uint8Array, headers: Record<string, string> = {}): Promise<Reply> =>
  broker.call("POST", `/v1/devices/${encodeURIComponent(device)}/messages`, { body, headers });

const entries = async (device: string): Promise<Record<string, unknown>[]> => {
  const reply = await broker.call("GET", `/v1/devices/${encodeURIComponent(device)}/stream`);
  expect(reply.status).toBe(200);
  return (reply.json as { entries: Record<string, unknown>[] }).entries;
};

describe("an idempotency key", () => {
  test("stores once: the same request again is answered with the first offset", async () => {
    const device = newDevice();
    const headers = { "idempotency-key": "k1", "content-type": "text/plain" };
    const first = await publish(device, "hello", headers);
    expect([first.status, first.json]).toEqual([201, { device, offset: "1", duplicate: false }]);
    expect((await publish(device, "other", { "idempotency-key": "k2" })).json).toEqual({ device, offset: "2", duplicate: false });
    const again = await publish(device, "hello", headers);
    expect([again.status, again.json]).toEqual([200, { device, offset: "1", duplicate: true }]);
    const quoted = await publish(device, "hello", { ...headers, "idempotency-key": `"k1"` });
    expect([quoted.status, quoted.json.offset]).toEqual([200, "1"]);
    expect(await entries(device)).toHaveLength(2);
  });

  test("with another body or type is refused for good, and stores nothing", async () => {
    const device = newDevice();
    await publish(device, "hello", { "idempotency-key": "k1", "content-type": "text/plain" });
    for (const [body, type] of [["hullo", "text/plain"], ["hello", "application/octet-stream"]] as const) {
      const other = await publish(device, body, { "idempotency-key": "k1", "content-type": type });
      expect([other.status, other.json.code, other.json.retryable]).toEqual([422, "key_reused", false]);
      expect(other.headers["content-type"]).toBe("application/problem+json; charset=utf-8");
    }
    expect(await entries(device)).toHaveLength(1);
  });

  test("belongs to its device", async () => {
    const [a, b] = [newDevice(), newDevice()];
    expect((await publish(a, "x", { "idempotency-key": "same" })).status).toBe(201);
    expect((await publish(b, "y", { "idempotency-key": "same" })).status).toBe(201);
  });

  test("the same key several times at once is stored once", async () => {
    const device = newDevice();
    const replies = await Promise.all(Array.from({ length: 12 }, () => publish(device, "x", { "idempotency-key": "k" })));
    expect(replies.filter((reply) => reply.status === 201)).toHaveLength(1);
    expect(replies.filter((reply) => reply.status === 200 && reply.json.duplicate === true)).toHaveLength(11);
    expect(new Set(replies.map((reply) => reply.json.offset as string))).toEqual(new Set(["1"]));
    expect(await entries(device)).toHaveLength(1);
  });

  test("left out: each request is a message", async () => {
    const device = newDevice();
    expect((await publish(device, "x")).json.offset).toBe("1");
    expect((await publish(device, "x")).json.offset).toBe("2");
  });

  test.each(["", "a b", "ü", "x".repeat(256)])("must be visible and short: %j", async (key) => {
    const reply = await publish(newDevice(), "x", { "idempotency-key": Buffer.from(key).toString("latin1") });
    expect([reply.status, reply.json.code]).toEqual([400, "bad_request"]);
  });
});

describe("payloads come back as they were sent", () => {
  test.each<[string, string | Uint8Array, string | undefined, string, string, unknown]>([
    ["JSON", `{"a":[1,2.50,"ü"]}`, "application/json", "application/json", "json", { a: [1, 2.5, "ü"] }],
    ["JSON over lines", `{\n  "a": 1\r\n}\n`, "application/json; charset=utf-8", "application/json; charset=utf-8", "json", { a: 1 }],
    ["JSON of another name", `"x"`, "application/vnd.acme+json", "application/vnd.acme+json", "json", "x"],
    ["what says JSON and is not", `{"a":`, "application/json", "application/json", "text", `{"a":`],
    ["text", `line 1\nline "2" ü €`, "text/plain", "text/plain", "text", `line 1\nline "2" ü €`],
    ["text that is no UTF-8", Uint8Array.of(0xff, 0xfe), "text/plain", "text/plain", "base64", "//4="],
    ["bytes", Uint8Array.of(0, 1, 2, 255), "application/octet-stream", "application/octet-stream", "base64", "AAEC/w=="],
    ["bytes without a type", Uint8Array.of(0, 1, 2, 255), undefined, "application/octet-stream", "base64", "AAEC/w=="],
    ["a form, which the framework would parse", "a=1&b=2", "application/x-www-form-urlencoded", "application/x-www-form-urlencoded", "text", "a=1&b=2"],
    ["nothing", "", "text/plain", "text/plain", "text", ""],
    ["nothing without a type", "", undefined, "application/octet-stream", "base64", ""],
  ])("%s", async (_what, body, sentType, contentType, encoding, payload) => {
    const device = newDevice();
    expect((await publish(device, body, sentType === undefined ? {} : { "content-type": sentType })).status).toBe(201);
    expect(await entries(device)).toEqual([
      { offset: "1", time: expect.stringMatching(/^\d{4}-\d\d-\d\dT[\d:.]+Z$/) as string, type: "downlink", publisher: "backend", headers: {}, contentType, encoding, payload },
    ]);
  });

  test("numbers in JSON keep their digits", async () => {
    const device = newDevice();
    await publish(device, `{"big":12345678901234567890,"one":1.0}`, { "content-type": "application/json" });
    const reply = await broker.call("GET", `/v1/devices/${device}/stream`);
    expect(reply.text).toContain(`"payload":{"big":12345678901234567890,"one":1.0}`);
  });

  test("the trace goes with the message", async () => {
    const device = newDevice();
    const traceparent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    await publish(device, "x", { traceparent });
    expect((await entries(device))[0]?.["headers"]).toEqual({ traceparent });
  });

  test.each(["a/b", "ü-device", "with space", "%2F", "x".repeat(128), "🚲"])("to a device named %j", async (device) => {
    expect((await publish(device, "x")).json).toEqual({ device, offset: "1", duplicate: false });
    expect(await entries(device)).toHaveLength(1);
  });
});

describe("refused", () => {
  test("a payload above the limit, and one at the limit is taken", async () => {
    const device = newDevice();
    expect((await publish(device, "x".repeat(10_000))).status).toBe(201);
    const reply = await publish(device, "x".repeat(10_001));
    expect([reply.status, reply.json.code, reply.json.retryable]).toEqual([413, "too_large", false]);
  });

  test("a content type longer than a message's header may be", async () => {
    expect((await publish(newDevice(), "x", { "content-type": `text/${"x".repeat(4091)}` })).status).toBe(201);
    const reply = await publish(newDevice(), "x", { "content-type": `text/${"x".repeat(4092)}` });
    expect([reply.status, reply.json.code]).toEqual([413, "too_large"]);
  });

  test.each(["x".repeat(129), "ü".repeat(65), "%C2%80", "%00", "a%0Ab", "%7F"])("a device id with %s", async (id) => {
    const reply = await broker.call("POST", `/v1/devices/${encodeURI(id).replaceAll("%25", "%")}/messages`, { body: "x" });
    expect([reply.status, reply.json.code]).toEqual([400, "bad_request"]);
  });

  test.each([
    "", "soon", "0", "-5", "1.5", "2090-01-01", "2090-01-01T00:00Z", "2090-01-01T00:00:00", "2090-01-01 00:00:00Z", "2090-01-01T24:00:00Z", "2090-01-01T00:00:00+25:00",
    "2020-13-45T00:00:00Z", "2030-02-30T00:00:00Z", "2030-02-29T12:00:00Z",
  ])("Bellhop-Expires: %s", async (expires) => {
    const reply = await publish(newDevice(), "x", { "bellhop-expires": expires });
    expect([reply.status, reply.json.code]).toEqual([400, "bad_request"]);
  });

  test.each(["2020-01-01T00:00:00Z", "1970-01-01T00:00:00Z", "1970-01-01T01:00:00+01:00", "0001-01-01T00:00:00Z"])("what has expired already: %s", async (expires) => {
    const device = newDevice();
    const reply = await publish(device, "x", { "bellhop-expires": expires });
    expect([reply.status, reply.json.code]).toEqual([410, "expired"]);
    expect(await entries(device)).toEqual([]);
  });

  test("what has expired since, but was stored: the duplicate is told as one", async () => {
    const device = newDevice();
    const headers = { "idempotency-key": "k", "bellhop-expires": new Date(Date.now() + 200).toISOString() };
    const first = await publish(device, "x", headers);
    expect(first.status).toBe(201);
    while (Date.now() < Date.parse(headers["bellhop-expires"])) await publish(newDevice(), "time passes");
    expect((await publish(device, "x", headers)).json).toEqual({ device, offset: "1", duplicate: true });
  });

  test("is told with the entry", async () => {
    const device = newDevice();
    await publish(device, "x", { "bellhop-expires": "2090-01-01T00:00:00Z" });
    await publish(device, "y");
    expect((await entries(device)).map((entry) => entry["expires"])).toEqual(["2090-01-01T00:00:00.000Z", undefined]);
  });

  test("a message that expires later is stored", async () => {
    for (const expires of ["60", "2090-01-01T00:00:00Z", "2090-01-01t00:00:00.123456+02:00", "2088-02-29T23:59:59-00:30"]) expect((await publish(newDevice(), "x", { "bellhop-expires": expires })).status).toBe(201);
  });
});

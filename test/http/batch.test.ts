// POST /v1/messages: a result for each line, in order, whatever one of them is; streamed, bounded.

import { request, type ClientRequest, type IncomingMessage } from "node:http";
import { createInterface } from "node:readline";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { LineCutter } from "../../src/http/lines.ts";
import { runBroker, type RunningBroker } from "./broker.ts";

let broker: RunningBroker;
beforeAll(async () => {
  broker = await runBroker({ maxPayloadBytes: 2000 });
});
afterAll(() => broker.stop());

interface Result {
  readonly line: number;
  readonly status: number;
  readonly device?: string;
  readonly offset?: string;
  readonly duplicate?: boolean;
  readonly code?: string;
}

const headers = { "content-type": "application/x-ndjson" };
const send = async (body: string | Uint8Array): Promise<Result[]> => {
  const reply = await broker.call("POST", "/v1/messages", { body, headers });
  expect([reply.status, reply.headers["content-type"]]).toEqual([200, "application/x-ndjson"]);
  expect(reply.text === "" || reply.text.endsWith("\n")).toBe(true);
  return reply.text.split("\n").slice(0, -1).map((line) => JSON.parse(line) as Result);
};
const lines = (...all: object[]): string => all.map((one) => `${JSON.stringify(one)}\n`).join("");
const codes = (results: readonly Result[]): (string | undefined)[] => results.map(({ code, offset }) => code ?? offset);

const entries = async (device: string): Promise<Record<string, unknown>[]> =>
  ((await broker.call("GET", `/v1/devices/${device}/stream?limit=1000`)).json as { entries: Record<string, unknown>[] }).entries;

let devices = 0;
const newDevice = (): string => `b${(devices += 1)}`;

describe("lines and results", () => {
  test("a result a line, in order; one line's failure stops no other", async () => {
    const [a, b] = [newDevice(), newDevice()];
    const results = await send(`${lines({ device: a, payload: "one" })}no json\n${lines({ device: b, payload: "x" }, { device: a, payload: "x".repeat(2001) }, { device: a, payload: "two" })}`);
    expect(results).toMatchObject([
      { line: 1, status: 201, device: a, offset: "1", duplicate: false }, { line: 2, status: 400, code: "bad_request" }, { line: 3, status: 201, device: b, offset: "1" },
      { line: 4, status: 413, code: "too_large" }, { line: 5, status: 201, device: a, offset: "2" },
    ]);
    expect((await entries(a)).map(({ payload }) => payload)).toEqual(["one", "two"]);
  });

  test("a key stores once, within a batch, over batches, and with a publish of its own", async () => {
    const device = newDevice();
    const line = { device, payload: "hello", key: "k1", contentType: "text/plain" };
    expect(await send(lines(line, line, { ...line, payload: "other" }))).toMatchObject([{ status: 201, offset: "1" }, { status: 200, offset: "1", duplicate: true }, { status: 422, code: "key_reused" }]);
    expect(await send(lines(line))).toMatchObject([{ status: 200, duplicate: true }]);
    const single = await broker.call("POST", `/v1/devices/${device}/messages`, { body: "hello", headers: { "idempotency-key": "k1", "content-type": "text/plain" } });
    expect([single.status, single.json.duplicate]).toEqual([200, true]);
  });

  test("the last line needs no newline; blank lines, CR LF and a byte order mark do no harm", async () => {
    const device = newDevice();
    const line = JSON.stringify({ device, payload: "x" });
    expect((await send(`\uFEFF${line}\r\n\n  \r\n${line}`)).map((result) => [result.line, result.offset])).toEqual([[1, "1"], [4, "2"]]);
    expect(await send("")).toEqual([]);
    expect(await send("\n\n")).toEqual([]);
    expect(codes(await send(`${line}\n\uFEFF${line}`))).toEqual(["3", "bad_request"]);
  });

  test("a line longer than any message is refused without being kept, and the next is taken", async () => {
    const device = newDevice();
    const results = await send(`${JSON.stringify({ device, payload: "x".repeat(5_000_000) })}\n${lines({ device, payload: "next" })}${"y".repeat(100_000)}`);
    expect(codes(results)).toEqual(["too_large", "1", "too_large"]);
  });

  test.each([
    ["a misspelt field", { device: "d", payload: "x", expiers: 5 }], ["no device", { payload: "x" }], ["a device that is none", { device: "a\u0000b", payload: "x" }], ["no payload", { device: "d" }],
    ["two payloads", { device: "d", payload: "x", payloadBase64: "eA==" }], ["bytes that are no base64", { device: "d", payloadBase64: "e!" }], ["base64 of a bad length", { device: "d", payloadBase64: "e" }],
    ["a key with a blank", { device: "d", payload: "x", key: "a b" }], ["a key that is no string", { device: "d", payload: "x", key: 1 }], ["an object as text", { device: "d", payload: {}, contentType: "text/plain" }],
    ["a time that is none", { device: "d", payload: "x", expires: "soon" }], ["a negative time", { device: "d", payload: "x", expires: -1 }], ["headers that are a list", { device: "d", payload: "x", headers: ["a"] }],
    ["a header that is no string", { device: "d", payload: "x", headers: { a: 1 } }], ["a header named __proto__", JSON.parse(`{"device":"d","payload":"x","headers":{"__proto__":"y"}}`) as object],
    ["the content type as a header", { device: "d", payload: "x", contentType: "text/plain", headers: { "content-type": "text/html" } }], ["a content type over two lines", { device: "d", payload: "x", contentType: "a\nb" }],
    ["a list", []],
  ])("refused alone: %s", async (_what, line) => {
    expect(await send(lines(line))).toMatchObject([{ line: 1, status: 400, code: "bad_request", retryable: false, detail: expect.stringMatching(/./) as string }]);
  });

  test("refused alone: bad UTF-8, and JSON nested so deep that it cannot be written", async () => {
    expect(codes(await send(Buffer.concat([Buffer.from(`{"device":"d","payload":"`), Buffer.from([0xff]), Buffer.from(`"}\n`)])))).toEqual(["bad_request"]);
    const deep = 1500;
    expect(codes(await send(`{"device":"d","payload":${"[".repeat(deep)}${"]".repeat(deep)}}`))).toHaveLength(1);
  });

  test("what has expired already is refused alone", async () => {
    expect(await send(lines({ device: newDevice(), payload: "x", expires: "2020-01-01T00:00:00Z" }, { device: newDevice(), payload: "x", expires: 60 }))).toMatchObject([{ status: 410, code: "expired" }, { status: 201 }]);
  });
});

test("payloads are text, JSON or bytes", async () => {
  const device = newDevice();
  await send(lines(
    { device, payload: "text ü" }, { device, payload: { a: [1, null] } }, { device, payload: 5 }, { device, payload: null }, { device, payload: "a string", contentType: "application/json" },
    { device, payload: "<p>", contentType: "text/html", headers: { "x-unit": "C" } }, { device, payloadBase64: "AAEC/w==" }, { device, payloadBase64: "eyJhIjoxfQ", contentType: "application/json" },
  ));
  const seen = (await entries(device)).map(({ contentType, encoding, payload, headers: own }) => [contentType, encoding, payload, own]);
  expect(seen).toEqual([
    ["text/plain; charset=utf-8", "text", "text ü", {}], ["application/json", "json", { a: [1, null] }, {}], ["application/json", "json", 5, {}], ["application/json", "json", null, {}],
    ["application/json", "json", "a string", {}], ["text/html", "text", "<p>", { "x-unit": "C" }], ["application/octet-stream", "base64", "AAEC/w==", {}], ["application/json", "json", { a: 1 }, {}],
  ]);
});

test("only NDJSON is taken", async () => {
  const reply = await broker.call("POST", "/v1/messages", { body: "{}", headers: { "content-type": "application/json" } });
  expect([reply.status, reply.json.code]).toEqual([400, "bad_request"]);
});

describe("streamed", () => {
  function begin(): { readonly outgoing: ClientRequest; readonly answer: Promise<IncomingMessage> } {
    const outgoing = request(`http://${broker.http}/v1/messages`, { method: "POST", headers });
    return { outgoing, answer: new Promise((resolve, reject) => outgoing.on("response", resolve).on("error", reject)) };
  }

  test("results come while the batch is still being sent, and a line may come in pieces", async () => {
    const device = newDevice();
    const { outgoing, answer } = begin();
    const line = lines({ device, payload: "x" });
    outgoing.write(line);
    const results = createInterface({ input: await answer })[Symbol.asyncIterator]();
    const next = async (): Promise<Result> => JSON.parse((await results.next()).value as string) as Result;
    expect(await next()).toMatchObject({ line: 1, offset: "1" });
    outgoing.write(line.slice(0, 7));
    outgoing.write(line.slice(7));
    expect(await next()).toMatchObject({ line: 2, offset: "2" });
    outgoing.end();
    expect((await results.next()).done).toBe(true);
  });

  test("of many lines: all are stored, each once and in order, though no more than a bounded number is in flight", async () => {
    const device = newDevice();
    const count = 5000;
    const results = await send(Array.from({ length: count }, (_, i) => lines({ device, payload: `m${i}`, key: `k${i}` })).join(""));
    expect(results.map(({ offset }) => Number(offset))).toEqual(Array.from({ length: count }, (_, i) => i + 1));
    expect(results.map(({ line }) => line)).toEqual(Array.from({ length: count }, (_, i) => i + 1));
  });

  test("cut off: what was read is stored or not, and the broker goes on", async () => {
    const device = newDevice();
    const { outgoing, answer } = begin();
    outgoing.write(`${lines({ device, payload: "x" })}{"device":`);
    await answer;
    outgoing.on("error", () => undefined).destroy();
    expect(codes(await send(lines({ device, payload: "y" })))).toEqual(["2"]);
    while ((await broker.call("GET", "/v1/status")).json.waiting.requests !== 0) await send("");
  });
});

describe("the cutter of lines", () => {
  test.each([1, 2, 3, 7, 100])("gives the same lines in pieces of %i bytes", (size) => {
    const bytes = Buffer.from("one\n\nthree\nmuch too long to be kept\nfive\nsix");
    const cutter = new LineCutter(8);
    const taken: (string | undefined)[] = [];
    const take = (line: Buffer | undefined): boolean => taken.push(line?.toString()) > 0;
    for (let at = 0; at < bytes.length; at += size) cutter.push(bytes.subarray(at, at + size), take);
    cutter.end(take);
    expect(taken).toEqual(["one", "", "three", undefined, "five", "six"]);
  });

  test("stops where no further line is wanted, and goes on with the bytes that are left", () => {
    let rest = Buffer.from("one\ntwo\nmuch too long to be kept\nfour");
    const cutter = new LineCutter(8);
    const taken: (string | undefined)[] = [];
    const one = (line: Buffer | undefined): boolean => taken.push(line?.toString()) < 0;
    for (const left of [33, 29, 4, 0]) {
      rest = rest.subarray(cutter.push(rest, one));
      expect(rest.length).toBe(left);
    }
    cutter.end(one);
    expect(taken).toEqual(["one", "two", undefined, "four"]);
  });
});

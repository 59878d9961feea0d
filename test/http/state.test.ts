// A device's state over HTTP: put, merge patch, versions with ETag and If-Match, reading at a position.

import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { runBroker, type Reply, type RunningBroker } from "./broker.ts";

let broker: RunningBroker;
beforeAll(async () => {
  broker = await runBroker();
});
afterAll(() => broker.stop());

let devices = 0;
const newDevice = (): string => `t${(devices += 1)}`;

const change = (method: "PUT" | "PATCH", device: string, document: string, headers: Record<string, string> = {}, query = ""): Promise<Reply> =>
  broker.call(method, `/v1/devices/${device}/state${query}`, { body: document, headers: { "content-type": "application/json", ...headers } });
const get = (device: string, query = "", headers: Record<string, string> = {}): Promise<Reply> => broker.call("GET", `/v1/devices/${device}/state${query}`, { headers });

describe("changes", () => {
  test("a put replaces, a patch merges (RFC 7396), each raises the version and is an entry of the stream", async () => {
    const device = newDevice();
    expect((await change("PUT", device, `{"a":{"b":1,"c":2},"d":[1]}`)).json).toEqual({ device, document: "desired", version: 1, offset: "1" });
    expect((await change("PATCH", device, `{"a":{"b":null,"e":3},"d":[2]}`)).json).toMatchObject({ version: 2, offset: "2" });
    expect((await get(device)).json).toEqual({
      device,
      reported: { version: 0, offset: "0", document: {} },
      desired: { version: 2, offset: "2", document: { a: { c: 2, e: 3 }, d: [2] } },
    });
    expect((await change("PUT", device, `{"f":true}`)).json).toMatchObject({ version: 3, offset: "3" });
    expect((await get(device)).json.desired).toEqual({ version: 3, offset: "3", document: { f: true } });
    const page = await broker.call("GET", `/v1/devices/${device}/stream?type=state`);
    expect((page.json as { entries: unknown[] }).entries).toHaveLength(3);
  });

  test("the reported document may be changed too, with a version of its own", async () => {
    const device = newDevice();
    await change("PUT", device, `{"on":true}`);
    expect((await change("PUT", device, `{"on":false}`, {}, "?document=reported")).json).toMatchObject({ document: "reported", version: 1, offset: "2" });
    expect((await get(device)).json).toMatchObject({ reported: { version: 1, document: { on: false } }, desired: { version: 1, document: { on: true } } });
  });

  test.each(["", "[]", "1", "null", `"x"`, `{"a":`, "{'a':1}", `{"a":1}x`])("refuse what is no JSON object: %j", async (document) => {
    for (const method of ["PUT", "PATCH"] as const) {
      const reply = await change(method, newDevice(), document);
      expect([reply.status, reply.json.code, reply.json.retryable]).toEqual([400, "bad_document", false]);
    }
  });

  test("refuse what is too deep, and what is too large", async () => {
    const deep = `${`{"a":`.repeat(300)}1${"}".repeat(300)}`;
    const reply = await change("PUT", newDevice(), deep);
    expect([reply.status, reply.json.code]).toEqual([400, "bad_document"]);
    const large = await change("PUT", newDevice(), JSON.stringify({ a: "x".repeat(65_536) }));
    expect([large.status, large.json.code]).toEqual([413, "too_large"]);
  });

  test("a name that is special elsewhere is a name like any other", async () => {
    const device = newDevice();
    await change("PUT", device, `{"__proto__":{"x":1},"constructor":2}`);
    expect((await get(device)).text).toContain(`"__proto__":{"x":1}`);
    expect(({} as Record<string, unknown>)["x"]).toBeUndefined();
  });
});

describe("versions", () => {
  test("If-Match with the ETag that was read makes the change; after another change it is 412 and changes nothing", async () => {
    const device = newDevice();
    await change("PUT", device, `{"n":1}`);
    const etag = (await get(device)).headers.etag ?? "";
    expect(etag).toBe(`"reported-0.desired-1"`);
    const second = await change("PUT", device, `{"n":2}`, { "if-match": etag });
    expect([second.status, second.headers.etag]).toEqual([200, `"desired-2"`]);
    const stale = await change("PUT", device, `{"n":3}`, { "if-match": etag });
    expect([stale.status, stale.json.code, stale.json.retryable]).toEqual([412, "version_conflict", false]);
    expect((await change("PATCH", device, `{"m":1}`, { "if-match": `"desired-2"` })).status).toBe(200);
    expect((await get(device)).json.desired).toMatchObject({ version: 3, document: { n: 2, m: 1 } });
  });

  test("a change of one document does not void the other's tag", async () => {
    const device = newDevice();
    const etag = (await change("PUT", device, `{"n":1}`)).headers.etag ?? "";
    await change("PUT", device, `{"r":1}`, {}, "?document=reported");
    expect((await change("PUT", device, `{"n":2}`, { "if-match": etag })).status).toBe(200);
  });

  test("of two at once with one tag, one wins", async () => {
    const device = newDevice();
    const etag = (await change("PUT", device, "{}")).headers.etag ?? "";
    const replies = await Promise.all([1, 2, 3, 4, 5].map((n) => change("PUT", device, `{"n":${n}}`, { "if-match": etag })));
    expect(replies.map((reply) => reply.status).sort()).toEqual([200, 412, 412, 412, 412]);
  });

  test.each([`"other-1"`, `"1"`, "desired-1", `"reported-1"`])("If-Match: %s names no version of desired", async (tag) => {
    const device = newDevice();
    await change("PUT", device, "{}");
    expect((await change("PUT", device, "{}", { "if-match": tag })).status).toBe(412);
  });

  test("If-Match may be a list: the version that the document has counts; a weak tag never does", async () => {
    const device = newDevice();
    for (const document of ["{}", "{}"]) await change("PUT", device, document);
    expect((await change("PUT", device, "{}", { "if-match": `W/"desired-2"` })).status).toBe(412);
    expect((await change("PUT", device, "{}", { "if-match": `"desired-7", "desired-1"` })).status).toBe(412);
    expect((await change("PUT", device, "{}", { "if-match": `"desired-1","desired-2" , "reported-9"` })).json.version).toBe(3);
  });

  test("If-None-Match may be a list, weak, or any", async () => {
    const device = newDevice();
    await change("PUT", device, "{}");
    const etag = (await get(device)).headers.etag ?? "";
    for (const tags of [`W/${etag}`, `"other", W/"x", ${etag}`, "*"]) expect((await get(device, "", { "if-none-match": tags })).status, tags).toBe(304);
    for (const tags of [`"other", W/"x"`, ""]) expect((await get(device, "", { "if-none-match": tags })).status, tags).toBe(200);
  });

  test("If-None-Match with the same ETag is answered 304 without a body", async () => {
    const device = newDevice();
    await change("PUT", device, "{}");
    const etag = (await get(device)).headers.etag ?? "";
    const same = await get(device, "", { "if-none-match": etag });
    expect([same.status, same.text]).toEqual([304, ""]);
    await change("PUT", device, `{"n":1}`);
    expect((await get(device, "", { "if-none-match": etag })).status).toBe(200);
  });
});

describe("reading", () => {
  test("at a position waits until it is applied", async () => {
    const device = newDevice();
    await change("PUT", device, `{"n":1}`);
    const waiting = get(device, "?at=2");
    const written = await change("PUT", device, `{"n":2}`);
    expect(written.json.offset).toBe("2");
    expect((await waiting).json.desired).toEqual({ version: 2, offset: "2", document: { n: 2 } });
  });

  test("at a position that does not come ends with 503 `deadline`", async () => {
    const impatient = await runBroker({ maxLongPollSeconds: 1 });
    await impatient.call("PUT", "/v1/devices/d/state", { body: "{}" });
    const reply = await impatient.call("GET", "/v1/devices/d/state?at=9");
    expect([reply.status, reply.json.code, reply.headers["retry-after"]]).toEqual([503, "deadline", "1"]);
    await impatient.stop();
  });

  test("of a device that nobody knows is 404", async () => {
    const reply = await get("nobody");
    expect([reply.status, reply.json.code]).toEqual([404, "unknown_device"]);
  });
});

test("If-None-Match: * changes only what was never written", async () => {
  const put = () => broker.call("PUT", "/v1/devices/once/state", { body: `{"a":1}`, headers: { "if-none-match": "*" } });
  expect([(await put()).status, (await put()).json.code]).toEqual([200, "version_conflict"]);
  expect((await broker.call("PUT", "/v1/devices/once/state", { body: "{}", headers: { "if-none-match": `"x"` } })).status).toBe(400);
});

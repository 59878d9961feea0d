// The HTTP server itself: health, metrics, its description, errors as problem details, doors shut to foreign pages, slow and broken requests.

import { connect } from "node:net";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { ERRORS } from "../../src/base/errors.ts";
import { hostAndPort } from "../../src/base/address.ts";
import { runBroker, type RunningBroker } from "./broker.ts";

let broker: RunningBroker;
beforeAll(async () => {
  broker = await runBroker({ httpRequestSeconds: 2 });
});
afterAll(() => broker.stop());

/** Sends bytes as they are and resolves with everything that comes back until the broker closes the connection. */
function raw(bytes: string, address = broker.http): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = connect(hostAndPort(address));
    let answer = "";
    socket.setEncoding("utf8");
    socket.on("data", (chunk: string) => (answer += chunk));
    socket.on("error", reject);
    socket.on("close", () => resolve(answer));
    socket.write(bytes);
  });
}

describe("health", () => {
  test("the process lives and takes traffic", async () => {
    expect((await broker.call("GET", "/livez")).text).toBe("ok\n");
    const ready = await broker.call("GET", "/readyz");
    expect([ready.status, ready.text]).toEqual([200, "ok\n"]);
    expect((await broker.call("GET", "/readyz?verbose")).text).toMatch(/^ready\nleads 4 of 4 buckets, 4 of them open\n$/);
  });

  test("HEAD answers what GET does, without a body", async () => {
    await broker.call("POST", "/v1/devices/head/messages", { body: "x" });
    for (const path of ["/livez", "/readyz", "/v1/status", "/v1/devices", "/v1/devices/head", "/v1/devices/head/stream", "/v1/devices/none"]) {
      const get = await broker.call("GET", path);
      const head = await broker.call("HEAD", path, { headers: { accept: "text/event-stream" } }); // which would not end
      expect([head.status, head.headers["content-type"], head.text], path).toEqual([get.status, get.headers["content-type"], ""]);
    }
  });

  test("the status tells of the node and of what waits", async () => {
    const { json } = await broker.call("GET", "/v1/status");
    expect(json).toMatchObject({ node: "n1", ready: true, why: [], buckets: { total: 4, led: 4, open: 4 }, followers: 0, devices: { connected: 0 } });
    expect(Object.keys(json.waiting as object).length).toBeGreaterThan(0);
  });

  test("metrics count, and name no device", async () => {
    const numbers = async (): Promise<Map<string, number>> => {
      const { text } = await broker.call("GET", "/metrics");
      return new Map(text.split("\n").filter((line) => !line.startsWith("#") && line !== "").map((line) => [line.slice(0, line.lastIndexOf(" ")), Number(line.slice(line.lastIndexOf(" ") + 1))]));
    };
    const before = await numbers();
    for (let i = 0; i < 10; i += 1) await broker.call("POST", "/v1/devices/metric-device/messages", { body: "x" });
    const after = await numbers();
    const rose = [...after].filter(([name, value]) => name.startsWith("bellhop_") && name.endsWith("_total") && value >= (before.get(name) ?? 0) + 10);
    expect(rose.length).toBeGreaterThan(0);
    expect([...after.keys()].filter((name) => name.includes("metric-device"))).toEqual([]);
    expect([...after.keys()].filter((name) => name.startsWith("bellhop_build_info"))).toHaveLength(1);
  });
});

describe("description", () => {
  test("/openapi.json is OpenAPI 3.1 and has every call with its answers", async () => {
    const { json } = await broker.call("GET", "/openapi.json");
    expect(json.openapi).toBe("3.1.0");
    const paths = json.paths as Record<string, Record<string, { responses: Record<string, unknown>; summary?: string; operationId?: string; security?: object[] }>>;
    const calls = Object.entries(paths).flatMap(([path, methods]) => Object.keys(methods).map((method) => `${method} ${path}`));
    expect(calls.sort()).toEqual([
      "delete /v1/devices/{device}",
      "delete /v1/devices/{device}/credentials/{name}",
      "delete /v1/keys/{name}",
      "delete /v1/nodes/{node}",
      "get /errors/{code}",
      "get /livez",
      "get /metrics",
      "get /readyz",
      "get /v1/buckets",
      "get /v1/buckets/{bucket}/digest",
      "get /v1/cluster",
      "get /v1/control-log",
      "get /v1/devices",
      "get /v1/devices/{device}",
      "get /v1/devices/{device}/credentials",
      "get /v1/devices/{device}/explain",
      "get /v1/devices/{device}/messages",
      "get /v1/devices/{device}/publishers/{session}/messages/{series}",
      "get /v1/devices/{device}/state",
      "get /v1/devices/{device}/stream",
      "get /v1/feed",
      "get /v1/keys",
      "get /v1/status",
      "patch /v1/cluster",
      "patch /v1/devices/{device}/state",
      "post /v1/buckets/{bucket}/recover",
      "post /v1/devices/{device}/credentials",
      "post /v1/devices/{device}/messages",
      "post /v1/devices/{device}/publishers",
      "post /v1/keys",
      "post /v1/messages",
      "post /v1/nodes/{node}/drain",
      "put /v1/devices/{device}",
      "put /v1/devices/{device}/publishers/{session}/messages/{series}",
      "put /v1/devices/{device}/state",
    ]);
    const described = Object.values(paths).flatMap((methods) => Object.values(methods));
    expect(described.filter((call) => call.summary === undefined || call.responses["4XX"] === undefined)).toEqual([]);
    const names = described.map(({ operationId }) => operationId); // what generated clients call them
    expect(names.filter((name) => !/^[a-z]+[A-Z][A-Za-z]+$/.test(name ?? ""))).toEqual([]);
    expect(new Set(names).size).toBe(names.length);
    expect(JSON.stringify(json)).not.toContain("Default Response");
    expect([json.servers, json.security, paths["/livez"]?.["get"]?.security]).toEqual([[{ url: "/", description: expect.any(String) as string }], [{}, { key: [] }], []]);
    expect(Object.keys(paths["/v1/devices/{device}/messages"]?.["post"]?.responses ?? {})).toEqual(expect.arrayContaining(["200", "201", "4XX", "5XX"]));
  });

  test("/docs/ shows it", async () => {
    const page = await broker.call("GET", "/docs/");
    expect([page.status, page.headers["content-type"]]).toEqual([200, expect.stringContaining("text/html")]);
    expect(page.text).toContain("<title>Bellhop</title>");
  });
});

describe("errors are problem details", () => {
  test("the type is the address of a page about the code", async () => {
    const { json } = await broker.call("GET", "/v1/devices/none");
    const page = await broker.call("GET", json.type as string);
    expect([page.status, page.text.split("\n")[0]]).toEqual([200, "unknown_device"]);
    for (const code of Object.keys(ERRORS)) expect((await broker.call("GET", `/errors/${code}`)).text, code).toMatch(/^[^`]*\nWhat to do\. [^`]*$/);
    expect((await broker.call("GET", "/errors/none")).status).toBe(400);
  });

  test("a method that an address does not take is 405, with those that it takes", async () => {
    const wrong = await broker.call("DELETE", "/v1/devices/lamp-1/state?x=1");
    expect([wrong.status, wrong.json.code, wrong.headers["allow"]]).toEqual([405, "bad_method", "GET, HEAD, PUT, PATCH"]);
    expect((await broker.call("POST", "/v1/devices/lamp-1/nothing")).status).toBe(404);
  });

  test("a query parameter that is not known is refused, with what was probably meant", async () => {
    const misspelt = await broker.call("GET", "/v1/devices/d/stream?aftr=3");
    expect([misspelt.status, misspelt.json.code, misspelt.json.detail]).toEqual([400, "bad_request", expect.stringContaining("Did you mean after?")]);
    const none = await broker.call("GET", "/v1/status?verbose");
    expect([none.status, none.json.detail]).toEqual([400, expect.stringContaining("This call has none.")]);
    const reserved = await broker.call("GET", "/v1/devices?__proto__=1&toString=2");
    expect([reserved.status, reserved.json.code]).toEqual([400, "bad_request"]);
  });

  test("with type, title, status, code and retryable", async () => {
    const reply = await broker.call("GET", "/v1/nothing");
    expect(reply.headers["content-type"]).toBe("application/problem+json; charset=utf-8");
    expect(reply.json).toMatchObject({ type: "/errors/not_found", title: ERRORS.not_found.what, status: 404, code: "not_found", retryable: false });
    expect(reply.status).toBe(404);
  });

  test("for a URL that cannot be decoded", async () => {
    const reply = await broker.call("GET", "/v1/devices/%E0%A4%A");
    expect([reply.status, reply.json.code]).toEqual([400, "bad_request"]);
  });

  test("for a body above every limit", async () => {
    const reply = await broker.call("PUT", "/v1/devices/d/state", { body: Buffer.alloc(2_000_000, " ") });
    expect([reply.status, reply.json.code]).toEqual([413, "too_large"]);
  });

  test.each<[string, string, number]>([
    ["what is not HTTP", "hello\r\n\r\n", 400],
    ["a head without an end", `GET / HTTP/1.1\r\nhost: localhost\r\nx: ${"y".repeat(20_000)}\r\n\r\n`, 413],
    ["two lengths", "POST /v1/devices/d/messages HTTP/1.1\r\nhost: localhost\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nab", 400],
  ])("for %s, and the connection closes", async (_what, bytes, status) => {
    const answer = await raw(bytes);
    expect(answer.split("\r\n")[0]).toMatch(new RegExp(`^HTTP/1.1 ${status} `));
    expect(JSON.parse(answer.slice(answer.indexOf("\r\n\r\n") + 4))).toMatchObject({ status });
  });

  test("for a request that does not arrive in time, and the connection closes", async () => {
    const answer = await raw("POST /v1/devices/d/messages HTTP/1.1\r\nhost: localhost\r\ncontent-length: 10\r\n\r\nabc");
    expect(answer).toMatch(/^HTTP\/1.1 408 /);
  });
});

test("a request that is open when the broker stops is answered, and the connection closes", async () => {
  const stopping = await runBroker();
  const socket = connect(hostAndPort(stopping.http));
  let answer = "";
  socket.setEncoding("utf8");
  const closed = new Promise((resolve) => socket.on("data", (chunk: string) => (answer += chunk)).on("close", resolve));
  socket.write("GET /v1/status HTTP/1.1\r\nhost: localhost\r\n\r\nPOST /v1/devices/d/messages HTTP/1.1\r\nhost: localhost\r\ncontent-length: 2\r\n\r\nx");
  while (!answer.includes(`"ready":true`)) await stopping.call("GET", "/livez"); // so the second request has begun
  const stopped = stopping.stop();
  socket.write("y");
  await closed;
  await stopped;
  expect(answer.split(/(?=HTTP\/1\.1 )/)[1]).toMatch(/^HTTP\/1\.1 201 [^]*connection: close[^]*"offset":"1"/i);
});

// Steps in a path: most clients take them out before they ask.
test.each([".", "..", "%2e", "%2E."])("a device of the id %s is refused, with the reason", async (id) => {
  const answer = await raw(`GET /v1/devices/${id}/state HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n`);
  expect(answer).toMatch(/^HTTP\/1\.1 400 [^]*"detail":"A device's id has [^]*not \\"\.\\" or \\"\.\.\\"[^]*"code":"bad_request"/);
});

describe("pages of other origins do not reach the broker", () => {
  test.each<[string, Record<string, string>, number]>([
    ["another origin", { origin: "https://evil.example" }, 403],
    ["no origin to speak of", { origin: "null" }, 403],
    ["a name that points to loopback", { host: "evil.example:4800" }, 403],
    ["a name that begins like loopback", { host: "127.0.0.1.evil.example" }, 403],
    ["loopback by another name", { host: "[::1]" }, 201],
    ["loopback by its name", { host: "localhost:1" }, 201],
    ["loopback by its name in any case, and its page", { host: "LocalHost:4800", origin: "http://localhost:4800" }, 201],
    ["the broker's own page", {}, 201],
  ])("%s", async (_what, headers, status) => {
    const own = headers["origin"] === undefined && headers["host"] === undefined ? { origin: `http://${broker.http}` } : headers;
    const reply = await broker.call("POST", "/v1/devices/foreign/messages", { body: "x", headers: own });
    expect(reply.status).toBe(status);
    if (status === 403) expect(reply.json.code).toBe("forbidden");
  });
});

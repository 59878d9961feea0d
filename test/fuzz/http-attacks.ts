// Attacks on the HTTP port, on raw sockets: heads, bodies and paths that no client would send, and readers that never read.

import type { Prng } from "../../src/base/prng.ts";
import { type Attack, Hostile, mangle, pause, randomBytes, type Target } from "./attack.ts";

const DEVICES = 50;

function device(random: Prng): string {
  return `fuzz-${random.below(DEVICES)}`;
}

function request(method: string, path: string, headers: readonly string[] = [], body: string | Buffer = ""): Buffer {
  const bytes = Buffer.from(body);
  const length = bytes.length > 0 || method === "POST" || method === "PUT" || method === "PATCH" ? [`Content-Length: ${bytes.length}`] : [];
  return Buffer.concat([Buffer.from([`${method} ${path} HTTP/1.1`, "Host: 127.0.0.1", ...headers, ...length, "", ""].join("\r\n")), bytes]);
}

function chunked(method: string, path: string, type: string, body: string): Buffer {
  return Buffer.from(`${method} ${path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: ${type}\r\nTransfer-Encoding: chunked\r\n\r\n${body}`);
}

const NASTY_VALUES = ["", "0", "-1", "1e999", "00000000000000000000001", "9007199254740993", "18446744073709551616", "NaN", "null", "%00", "%", "😀", "a".repeat(3000), "../..", "1,2", "*", "\"", "W/\"1\"", "'; --"];

/** A request that is right. */
function good(random: Prng): Buffer {
  const path = `/v1/devices/${device(random)}`;
  const which = random.below(12);
  const json = "Content-Type: application/json";
  if (which < 3) return request("POST", `${path}/messages`, ["Content-Type: text/plain", ...(random.chance(0.5) ? [`Idempotency-Key: k${random.below(200)}`] : [])], `m${random.below(1000)}`);
  if (which === 3) return request("GET", `${path}/stream?after=${random.below(50)}&limit=10`);
  if (which === 4) return request("PATCH", `${path}/state`, [json], `{"desired":{"a":${random.below(9)}}}`);
  if (which === 5) return request("GET", `${path}/state`);
  if (which === 6) return request("POST", "/v1/messages", ["Content-Type: application/x-ndjson"], ndjson(random, false));
  if (which === 7) return request("GET", random.pick(["/v1/devices", "/v1/status", "/livez", "/readyz?verbose", "/metrics", "/openapi.json", "/docs", `${path}/explain`]));
  if (which === 8) return request("POST", `${path}/publishers`, [json], `{"nonce":"${random.below(1e9)}"}`);
  if (which === 9) return request("GET", `/v1/feed?wait=${random.below(2)}s`);
  if (which === 10) return request(random.pick(["GET", "PUT", "DELETE", "HEAD", "OPTIONS"]), path);
  return request("GET", `${path}/messages?key=k${random.below(200)}`);
}

function ndjson(random: Prng, spoiled: boolean): string {
  const lines = Array.from({ length: random.between(1, 50) }, () => {
    const line = JSON.stringify({ device: device(random), payload: random.pick<unknown>([1, "x", { a: [1] }, null]), ...(random.chance(0.3) ? { key: `k${random.below(50)}` } : {}) });
    return spoiled && random.chance(0.5)
      ? random.pick(["", "{", "null", "[]", "\u0000", "{}{}", `${line}${line}`, line.slice(0, random.below(line.length)), '{"device":"__proto__","payload":1}', '{"__proto__":{"device":"x"}}', '{"device":1}',
        '{"device":"fuzz-1","payloadBase64":"*"}', '{"device":"fuzz-1","payload":1,"payloadBase64":"AA=="}', '{"device":"fuzz-1","payload":1,"expires":1e999}', `{"device":"fuzz-1","payload":${"[".repeat(2000)}`, "x".repeat(random.pick([10, 300_000]))])
      : line;
  });
  return lines.join(random.pick(["\n", "\n", "\r\n", "\n\n"])) + (random.chance(0.7) ? "\n" : "");
}

function bomb(random: Prng): string {
  const depth = random.pick([100, 5000, 100_000]);
  return random.pick([
    "[".repeat(depth), `${"[".repeat(depth)}${"]".repeat(depth)}`, `${'{"a":'.repeat(depth)}1${"}".repeat(depth)}`, `{"desired":${'{"a":'.repeat(depth)}1${"}".repeat(depth)}}`,
    `{"desired":{${Array.from({ length: 20_000 }, (_one, i) => `"k${i}":${i}`).join(",")}}}`, '{"desired":{"__proto__":{"a":1},"constructor":{"prototype":{"b":1}}}}', '{"desired":{"a":1,"a":2}}', '{"desired":{"a":1e400}}',
    `{"desired":{"a":${"9".repeat(50_000)}}}`, '{"desired":{"a":"\\ud800"}}', '{"desired":null,"reported":[]}', `"${"\\u0000".repeat(10_000)}"`, "\ufeff{}",
  ]);
}

const HEADS: readonly string[] = [
  "GET / HTTP/9.9\r\n\r\n", "GET /\r\n\r\n", "GET  / HTTP/1.1\r\n\r\n", " GET / HTTP/1.1\r\n\r\n", "GET / HTTP/1.1\r\n\r\n", "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", "GET / HTTP/1.1\r\nHost : a\r\n\r\n",
  "GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX: a\r\n b\r\n\r\n", "GET / HTTP/1.1\rHost: a\r\r", "GET / HTTP/1.1\nHost: 127.0.0.1\n\n", "GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX\u0000: a\r\n\r\n", "GET / HTTP/1.1\r\n: a\r\n\r\n",
  "POST /v1/devices/fuzz-1/messages HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello!", "POST /v1/devices/fuzz-1/messages HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: -1\r\n\r\n",
  "POST /v1/devices/fuzz-1/messages HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 99999999999999999999\r\n\r\nx", "POST /v1/devices/fuzz-1/messages HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
  "POST /v1/devices/fuzz-1/messages HTTP/1.1\r\nHost: 127.0.0.1\r\nTransfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n", "POST /v1/messages HTTP/1.1\r\nHost: 127.0.0.1\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n",
  "POST /v1/messages HTTP/1.1\r\nHost: 127.0.0.1\r\nExpect: everything\r\nContent-Length: 0\r\n\r\n", "CONNECT 127.0.0.1:4800 HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", "OPTIONS * HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", "TRACE / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
  "GET http://127.0.0.1/livez HTTP/1.1\r\nHost: other\r\n\r\n", "GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "\u0016\u0003\u0001\u0002\u0000\u0001\u0000", "QUERY / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
  "GET /v1/devices HTTP/1.0\r\n\r\n", "GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close, keep-alive\r\n\r\n", "POST /v1/devices/fuzz-1/messages HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Encoding: gzip\r\nContent-Length: 3\r\n\r\nabc",
];

const CHUNKS: readonly string[] = [
  "5\r\nhello\r\n0\r\n\r\n", "FFFFFFFFFFFFFFFF\r\nx", "-1\r\nx\r\n", "5;ext=\"\r\n\"\r\nhello\r\n0\r\n\r\n", "5\nhello\n0\n\n", "0x5\r\nhello\r\n0\r\n\r\n", "5\r\nhelloX\r\n0\r\n\r\n", `5${" ".repeat(2000)}\r\nhello\r\n0\r\n\r\n`, "\r\n",
  `5;${"a".repeat(20_000)}\r\nhello\r\n0\r\n\r\n`, `0\r\n${"T: x\r\n".repeat(3000)}\r\n`, "1\r\na\r\n".repeat(5000), "0\r\nContent-Length: 5\r\n\r\nhello", "3\r\nab", "00000000000000000005\r\nhello\r\n0\r\n\r\n",
];

const PATHS: readonly string[] = [
  "%ZZ", "%", "%2", "%00", "%C0%AF", "%FF%FE", "%2e%2e", "..", ".", "%2F", "%252F", "a%0d%0ab", "__proto__", "constructor", "%E2%82", "%F0%9F%98%80", "a".repeat(200), "ü".repeat(100), "%7F", "a b", "a\tb", "?", "#", ";", "*", "", "//", "\u00ff",
];

/** One connection with these bytes on it. */
async function send(name: string, target: Target, random: Prng, bytes: Buffer): Promise<void> {
  await Hostile.during(name, target, async (hostile) => {
    await hostile.write(bytes, random);
    if (random.chance(0.8)) await hostile.answer();
    hostile.leave(random);
  });
}

const attack = (name: string, make: (random: Prng) => Buffer): Attack => ({ name, run: (target, random) => send(name, target, random, make(random)) });

export const httpAttacks: readonly Attack[] = [
  attack("good requests, pipelined", (random) => Buffer.concat(Array.from({ length: random.between(1, 100) }, () => good(random)))),
  attack("bytes mangled", (random) => mangle(Buffer.concat([good(random), good(random)]), random)),
  attack("malformed heads", (random) => Buffer.concat([Buffer.from(random.pick(HEADS), "latin1"), random.chance(0.3) ? good(random) : Buffer.alloc(0)])),
  attack("chunks", (random) => chunked("POST", random.pick(["/v1/messages", `/v1/devices/${device(random)}/messages`]), random.pick(["application/x-ndjson", "text/plain", "application/json"]), random.pick(CHUNKS))),
  attack("huge headers", (random) => request("GET", "/v1/devices", random.pick([[`X: ${"x".repeat(random.pick([10_000, 1_000_000]))}`], Array.from({ length: 5000 }, (_one, i) => `X${i}: y`), [`Cookie: ${"a=b; ".repeat(3000)}`]]))),
  attack("lines of garbage", (random) => {
    const lines = random.chance(0.8) ? Buffer.from(ndjson(random, true)) : randomBytes(random, random.between(1, 5000));
    return random.chance(0.5) ? request("POST", "/v1/messages", ["Content-Type: application/x-ndjson"], lines)
      : chunked("POST", "/v1/messages", "application/x-ndjson", `${lines.length.toString(16)}\r\n${lines.toString("latin1")}\r\n${random.chance(0.8) ? "0\r\n\r\n" : ""}`);
  }),
  attack("bombs of JSON", (random) => {
    const path = random.pick(["state", "publishers", "messages", ""]);
    return request(random.pick(["PUT", "PATCH", "POST"]), `/v1/devices/${device(random)}/${path}`, [`Content-Type: ${random.pick(["application/json", "application/merge-patch+json", "application/json; charset=utf-16", "a/b/c"])}`], bomb(random));
  }),
  attack("paths", (random) => {
    const text = `${random.pick(["GET", "POST", "DELETE"])} /v1/devices/${random.pick(PATHS)}${random.pick(["", "/messages", "/stream", "/state", "/explain", "/messages/1"])} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 0\r\n\r\n`;
    return Buffer.from(text, "latin1");
  }),
  attack("parameters and headers", (random) => {
    const [value, other] = [random.pick(NASTY_VALUES), random.pick(NASTY_VALUES)];
    const query = `after=${encodeURIComponent(value)}&limit=${encodeURIComponent(other)}&wait=${random.pick(["1s", "99999s", "-1", "x"])}&at=${encodeURIComponent(value)}&type=${encodeURIComponent(other)}&offset=${encodeURIComponent(value)}`;
    const headers = [`Idempotency-Key: ${value}`, `If-Match: ${other}`, `Last-Event-ID: ${value}`, `Bellhop-Expires: ${other}`, `traceparent: ${value}`, `Accept: ${random.pick(["*/*", "text/event-stream", value])}`, `Authorization: Bearer ${other}`, "Connection: close"];
    const path = `/v1/devices/${device(random)}${random.pick(["/stream", "/messages", "/state", "/explain", "/publishers/1/messages/1", ""])}?${query}`;
    return Buffer.from(request(random.pick(["GET", "POST", "PUT"]), path, headers.filter(() => random.chance(0.6)), "x").toString("utf8"), "utf8");
  }),
  {
    name: "followers that never read",
    run: (target, random) => Hostile.during("followers that never read", target, async (hostile) => {
      const path = random.pick([`/v1/devices/${device(random)}/stream?after=0`, "/v1/feed", "/v1/feed?from=0"]);
      await hostile.write(request("GET", path, ["Accept: text/event-stream"]), random);
      await hostile.answer();
      hostile.socket.pause();
      for (let i = 0; i < 20 && hostile.isOpen; i += 1) {
        await send("messages for them", target, random, request("POST", `/v1/devices/${device(random)}/messages`, ["Content-Type: text/plain", "Connection: close"], "x".repeat(20_000)));
      }
    }),
  },
  {
    name: "answers never read",
    run: (target, random) => Hostile.during("answers never read", target, async (hostile) => {
      hostile.socket.pause();
      const asks = Buffer.concat(Array.from({ length: 200 }, () => request("GET", random.pick(["/openapi.json", "/metrics"]))));
      for (let i = 0; i < 10 && hostile.isOpen; i += 1) await Promise.race([hostile.write(asks, random), pause(100)]);
    }),
  },
  {
    name: "slow, silent and half open",
    run: (target, random) => Hostile.during("slow, silent and half open", target, async (hostile) => {
      const bytes = random.chance(0.5) ? good(random) : request("POST", "/v1/messages", ["Content-Type: application/x-ndjson"], ndjson(random, false));
      const end = random.below(bytes.length);
      for (let i = 0; i < end && hostile.isOpen && random.chance(0.98); i += 1) {
        await hostile.write(bytes.subarray(i, i + 1), random);
        await pause(random.below(10));
      }
      if (random.chance(0.5)) hostile.socket.end();
    }),
  },
];

// Why a command reached no broker, or was cut off: what is wrong on this side is named, ends with 2, and is not tried again.

import { createServer, type Server } from "node:http";
import { createServer as createTlsServer } from "node:https";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { afterAll, beforeAll, expect, test, vi } from "vitest";

import { EXIT } from "../../src/cli/exit.ts";
import { Authority } from "../doors/authority.ts";
import { bellhop } from "./command.ts";

// Each command is a process: many of them on a busy machine take their time.
vi.setConfig({ testTimeout: 120_000 });

const folder = mkdtempSync(join(tmpdir(), "bellhop-reach-"));
const authority = new Authority(folder, "ours");
const servers: Server[] = [];
let asked = 0;
let [plain, tls, expired] = ["", "", ""];

beforeAll(async () => {
  const serve = async (server: Server): Promise<string> => {
    servers.push(server);
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    return `127.0.0.1:${(server.address() as AddressInfo).port}`;
  };
  const answer = (): void => void (asked += 1);
  const tlsServer = (days: number): Server => {
    const { cert, key } = authority.issueServer(days);
    return createTlsServer({ cert: readFileSync(cert), key: readFileSync(key) }, answer);
  };
  [plain, tls, expired] = await Promise.all([serve(createServer(answer)), serve(tlsServer(30)), serve(tlsServer(-1))]);
});

afterAll(() => {
  for (const server of servers) server.close();
  rmSync(folder, { recursive: true });
});

test("a key, a file or a certificate that is wrong here is named, and nothing is asked", async () => {
  const file = (name: string, text: string): string => {
    writeFileSync(join(folder, name), text);
    return join(folder, name);
  };
  const other = new Authority(folder, "theirs").ca;
  for (const [code, at, env] of [
    ["bad_secret", plain, { BELLHOP_KEY_FILE: file("cut.key", "bhk_cut") }],
    ["bad_secret", plain, { BELLHOP_KEY: "bhd_a-token" }],
    ["bad_secret", plain, { BELLHOP_KEY_FILE: file("two.key", "one\ntwo") }],
    ["bad_file", plain, { BELLHOP_CA: join(folder, "nope.crt") }],
    ["bad_file", plain, { BELLHOP_CA: file("empty.crt", "") }],
    ["no_tls", plain, { BELLHOP_CA: authority.ca }],
    ["tls_wanted", tls, {}],
    ["bad_certificate", tls, { BELLHOP_CA: other }],
    ["bad_certificate", expired, { BELLHOP_CA: authority.ca }],
  ] as const) {
    const ended = await bellhop(["status", "--at", at], { env });
    expect([ended.stderr, ended.code]).toEqual([expect.stringContaining(`error ${code}: `), EXIT.usage.code]);
  }
  expect(asked).toBe(0);
});

test("follow tells why the broker ended the stream, once, goes on, and ends where it is refused for good", async () => {
  const errors = ["bucket_paused", "bucket_paused", "unauthenticated"];
  const server = createServer((_request, response) => {
    response.writeHead(200, { "content-type": "text/event-stream" });
    response.end(`event: error\ndata: ${JSON.stringify({ code: errors.shift(), title: "It cannot be read.", detail: "Because." })}\n\n`);
  });
  servers.push(server);
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const ended = await bellhop(["follow", "lamp-1", "--after", "6", "--at", `127.0.0.1:${(server.address() as AddressInfo).port}`]);
  expect(ended.stderr.match(/The stream broke/g)).toEqual(["The stream broke"]);
  expect(ended.stderr).toContain("The stream broke (bucket_paused: It cannot be read. Because.); it goes on after offset 6");
  expect(ended.stderr).toContain("error unauthenticated: It cannot be read.");
  expect(ended.code).toBe(EXIT.refused.code);
});

test("waiting is told after a while, to people only", async () => {
  const server = createServer((_request, response) => {
    response.writeHead(503, { "content-type": "application/problem+json", "retry-after": "3" });
    response.end(JSON.stringify({ code: "storage_full", title: "The disk is full." }));
    server.close(); // from the next try on nothing listens
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const at = `127.0.0.1:${(server.address() as AddressInfo).port}`;
  const ended = await bellhop(["publish", "lamp-1", "on", "--at", at]);
  expect(ended.stderr).toContain("storage_full; trying again in 3 s\n");
});

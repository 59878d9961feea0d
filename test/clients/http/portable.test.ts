// The bundle stands alone: no dependency, no part of Node, no more than the web's standards.

import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { createContext, Script } from "node:vm";
import { gzipSync } from "node:zlib";
import { build } from "esbuild";
import { beforeAll, expect, test } from "vitest";
import { runBroker } from "../../http/broker.ts";

const CLIENT = new URL("../../../clients/http/", import.meta.url).pathname;

/** All that the client may use of its surroundings. */
const WEB = { fetch, Headers, Request, Response, URL, URLSearchParams, TextEncoder, TextDecoder, AbortController, AbortSignal, crypto, performance, setTimeout, clearTimeout, atob, btoa };

/** What a runtime must be told to do: publish, ask, read, follow, verify, and say what came. */
const PROGRAM = `async (broker) => {
  const { connect, webhook, BellhopError } = bellhop;
  const client = connect({ brokers: broker });
  const stored = await client.publish("portable", { on: true }, { key: "k" });
  const again = await client.publish("portable", { on: true }, { key: "k" });
  const refused = await client.publish("portable", "other", { key: "k" }).catch((error) => error instanceof BellhopError && error.code);
  const change = await client.state("portable").patch({ level: 3 });
  const seen = [];
  for await (const item of client.follow("portable", { after: "0" })) if (seen.push(item.type + " " + item.offset) === 2) break;
  const forged = await webhook.verify({ headers: {}, body: "" }, "whsec_AAAA").catch((error) => error.code);
  return JSON.stringify({ stored: stored.offset, again: again.duplicate, refused, version: change.version, seen, forged });
}`;
const OUTCOME = { stored: "1", again: true, refused: "key_reused", version: 1, seen: ["downlink 1", "state 2"], forged: "bad_signature" };

let whole: string;
let minified: string;
beforeAll(async () => {
  [whole, minified] = await Promise.all([bundle(false), bundle(true)]);
});

async function bundle(minify: boolean): Promise<string> {
  const { outputFiles, metafile } = await build({
    entryPoints: [`${CLIENT}src/index.ts`], bundle: true, write: false, metafile: true, minify, platform: "neutral", format: "iife", globalName: "bellhop", target: "es2022",
  });
  expect(Object.keys(metafile.inputs).filter((path) => path.includes("node_modules"))).toEqual([]);
  expect(Object.values(metafile.inputs).flatMap(({ imports }) => imports.filter(({ external }) => external === true))).toEqual([]);
  return outputFiles[0]!.text;
}

test("its package has no dependency", () => {
  const manifest = JSON.parse(readFileSync(`${CLIENT}package.json`, "utf8")) as Record<string, unknown>;
  expect(Object.keys(manifest).filter((name) => /dependencies/i.test(name))).toEqual([]);
});

test("it runs where there is nothing but the web's globals", async () => {
  const broker = await runBroker();
  try {
    const context = createContext({ ...WEB });
    new Script(whole).runInContext(context);
    const program = new Script(`(${PROGRAM})`).runInContext(context) as (broker: string) => Promise<string>;
    expect(JSON.parse(await program(broker.http))).toEqual(OUTCOME);
  } finally {
    await broker.stop();
  }
});

test.skipIf(pathOf("bun") === undefined)("it runs on Bun", () => onRuntime("bun", ["-e"]));
test.skipIf(pathOf("deno") === undefined)("it runs on Deno", () => onRuntime("deno", ["eval"]));

async function onRuntime(command: string, words: readonly string[]): Promise<void> {
  const broker = await runBroker();
  try {
    const program = `${whole}; (${PROGRAM})(${JSON.stringify(broker.http)}).then((said) => console.log(said));`;
    const { spawn } = await import("node:child_process");
    const child = spawn(pathOf(command)!, [...words, program]);
    const { text } = await import("node:stream/consumers");
    expect(JSON.parse(await text(child.stdout))).toEqual(OUTCOME);
  } finally {
    await broker.stop();
  }
}

function pathOf(command: string): string | undefined {
  try {
    return execFileSync("which", [command], { encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] }).trim();
  } catch {
    return undefined;
  }
}

test("its README says its size as it is", () => {
  const readme = readFileSync(`${CLIENT}README.md`, "utf8");
  const said = /(\d+) KiB minified, (\d+) KiB compressed/.exec(readme);
  const kib = (bytes: number): string => String(Math.ceil(bytes / 1024));
  expect([said?.[1], said?.[2]]).toEqual([kib(Buffer.byteLength(minified)), kib(gzipSync(minified, { level: 9 }).length)]);
});

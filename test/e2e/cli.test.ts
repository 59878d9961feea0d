// The first whole path through the command line: a broker as a process, every command against it, and its end by SIGTERM.

import { spawn } from "node:child_process";
import { once } from "node:events";
import { cpSync, mkdtempSync, openSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { text } from "node:stream/consumers";

import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";

import { freePort } from "../../bench/processes.ts";
import { EXIT } from "../../src/cli/exit.ts";
import { bellhop, collect, ROOT, start, type Ended } from "../cli/command.ts";

// Each command is a process: many of them on a busy machine take their time.
vi.setConfig({ testTimeout: 120_000, hookTimeout: 60_000 });

const data = mkdtempSync(join(tmpdir(), "bellhop-e2e-"));
let http: string;
let device: string;
let broker: ReturnType<typeof start>;
let said: ReturnType<typeof collect>;

const json = (ended: Ended): unknown => JSON.parse(ended.stdout);
const on = (...words: string[]): Promise<Ended> => bellhop([...words, "--at", http]);

beforeAll(async () => {
  http = `127.0.0.1:${await freePort()}`;
  device = `127.0.0.1:${await freePort()}`;
  broker = start(["start", "--data", data, "--http", http, "--device", device, "--log-level", "error"]);
  said = collect(broker);
  const healthy = await on("status", "--exit-when-healthy", "--timeout", "20");
  expect(healthy).toMatchObject({ code: 0, stdout: expect.stringContaining("ready") as string });
});

afterAll(() => {
  broker.kill("SIGKILL");
  rmSync(data, { recursive: true, force: true });
});

describe("the command line with a broker", () => {
  test("start says where it is and what to try next", () => {
    for (const words of [http, device, "is ready", "(a new data directory)", "bellhop simulate lamp-1", `--at ${http}`]) expect(said.stderr()).toContain(words);
  });

  test("publish, follow, explain: one entry, once, with its offset", async () => {
    const first = await on("publish", "lamp-1", '{"on": true}', "--key", "k1", "-o", "json");
    expect(json(first)).toEqual({ device: "lamp-1", offset: "1", duplicate: false });
    expect(json(await on("publish", "lamp-1", '{"on": true}', "--key", "k1", "-o", "json"))).toEqual({ device: "lamp-1", offset: "1", duplicate: true });
    expect((await on("publish", "lamp-1", "other", "--key", "k1")).code).toBe(EXIT.refused.code);
    expect((await bellhop(["publish", "lamp-1", "-", "--at", http], { input: "from a pipe" })).stdout).toContain("offset 2");

    const followed = await on("follow", "lamp-1", "--after", "0", "--count", "2", "-o", "json");
    const entries = followed.stdout.trim().split("\n").map((line) => JSON.parse(line) as Record<string, unknown>);
    expect(entries).toMatchObject([
      { offset: "1", type: "downlink", payload: { on: true } },
      { offset: "2", type: "downlink", payload: "from a pipe" },
    ]);

    expect(json(await on("explain", "lamp-1", "k1", "-o", "json"))).toMatchObject({ device: "lamp-1", end: "2", connected: false, key: { is: "stored", offset: "1" } });
    expect((await on("explain", "lamp-1", "2")).stdout).toContain("from a pipe");
    expect((await on("explain", "nobody")).code).toBe(EXIT.notFound.code);
  });

  test("the port for devices is not the one for HTTP, and the other way round: each is told", async () => {
    const swapped = await bellhop(["publish", "lamp-1", "x", "--at", device]);
    expect([swapped.code, swapped.stderr]).toEqual([EXIT.unreachable.code, expect.stringMatching(new RegExp(`${device} does not speak HTTP[^]*4800 by default`)) as string]);
    const lamp = start(["simulate", "lamp-9", "--at", http]);
    const output = collect(lamp);
    while (!output.stderr().includes("this is an HTTP port. Devices use another one, 4810 by default")) await once(lamp.stderr!, "data");
    lamp.stdin!.end();
    await once(lamp, "exit");
  });

  test("publish says that a device has never connected, by its first message; and how much a message may have", async () => {
    expect((await on("publish", "lamp_typo", "hi")).stderr).toContain("lamp_typo has never connected");
    expect((await on("publish", "lamp_typo", "hi")).stderr).toBe("");
    const large = await bellhop(["publish", "lamp-1", "-", "--at", http], { input: "x".repeat(300_000) });
    expect([large.code, large.stderr]).toEqual([EXIT.refused.code, expect.stringMatching(/more than 262144 bytes[^]*--max-payload-bytes/) as string]);
  });

  test("device add, its token in a file: the hint is how to use that file", async () => {
    const file = join(data, "lamp-8.token");
    const adding = spawn(process.execPath, [join(ROOT, "bin/bellhop.js"), "device", "add", "lamp-8", "--at", http], { stdio: ["ignore", openSync(file, "w"), "pipe"] });
    expect(await text(adding.stderr!)).toContain("BELLHOP_TOKEN_FILE=");
    expect((await on("device", "token", "lamp-8", "--name", "2")).stderr).toContain("BELLHOP_TOKEN=…");
    expect(readFileSync(file, "utf8")).toMatch(/^bhd_\w+\n$/);
  });

  test("publish --lines: each line once and in order, however often it is run", async () => {
    const run = (): Promise<Ended> => bellhop(["publish", "lines-1", "--lines", "--key", "import", "-o", "json", "--at", http], { input: "one\n\n{\"two\": 2}\n" });
    const told = async (): Promise<unknown[]> => (await run()).stdout.trim().split("\n").map((line) => JSON.parse(line) as unknown);
    expect(await told()).toMatchObject([{ line: 1, offset: "1", duplicate: false }, { line: 3, offset: "2", duplicate: false }]);
    expect(await told()).toMatchObject([{ line: 1, offset: "1", duplicate: true }, { line: 3, offset: "2", duplicate: true }]);
    const changed = await bellhop(["publish", "lines-1", "--lines", "--key", "import", "--at", http], { input: "other\nnew\n" });
    expect([changed.code, changed.stderr]).toEqual([EXIT.refused.code, expect.stringContaining("line 1 is refused: key_reused") as string]);
    expect(changed.stderr).toContain("1 stored");
  });

  test("a key of a name that is there already, a bucket that is not", async () => {
    expect((await on("key", "add", "billing", "--role", "read")).code).toBe(0);
    expect(await on("key", "add", "billing", "--role", "read")).toMatchObject({ code: EXIT.refused.code, stderr: expect.stringContaining("There is a key named billing already.") as string });
    expect(await on("recover", "99")).toMatchObject({ code: EXIT.notFound.code, stderr: expect.stringContaining("There is no bucket 99.\n  why:  they are numbered from 0 to 63") as string });
  });

  test("state edit: the editor's text replaces the document; nothing is written where it fails or changes nothing", async () => {
    const edit = (editor: string): Promise<Ended> => bellhop(["state", "lamp-4", "edit", "--at", http], { env: { VISUAL: editor } });
    expect((await edit(`sh -c 'echo {\\"on\\": true} > "$0"'`)).code).toBe(0);
    expect(json(await on("state", "lamp-4", "-o", "json"))).toMatchObject({ desired: { version: 1, document: { on: true } } });
    expect((await edit("true")).stdout).toContain("Nothing was changed");
    expect([(await edit("false")).code, (await edit(`sh -c 'echo { > "$0"'`)).code]).toEqual([EXIT.failed.code, EXIT.usage.code]);
    expect(json(await on("state", "lamp-4", "-o", "json"))).toMatchObject({ desired: { version: 1 } });
  });

  test("state: set, patch, a version that is not there any more", async () => {
    expect(json(await on("state", "lamp-2", "set", '{"a": 1, "b": 2}', "-o", "json"))).toMatchObject({ version: 1 });
    expect((await on("state", "lamp-2", "patch", '{"b": null}', "--if-version", "1")).code).toBe(0);
    expect((await on("state", "lamp-2", "patch", '{"b": 3}', "--if-version", "1")).code).toBe(EXIT.refused.code);
    expect(json(await on("state", "lamp-2", "-o", "json"))).toMatchObject({ desired: { version: 2, document: { a: 1 } }, reported: { version: 0 } });
  });

  test("simulate: lines go up, a message comes down", async () => {
    const lamp = start(["simulate", "lamp-3", "--at", device]);
    const output = collect(lamp);
    lamp.stdin!.write("hello\n");
    await on("follow", "lamp-3", "--after", "0", "--types", "uplink", "--count", "1");
    await on("publish", "lamp-3", "come down");
    while (!output.stdout().includes("come down")) await once(lamp.stdout!, "data");
    lamp.stdin!.end();
    expect(await once(lamp, "exit")).toEqual([0, null]);
    const entries = (await on("follow", "lamp-3", "--after", "0", "--types", "uplink,downlink", "--count", "2", "-o", "json")).stdout;
    expect(entries).toContain("hello");
  });

  test("bench device: every answered message is read back", async () => {
    const ended = await on("bench", "device", "--device-at", device, "--connections", "5", "--in-flight", "8", "--warm-up", "0", "--seconds", "1", "--read-back", "-o", "json");
    expect(ended.stderr).toBe("");
    const { answered, verified } = json(ended) as { answered: number; verified: { answered: number; found: number; readBack: boolean } };
    expect(answered).toBeGreaterThan(100);
    expect(verified.readBack).toBe(true);
    expect(verified.found).toBe(verified.answered);
  });

  test("bench http: what was answered is in the streams", async () => {
    const ended = await on("bench", "http", "--connections", "5", "--devices", "10", "--seconds", "1", "-o", "json");
    const { answered, found, refused } = json(ended) as { answered: number; found: number; refused: number };
    expect(answered).toBeGreaterThan(10);
    expect(refused).toBe(0);
    expect(found).toBeGreaterThanOrEqual(answered);
  });

  test("SIGTERM drains and ends with 0; inspect reads what is left on disk; a second start serves it again", async () => {
    broker.kill("SIGTERM");
    expect(await once(broker, "exit")).toEqual([0, null]);
    expect((await on("status")).code).toBe(EXIT.unreachable.code);

    const log = await bellhop(["inspect", "log", "--data", data, "-o", "json"]);
    expect(log.code).toBe(0);
    const damaged = join(data, "damaged");
    cpSync(join(data, "log"), join(damaged, "log"), { recursive: true });
    flipPayload(join(damaged, "log"), '{"on": true}');
    const told = await bellhop(["inspect", "log", "--data", damaged, "-o", "json"]);
    expect(told.code).toBe(EXIT.unhealthy.code);
    expect((json(told) as { damage: string[] }).damage.length).toBeGreaterThan(0);
    expect(JSON.parse(told.stderr)).toMatchObject({ error: { code: "damaged" } });
    expect((await bellhop(["inspect", "log", "--records", "--data", damaged])).code).toBe(EXIT.unhealthy.code);
    const control = await bellhop(["inspect", "control", "--data", data]);
    expect(control.code).toBe(0);

    broker = start(["start", "--data", data, "--http", http, "--device", device, "--log-level", "error"]);
    expect((await on("status", "--exit-when-healthy", "--timeout", "20")).code).toBe(0);
    expect(json(await on("publish", "lamp-1", '{"on": true}', "--key", "k1", "-o", "json"))).toEqual({ device: "lamp-1", offset: "1", duplicate: true });
  });

  test("an address in use is said in words", async () => {
    const second = await bellhop(["start", "--data", join(data, "other"), "--http", http, "--device", `127.0.0.1:${await freePort()}`]);
    expect(second.code).toBe(EXIT.failed.code);
    expect(second.stderr).toContain("in use");
    expect(second.stderr).not.toContain("    at ");
  });
});

/** Changes one byte of this payload where it stands in the log. */
function flipPayload(log: string, payload: string): void {
  for (const name of readdirSync(log)) {
    const bytes = readFileSync(join(log, name));
    const at = bytes.indexOf(payload);
    if (at < 0) continue;
    bytes[at] = bytes[at]! ^ 1;
    return writeFileSync(join(log, name), bytes);
  }
  throw new Error("the payload is not in the log");
}

// How commands fail: the exit codes of the table, in words without a stack trace, as JSON for programs.

import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { afterAll, describe, expect, test, vi } from "vitest";

import { freePort } from "../../bench/processes.ts";
import { createProgram } from "../../src/cli/program.ts";
import { EXIT } from "../../src/cli/exit.ts";
import { Authority } from "../doors/authority.ts";
import { bellhop, collect, start } from "./command.ts";

// Each command is a process: many of them on a busy machine take their time.
vi.setConfig({ testTimeout: 120_000 });

const folder = mkdtempSync(join(tmpdir(), "bellhop-cli-"));
afterAll(() => rmSync(folder, { recursive: true }));

describe("failures of the command line", () => {
  test("an unknown command, an unknown option, a missing argument: usage, with a suggestion and no stack trace", async () => {
    for (const [words, said] of [
      [["publsh", "lamp-1"], "publish"],
      [["publish"], "device"],
      [["status", "--wacth"], "--watch"],
      [["start", "--htp", "127.0.0.1:1"], "--http"],
      [["follow", "lamp-1", "--types", "uplnk"], "uplink"],
      [["state", "lamp-1", "pach"], "patch"],
    ] as const) {
      const ended = await bellhop(words);
      expect(ended.code, words.join(" ")).toBe(EXIT.usage.code);
      expect(ended.stderr).toContain(said);
      expect(ended.stderr).not.toContain("    at ");
    }
  });

  test("wrong settings are all named, and nothing is started", async () => {
    writeFileSync(join(folder, "bellhop.json"), JSON.stringify({ windw: 5, http: "0.0.0.0:80" }));
    const ended = await bellhop(["config", "check"], { cwd: folder, env: { BELLHOP_WINDOW: "many" } });
    expect(ended.code).toBe(EXIT.usage.code);
    for (const said of ['"windw"', "BELLHOP_WINDOW", "beyond loopback", "next:"]) expect(ended.stderr).toContain(said);
    const started = await bellhop(["start", "--config", join(folder, "bellhop.json")]);
    expect(started.code).toBe(EXIT.usage.code);
  });

  test("a certificate's file that is missing, and a certificate that is over, are named", async () => {
    const { cert, key } = new Authority(folder, "ours").issueServer(-1);
    for (const [config, said] of [
      [{ cluster: "lamps", etcd: "https://127.0.0.1:1", etcdCa: "nope.crt" }, "etcdCa (nope.crt) cannot be read: ENOENT"],
      [{ tlsCert: cert, tlsKey: key }, `tlsCert (${cert}) was valid until `],
    ] as const) {
      writeFileSync(join(folder, "certificates.json"), JSON.stringify(config));
      const ended = await bellhop(["config", "check", "--config", "certificates.json"], { cwd: folder });
      expect([ended.stderr, ended.code]).toEqual([expect.stringContaining(said), EXIT.usage.code]);
    }
    const started = await bellhop(["start", "--peer-ca", "nope.crt", "--peer-cert", cert, "--peer-key", key]);
    expect([started.stderr, started.code]).toEqual([expect.stringContaining("peerCa (nope.crt) cannot be read"), EXIT.usage.code]);
  });

  test("a certificate that no other node would take: config check and start name it, and nothing is started", async () => {
    const authority = new Authority(folder, "peers");
    const [own, expired, other] = [authority.issue({ cn: "n9" }), authority.issue({ cn: "n9", days: -1 }), authority.issue({ cn: "n3" })];
    const file = join(folder, "n9.json");
    for (const [peerCert, peerKey, said] of [
      [own.cert, own.key, undefined],
      [expired.cert, expired.key, "was valid until"],
      [other.cert, other.key, 'is for "n3", and this is node n9'],
      [own.cert, other.key, "is not the key of"],
      [join(folder, "none.crt"), own.key, "cannot be read"],
    ] as const) {
      writeFileSync(file, JSON.stringify({ node: "n9", data: join(folder, "n9"), cluster: "lamps", etcd: "http://127.0.0.1:1", peerCa: authority.ca, peerCert, peerKey }));
      const checked = await bellhop(["config", "check", "--config", file]);
      expect(checked.code, checked.stderr).toBe(said === undefined ? EXIT.ok.code : EXIT.usage.code);
      expect(checked.stderr).toContain(said === undefined ? "" : said);
    }
    const started = await bellhop(["start", "--config", file, "--peer-cert", other.cert, "--peer-key", other.key]);
    expect(started.stderr).toContain('is for "n3", and this is node n9');
    expect(started.code).toBe(EXIT.usage.code);
  });

  test("no broker: unreachable, with what to do next; as JSON for programs", async () => {
    const at = `127.0.0.1:${await freePort()}`;
    const ended = await bellhop(["explain", "lamp-1", "--at", at]);
    expect(ended.code).toBe(EXIT.unreachable.code);
    expect(ended.stderr).toContain(`No broker answers at ${at}`);
    expect(ended.stderr).toContain("bellhop start");

    const wrong = await bellhop(["status", "--wacth", "-o", "json"]);
    expect(JSON.parse(wrong.stderr)).toEqual({ error: { code: "bad_usage", what: "Unknown option '--wacth'.", why: "Did you mean --watch?", next: "bellhop status --help" } });

    const { code, stderr } = await bellhop(["explain", "lamp-1", "--at", at, "-o", "json"]);
    expect(code).toBe(EXIT.unreachable.code);
    expect(JSON.parse(stderr)).toMatchObject({ error: { code: "unreachable", next: expect.stringContaining("bellhop start") as string } });
  });

  test("hints name a command as this one was called: by npx, or by its name", async () => {
    for (const [how, said] of [["exec", "next: npx bellhop status --help"], ["run-script", "next: bellhop status --help"]] as const) {
      expect((await bellhop(["status", "--wacth"], { env: { npm_command: how } })).stderr).toContain(said);
    }
  });

  test("the broker's problems: refused for good at once, retried while it makes sense, never sooner than Retry-After", async () => {
    const times: number[] = [];
    let answers: [status: number, code: string][] = [];
    const server = createServer((_request, response) => {
      times.push(performance.now());
      const [status, code] = answers.shift() ?? [503, "overloaded"];
      response.writeHead(status, { "content-type": "application/problem+json", "retry-after": "1" });
      response.end(JSON.stringify({ title: `it is ${code}`, status, code, retryable: status === 503 }));
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    const at = `127.0.0.1:${(server.address() as AddressInfo).port}`;

    answers = [[422, "key_reused"]];
    expect(await bellhop(["publish", "lamp-1", "on", "--key", "k", "--at", at])).toMatchObject({ code: EXIT.refused.code, stderr: expect.stringContaining("it is key_reused") as string });
    expect(times.length).toBe(1);

    answers = [[404, "unknown_device"]];
    expect((await bellhop(["state", "lamp-1", "--at", at])).code).toBe(EXIT.notFound.code);

    times.length = 0;
    answers = [[503, "bucket_paused"], [422, "key_reused"]];
    expect((await bellhop(["publish", "lamp-1", "on", "--at", at])).code).toBe(EXIT.refused.code);
    expect(times.length).toBe(2);
    expect(times[1]! - times[0]!).toBeGreaterThanOrEqual(990); // Retry-After: 1

    times.length = 0;
    expect((await bellhop(["publish", "lamp-1", "on", "--at", at])).code).toBe(EXIT.later.code);
    expect(times.length).toBe(6);
    server.close();
  });

  test("a device of an id that no URL can name", async () => {
    for (const command of ["publish", "follow", "state", "explain", "simulate"]) {
      for (const device of [".", ".."]) {
        const ended = await bellhop([command, device]);
        expect([ended.code, ended.stderr], command).toEqual([EXIT.usage.code, expect.stringContaining(`No device has the id "${device}".`)]);
      }
    }
  });

  test("a data directory that is a file, lies under one, is full of other files, or cannot be made", async () => {
    const file = join(folder, "file");
    writeFileSync(file, "");
    mkdirSync(join(folder, "photos"));
    writeFileSync(join(folder, "photos", "cat.jpg"), "");
    for (const [data, said] of [
      [file, `error no_directory: ${file} is a file`],
      [join(file, "data"), `error no_directory: ${file} is a file`],
      [join(folder, "photos"), "cat.jpg"],
      ["/proc/bellhop/data", "error no_directory"],
      [join(folder, "not-mounted", "data"), `there is no ${join(folder, "not-mounted")}`],
    ] as const) {
      const ended = await bellhop(["start", "--data", data, "--http", "127.0.0.1:0", "--device", "127.0.0.1:0"]);
      expect([ended.code, ended.stderr]).toEqual([EXIT.usage.code, expect.stringContaining(said)]);
    }
  });

  test("a reader that has read enough ends the command quietly", async () => {
    const server = createServer((_request, response) => {
      response.writeHead(200, { "content-type": "application/json" });
      response.end(JSON.stringify({ node: "n1", ready: true, why: [], buckets: {}, devices: { connected: 0 }, waiting: {} }));
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    const child = start(["status", "--watch", "--at", `127.0.0.1:${(server.address() as AddressInfo).port}`]);
    const { stderr } = collect(child);
    child.stdout!.once("data", () => child.stdout!.destroy());
    const code = await new Promise<number | null>((resolve) => child.once("close", resolve));
    server.close();
    expect([code, stderr()]).toEqual([EXIT.ok.code, ""]);
  });

  test("every command has a help with examples, and the table of exit codes is shown", async () => {
    const help = await bellhop(["--help"]);
    expect(help.code).toBe(0);
    for (const { code, meaning } of Object.values(EXIT)) expect(help.stdout).toMatch(new RegExp(`${code} +${meaning.slice(0, 20)}`));
    const leaves = createProgram().commands.flatMap((command) => (command.commands.length === 0 ? [command] : command.commands));
    expect(leaves.length).toBeGreaterThan(10);
    for (const command of leaves) {
      let shown = "";
      command.configureOutput({ writeOut: (text) => void (shown += text) }).outputHelp();
      expect(shown, command.name()).toContain("Examples:\n  ");
    }
  });
});

describe("config show", () => {
  test("says what is set and where; without colours or paths in JSON", async () => {
    writeFileSync(join(folder, "own.json"), JSON.stringify({ checkpointSeconds: 10 }));
    const ended = await bellhop(["config", "show", "--config", join(folder, "own.json"), "-o", "json"], { env: { BELLHOP_NODE: "n7" } });
    expect(ended.code).toBe(0);
    expect(JSON.parse(ended.stdout)).toEqual([
      { name: "node", value: "n7", unit: "", source: "environment" },
      { name: "checkpointSeconds", value: 10, unit: "seconds", source: "file" },
    ]);
    const effective = await bellhop(["config", "show", "--effective"]);
    expect(effective.stdout.split("\n").length).toBeGreaterThan(30);
  });
});

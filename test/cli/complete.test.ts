// Completion: what may stand at the cursor, and that bash really asks for it.

import { spawn, spawnSync } from "node:child_process";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";

import { describe, expect, test, vi } from "vitest";

import { candidates } from "../../src/cli/complete.ts";
import { createProgram } from "../../src/cli/program.ts";
import { bellhop, collect, ROOT } from "./command.ts";

vi.setConfig({ testTimeout: 60_000 });

const found = async (...words: string[]): Promise<string[]> => (await candidates(createProgram(), words, () => Promise.resolve(["lamp-1", "lamp-2", "door:1"]))).map(({ value }) => value);

describe("what may stand at the cursor", () => {
  test("commands, and no hidden one", async () => {
    expect(await found("st")).toEqual(["start", "state", "status"]);
    expect(await found("")).toContain("completion");
    expect(await found("")).not.toContain("complete");
    expect(await found("inspect", "")).toEqual(["log", "control"]);
  });

  test("options of that command, settings that help does not show too", async () => {
    expect(await found("status", "--w")).toEqual(["--watch"]);
    expect(await found("bench", "http", "--conn")).toEqual(["--connections"]);
    expect(await found("start", "--checkpoint-s")).toEqual(["--checkpoint-seconds"]);
  });

  test("choices of options and arguments, the value of an option not taken for an argument", async () => {
    expect(await found("status", "-o", "")).toEqual(["text", "json"]);
    expect(await found("state", "--at", "127.0.0.1:1", "lamp-1", "")).toEqual(["get", "set", "patch", "edit"]);
    expect(await found("completion", "")).toEqual(["bash", "zsh", "fish"]);
  });

  test("devices where a device is wanted", async () => {
    expect(await found("publish", "lamp")).toEqual(["lamp-1", "lamp-2"]);
    expect(await found("publish", "--key", "k", "--at=127.0.0.1:1", "lamp-2")).toEqual(["lamp-2"]);
    expect(await found("publish", "lamp-1", "")).toEqual([]);
  });
});

describe("bash", () => {
  const script = `PATH="${join(ROOT, "node_modules/.bin")}:$PATH"
bellhop() { "${process.execPath}" "${join(ROOT, "bin/bellhop.js")}" "$@"; }
eval "$(bellhop completion bash)"
complete -p bellhop
COMP_LINE="$1"; COMP_POINT=\${#COMP_LINE}
_bellhop
printf '%s\\n' "\${COMPREPLY[@]}"`;

  async function inBash(line: string): Promise<string[]> {
    const child = spawn("bash", ["--norc", "-c", script, "bash", line]);
    const output = collect(child);
    await new Promise((resolve) => child.once("close", resolve));
    expect(output.stderr()).toBe("");
    const [registered, ...replies] = output.stdout().trim().split("\n");
    expect(registered).toBe("complete -o default -F _bellhop bellhop");
    return replies.filter((reply) => reply !== "");
  }

  test("is told commands, options, and a broker's devices; a word with a colon from behind it", async () => {
    const broker = createServer((request, response) => {
      expect(request.url).toContain("/v1/devices?limit=");
      response.writeHead(200, { "content-type": "application/json" }).end(JSON.stringify({ devices: [{ device: "lamp-1" }, { device: "door:7" }], next: null }));
    });
    await new Promise<void>((resolve) => broker.listen(0, "127.0.0.1", resolve));
    const at = `127.0.0.1:${(broker.address() as AddressInfo).port}`;
    expect(await inBash("bellhop sta")).toEqual(["start", "state", "status"]);
    expect(await inBash("bellhop status --exit")).toEqual(["--exit-when-healthy"]);
    expect(await inBash(`bellhop follow --at ${at} la`)).toEqual(["lamp-1"]);
    expect(await inBash(`bellhop follow --at ${at} door:`)).toEqual(["7"]);
    broker.close();
  });

  test("is told nothing where no broker answers, without a word of error", async () => {
    expect(await inBash("bellhop follow --at 127.0.0.1:1 la")).toEqual([]);
  });
});

describe("zsh and fish", () => {
  test("get values with what they are; their scripts are what those shells can read, where they are installed", async () => {
    expect((await bellhop(["complete", "fish", "--", "bellhop", "status", "--wa"])).stdout).toBe("--watch\ta live table until q or Ctrl-C\n");
    expect((await bellhop(["complete", "zsh", "--", "bellhop", "status", "--wa"])).stdout).toBe("--watch:a live table until q or Ctrl-C\n");
    for (const [shell, flag] of [["zsh", "-n"], ["fish", "--no-execute"]] as const) {
      const printed = await bellhop(["completion", shell]);
      expect(printed.stdout).toContain(`bellhop complete ${shell} -- `);
      if (spawnSync(shell, ["--version"]).error === undefined) expect(spawnSync(shell, [flag], { input: printed.stdout }).status).toBe(0);
    }
  });
});

// Every `sh` block of docs/operating.md runs as it stands, one after the other: one node, a cluster of three with TLS, a restart, a drain, a lost etcd.

import { spawn } from "node:child_process";
import { once } from "node:events";
import { chmodSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { expect, test } from "vitest";
import { findEtcd } from "../../bench/etcd.ts";
import { collect, ROOT } from "../cli/command.ts";
import { testFolder } from "../faults/node.ts";
import { PATIENT } from "./steady.ts";

const PAGE = join(ROOT, "docs/operating.md");
const PAGE_MS = 300_000;

test("the page's commands do what it says", { timeout: PAGE_MS }, async () => {
  const blocks = [...readFileSync(PAGE, "utf8").matchAll(/^```sh\n(.*?)^```$/gms)].map(([, block]) => block!);
  expect(blocks.length).toBeGreaterThan(5);
  const folder = testFolder("page");
  // Three addresses of this machine that nobody else uses now, on the ports of the page.
  const net = `127.${1 + Math.floor(Math.random() * 250)}.${Math.floor(Math.random() * 250)}.`;
  const script = `set -eE\ntrap 'echo "failed: $BASH_COMMAND" >&2' ERR\ntrap 'kill $(jobs -p) 2> /dev/null || true; wait' EXIT\n${blocks.join("\n")}\necho the end of the page\n`;
  writeFileSync(join(folder.path, "page.sh"), script.replaceAll("127.0.0.", net));
  const bellhop = join(folder.path, "bellhop");
  writeFileSync(bellhop, `#!/bin/sh\nexec ${process.execPath} ${join(ROOT, "bin/bellhop.js")} "$@"\n`);
  chmodSync(bellhop, 0o755);
  const PATH = [folder.path, dirname(findEtcd()), process.env["PATH"]].join(":");
  const page = spawn("bash", ["page.sh"], { cwd: folder.path, env: { ...process.env, PATH, BELLHOP_LOG_LEVEL: "error", ...PATIENT }, stdio: ["ignore", "pipe", "pipe"] });
  const said = collect(page);
  await once(page, "close");
  expect(said.stdout().trimEnd().endsWith("the end of the page"), said.stderr().slice(-3000)).toBe(true);
  expect(said.stdout()).toContain("copies 3, minCopies 2");
  folder.remove();
});

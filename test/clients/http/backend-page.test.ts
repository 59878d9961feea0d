// docs/backend.md, followed word for word: its programs run against a broker and a simulated device, and say what the page says.

import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { build } from "esbuild";
import { afterAll, beforeAll, expect, test } from "vitest";
import { ERRORS } from "../../../src/base/errors.ts";
import { collect, ROOT } from "../../cli/command.ts";
import { type RunningBroker, runBroker } from "../../http/broker.ts";
import { outputOf, programOf } from "../page.ts";

const PAGE = readFileSync(join(ROOT, "docs/backend.md"), "utf8");
const ADDRESS = "127.0.0.1:4800";

let folder: string;
let broker: RunningBroker;
let device: ChildProcess;
let deviceSays: () => string;

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "bellhop-page-"));
  const client = join(folder, "node_modules/@bellhop/http");
  mkdirSync(client, { recursive: true });
  symlinkSync(join(ROOT, "clients/http/package.json"), join(client, "package.json"));
  await build({ entryPoints: [join(ROOT, "clients/http/src/index.ts")], outfile: join(client, "dist/index.js"), bundle: true, platform: "neutral", format: "esm" });
  broker = await runBroker();
  device = spawn(process.execPath, [join(ROOT, "bin/bellhop.js"), "simulate", "pump-17", "--at", broker.device], { stdio: ["pipe", "pipe", "pipe"] });
  const output = collect(device);
  deviceSays = output.stdout;
  await said(device, () => output.stdout() + output.stderr(), "connected");
});
afterAll(async () => {
  device.kill();
  await broker.stop();
  rmSync(folder, { recursive: true });
});

test("the programs of the page, in its order", async () => {
  expect(await run("publish")).toBe(outputOf(PAGE, "publish"));
  await said(device, deviceSays, '{"valve":"open"}');

  const follower = start("follow");
  const output = collect(follower);
  await said(follower, output.stdout, "2 downlink");
  device.stdin!.write("hello\n");
  await said(follower, output.stdout, "4 downlink");
  follower.kill();
  expect(neutral(output.stdout())).toBe(neutral(outputOf(PAGE, "follow")));

  for (const name of ["state", "many", "unsure"]) expect(await run(name)).toBe(outputOf(PAGE, name));
}, 60_000);

test("every code of the broker that HTTP answers with stands on the page", () => {
  const named = new Set([...PAGE.slice(PAGE.indexOf("## 6.")).matchAll(/`([a-z]+(?:_[a-z]+)*)`/g)].map(([, code]) => code!));
  const notForBackends = ["protocol", "unsupported_version", "unsafe", "still_running"]; // told to devices, and to operators
  expect(Object.keys(ERRORS).filter((code) => !named.has(code) && !notForBackends.includes(code))).toEqual([]);
});

function start(name: string): ChildProcess {
  const file = join(folder, `${name}.mjs`);
  writeFileSync(file, programOf(PAGE, name).replaceAll(ADDRESS, broker.http));
  return spawn(process.execPath, [file], { cwd: folder, stdio: ["ignore", "pipe", "pipe"] });
}

async function run(name: string): Promise<string> {
  const child = start(name);
  const [output, complaints] = await Promise.all([text(child.stdout!), text(child.stderr!)]);
  return (output + complaints).replace(/ +$/gm, "");
}

/** A session's number is an index of the log. */
function neutral(output: string): string {
  return output.replace(/"session":\d+/, '"session":N');
}

async function said(child: ChildProcess, output: () => string, wanted: string): Promise<void> {
  while (!output().includes(wanted)) {
    await Promise.race([once(child.stdout!, "data"), once(child.stderr!, "data"), once(child, "exit")]);
    if (child.exitCode !== null) throw new Error(`It ended before it said ${wanted}: ${output()}`);
  }
}

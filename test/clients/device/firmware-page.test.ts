// docs/firmware.md, followed word for word: its programs run against a real broker, and say what the page says.

import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { build } from "esbuild";
import { afterAll, beforeAll, expect, test } from "vitest";
import { connect } from "../../../clients/device/src/index.ts";
import { collect, ROOT } from "../../cli/command.ts";
import { type RunningBroker, runBroker } from "../../http/broker.ts";
import { blockBehind, outputOf, programOf } from "../page.ts";

const PAGE = readFileSync(join(ROOT, "docs/firmware.md"), "utf8");
const ADDRESS = "127.0.0.1:4810";

let folder: string;
let broker: RunningBroker;
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "bellhop-firmware-"));
  const client = join(folder, "node_modules/@bellhop/device");
  mkdirSync(client, { recursive: true });
  symlinkSync(join(ROOT, "clients/device/package.json"), join(client, "package.json"));
  await build({ entryPoints: [join(ROOT, "clients/device/src/index.ts")], outfile: join(client, "dist/index.js"), bundle: true, platform: "node", format: "esm" });
  broker = await runBroker();
});
afterAll(async () => {
  await broker.stop();
  rmSync(folder, { recursive: true });
});

test("publish, and sleep: to their end", async () => {
  for (const name of ["publish", "sleep"]) expect(await whole(start(name)), name).toBe(outputOf(PAGE, name));
  const { json } = await broker.call("GET", "/v1/devices/lamp-5/stream?type=uplink");
  expect(json.entries.map((entry: { payload: unknown }) => entry.payload)).toEqual([{ brightness: 10 }, { brightness: 20 }, { brightness: 30 }, "awake", "measured while asleep"].map((one) => expect.toSatisfy((is) => is === one || JSON.stringify(is) === JSON.stringify(one))));
}, 60_000);

test("readings: killed with all of them in the outbox, the next process stores each once and in order", async () => {
  const size = (): number => statSync(join(folder, "lamp-5.outbox"), { throwIfNoEntry: false })?.size ?? 0;
  const before = size();
  const killed = start("readings", { args: ["100"], address: "127.0.0.1:1" });
  const output = collect(killed);
  await until(killed, output.stdout, `100 wait in process ${killed.pid}\n`);
  await expect.poll(size, { timeout: 20_000 }).toBeGreaterThan(before + 100 * "reading 1".length); // they are written in one piece
  killed.kill("SIGKILL");
  await once(killed, "exit");
  const next = start("readings", { args: ["0"] });
  expect(await whole(next)).toBe(outputOf(PAGE, "readings").replace(/process \d+/, `process ${next.pid}`));
  const { json } = await broker.call("GET", "/v1/devices/lamp-5/stream?type=uplink&limit=1000");
  const readings = json.entries.map((entry: { payload: unknown }) => String(entry.payload)).filter((payload: string) => payload.startsWith("reading"));
  expect(readings).toEqual(Array.from({ length: 100 }, (_one, i) => `reading ${i + 1}`));
}, 60_000);

test("commands, and another program as the same device: it ends with the reason, and not with 0", async () => {
  const commands = start("commands");
  const said = collect(commands);
  await publishTo("lamp-5", "are you there");
  await until(commands, said.stdout, "told: are you there\n");
  const other = connect({ brokers: broker.device, device: "lamp-5" });
  const [code] = (await once(commands, "close")) as [number];
  expect([code, said.stderr()]).toEqual([1, expect.stringContaining(blockBehind(PAGE, "npx bellhop simulate lamp-5", "```\n").trim())]);
  await other.close();
}, 60_000);

test("who it is: stored with its token; without one, or with a wrong one, it ends with the sentence of the page", async () => {
  const asking = await runBroker({ auth: "required", adminKey: "an-administrators-key-of-this-test" });
  const made = await asking.call("POST", "/v1/devices/lamp-5/credentials", { body: `{"name":"default"}`, headers: { authorization: "Bearer an-administrators-key-of-this-test" } });
  const file = join(folder, "lamp-5.token");
  writeFileSync(file, `${made.json.token}\n`);
  rmSync(join(folder, "lamp-5.outbox"), { force: true }); // of another broker
  expect(await whole(start("token", { address: asking.device }))).toBe(outputOf(PAGE, "token"));
  for (const name of ["publish", "token"]) {
    writeFileSync(file, `${made.json.token.slice(0, -1)}-\n`);
    const refused = start(name, { address: asking.device });
    const said = collect(refused);
    const [code] = (await once(refused, "close")) as [number];
    const sentence = /DeviceError: unauthenticated: [^`]+/.exec(PAGE.slice(PAGE.indexOf(name === "token" ? "Change a letter" : "is now refused")))![0];
    expect([code, said.stderr()], name).toEqual([1, expect.stringContaining(sentence)]);
  }
  rmSync(join(folder, "lamp-5.outbox"), { force: true });
  await asking.stop();
}, 60_000);

test("commands, and state: they do what they are told", async () => {
  const commands = start("commands");
  const said = collect(commands);
  await publishTo("lamp-5", "switch on");
  await until(commands, said.stdout, outputOf(PAGE, "commands"));
  await end(commands);

  const state = start("state");
  const told = collect(state);
  await expect.poll(async () => (await broker.call("GET", "/v1/devices/lamp-5/state")).json.reported.document?.firmware, { timeout: 20_000 }).toBe("1.4.2");
  await broker.call("PATCH", "/v1/devices/lamp-5/state", { body: '{"desired":{"brightness":80}}', headers: { "content-type": "application/merge-patch+json" } });
  await until(state, told.stdout, outputOf(PAGE, "state"));
  await end(state);
}, 60_000);

const hasPython = ((): boolean => {
  try {
    return execFileSync("python3", ["--version"], { encoding: "utf8" }).startsWith("Python 3");
  } catch {
    return false;
  }
})();
test.skipIf(!hasPython)("the device in Python", async () => {
  const file = join(folder, "device.py");
  writeFileSync(file, blockBehind(PAGE, "`device.py`:", "```python\n"));
  const child = spawn("python3", ["-u", file, "lamp-6", broker.device], { stdio: ["ignore", "pipe", "pipe"] });
  const output = collect(child);
  await until(child, output.stdout, "100 readings are stored\n");
  await publishTo("lamp-6", "switch on");
  await once(child, "close");
  expect([output.stdout(), output.stderr()]).toEqual(["100 readings are stored\ntold: switch on\n", ""]);
  const { json } = await broker.call("GET", "/v1/devices/lamp-6/stream?type=uplink&limit=1000");
  expect(json.entries.map((entry: { payload: unknown; payloadBase64?: string }) => String(entry.payload))).toEqual(Array.from({ length: 100 }, (_one, i) => `reading ${i + 1}`));
}, 60_000);

test("every code that the device protocol names stands on the page", () => {
  const protocol = readFileSync(join(ROOT, "docs/device-protocol.md"), "utf8");
  const codes = [...protocol.slice(protocol.indexOf("## 7."), protocol.indexOf("## 8.")).matchAll(/^\| ((?:`[a-z_]+`(?:, )?)+) \|/gm)].flatMap(([, names]) => names!.match(/[a-z_]+/g)!);
  expect(codes.length).toBeGreaterThan(15);
  const ownBusiness = ["gap", "no_credit", "forgotten"]; // the client's, and `missed`
  expect(codes.filter((code) => !ownBusiness.includes(code) && !PAGE.includes(`\`${code}\``))).toEqual([]);
});

async function publishTo(device: string, body: string): Promise<void> {
  expect((await broker.call("POST", `/v1/devices/${device}/messages`, { body, headers: { "content-type": "text/plain" } })).status).toBe(201);
}

function start(name: string, { args = [], address = broker.device }: { readonly args?: readonly string[]; readonly address?: string } = {}): ChildProcess {
  const file = join(folder, `${name}.mjs`);
  writeFileSync(file, programOf(PAGE, name).replaceAll(ADDRESS, address));
  return spawn(process.execPath, [file, ...args], { cwd: folder, stdio: ["ignore", "pipe", "pipe"] });
}

async function whole(child: ChildProcess): Promise<string> {
  const [output, complaints] = await Promise.all([text(child.stdout!), text(child.stderr!)]);
  return (output + complaints).replace(/ +$/gm, "");
}

async function end(child: ChildProcess): Promise<void> {
  child.kill("SIGINT");
  await once(child, "exit");
}

async function until(child: ChildProcess, output: () => string, wanted: string): Promise<void> {
  while (!output().includes(wanted)) {
    await Promise.race([once(child.stdout!, "data"), once(child.stderr!, "data"), once(child, "exit")]);
    if (child.exitCode !== null) throw new Error(`It ended before it said ${wanted}: ${output()}`);
  }
}

// A start on a directory that was damaged: it stops in words that name the file and what to do, with 7, and nothing in the directory is
// lost by it.

import { cpSync, readdirSync, readFileSync, rmSync, statSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import { EXIT } from "../../src/cli/exit.ts";
import { end, NodeProcess, testFolder } from "./node.ts";

const FLAGS = ["--segment-bytes", "1MiB"];
const MESSAGES = 30;
const MESSAGE = "x".repeat(100_000);

const folder = testFolder("damage");
const whole = join(folder.path, "whole");
let node: NodeProcess | undefined;

beforeAll(async () => {
  node = await NodeProcess.start(whole, { flags: FLAGS });
  for (let i = 0; i < MESSAGES; i += 1) expect((await node.publish("d", `${i} ${MESSAGE}`)).status).toBe(201);
  await node.stop();
}, 60_000);
afterEach(() => end(node));
afterAll(() => folder.remove());

function flip(path: string, at: number): void {
  const bytes = readFileSync(path);
  bytes[at]! ^= 0x10;
  writeFileSync(path, bytes);
}

const segments = (data: string): string[] => readdirSync(join(data, "log")).filter((name) => /^\d+\.seg$/.test(name)).toSorted();
/** Files and what is in them. */
function contents(data: string): Map<string, string> {
  const names = readdirSync(data, { recursive: true, encoding: "utf8" }).filter((name) => statSync(join(data, name)).isFile());
  return new Map(names.map((name) => [name, readFileSync(join(data, name)).toString("latin1")]));
}

test.each<{ readonly what: string; readonly damage: (data: string) => void; readonly said: (data: string) => RegExp }>([
  {
    what: "the newest segment that was synced has a flipped byte",
    damage: (data) => {
      const name = segments(data).findLast((one) => readFileSync(join(data, "log", one)).includes(MESSAGE))!;
      const bytes = readFileSync(join(data, "log", name));
      rmSync(join(data, "log", name));
      bytes[bytes.indexOf(MESSAGE) + 50]! ^= 1;
      writeFileSync(join(data, "log", name), bytes);
    },
    said: (data) => new RegExp(`The log ${data}/log is damaged .*\\n.*(segment|group) \\d+`),
  },
  { what: "a segment is gone", damage: (data) => rmSync(join(data, "log", segments(data)[1]!)), said: (data) => new RegExp(`The log ${data}/log is damaged .*\\n.*segment \\d+ is missing`) },
  { what: "the state store is cut", damage: (data) => truncateSync(join(data, "state.lmdb"), 12_288), said: (data) => new RegExp(`The state store ${data}/state.lmdb cannot be used: .*12288 bytes`) },
  { what: "the state store is no store", damage: (data) => writeFileSync(join(data, "state.lmdb"), "x".repeat(65_536)), said: (data) => new RegExp(`The state store ${data}/state.lmdb cannot be used`) },
  { what: "the control log has a flipped byte", damage: (data) => flip(join(data, "control/log"), 100), said: (data) => new RegExp(`The control log ${data}/control/log cannot be used`) },
])("$what", async ({ what, damage, said }) => {
  const data = join(folder.path, what.replaceAll(" ", "-"));
  cpSync(whole, data, { recursive: true });
  damage(data);
  const before = contents(data);
  for (let start = 1; start <= 2; start += 1) {
    const { code, stderr } = await (await NodeProcess.launch(data, { flags: FLAGS })).ended();
    expect(stderr).toMatch(said(data));
    expect(stderr).toMatch(/Restore|next: /);
    expect(stderr).not.toContain("    at ");
    expect(code).toBe(EXIT.unhealthy.code);
  }
  // A log without damage goes on as at any start; nothing else may change.
  const after = contents(data);
  const kept = what.includes("segment") ? /./ : /^(state\.lmdb|control\/log)$/;
  for (const [name, bytes] of before) if (kept.test(name)) expect(after.get(name) === bytes, name).toBe(true);
});

test("a flipped byte in a sealed segment is found when it is read: the node stops, and the next start says where", async () => {
  const data = join(folder.path, "sealed");
  cpSync(whole, data, { recursive: true });
  const oldest = segments(data).find((name) => readFileSync(join(data, "log", name)).includes(MESSAGE))!;
  flip(join(data, "log", oldest), readFileSync(join(data, "log", oldest)).indexOf(MESSAGE) + 50);
  node = await NodeProcess.start(data, { flags: FLAGS });
  await node.call("GET", "/v1/devices/d/stream?after=0&limit=1").catch(() => undefined);
  const { code, stdout } = await node.ended();
  expect(code).toBe(EXIT.stopped.code);
  expect(stdout).toContain(`the disk under ${data} failed`);
  const { code: again, stderr } = await (await NodeProcess.launch(data, { flags: FLAGS })).ended();
  expect(again).toBe(EXIT.unhealthy.code);
  expect(stderr).toMatch(new RegExp(`The log ${data}/log is damaged .*\\n.*(segment|group|bucket) \\d+`));
});

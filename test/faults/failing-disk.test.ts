// A disk that fails: the node says which, stops with 70, has answered nothing that is not on disk, and goes on from there when it is
// started again.

import { join } from "node:path";
import { afterAll, afterEach, expect, test } from "vitest";
import { EXIT } from "../../src/cli/exit.ts";
import { Load } from "./load.ts";
import { end, NodeProcess, testFolder } from "./node.ts";
import { failing, type Fault } from "./strace.ts";

const TIMEOUT = 60_000;
const folder = testFolder("failing");
let node: NodeProcess | undefined;
afterEach(() => end(node));
afterAll(() => folder.remove());

test.each<{ readonly what: string; readonly fault: (data: string) => Fault; readonly named: string }>([
  { what: "a write of the log", fault: () => ({ calls: "pwrite64", when: "150" }), named: "EIO" },
  { what: "a sync of the state store", fault: (data) => ({ calls: "fdatasync", when: "1+", path: join(data, "state.lmdb") }), named: "state.lmdb" },
])("$what fails", { timeout: TIMEOUT }, async ({ what, fault, named }) => {
  const data = join(folder.path, what.replaceAll(" ", "-"));
  const flags = ["--segment-bytes", "1MiB", "--checkpoint-seconds", "1"];
  node = await NodeProcess.start(data, { flags });
  await node.publish("before", "x");
  await node.stop();
  // The first checkpoint comes well after the start, however slow the machine is.
  node = await NodeProcess.start(data, { flags: [...flags.slice(0, 2), "--checkpoint-seconds", "4"], through: failing(fault(data)) });
  const load = new Load(node);
  const { code, stdout } = await node.ended();
  expect(code).toBe(EXIT.stopped.code);
  const fatal = stdout.split("\n").filter((line) => line.includes('"level":"fatal"')).map((line) => JSON.parse(line) as { msg: string });
  expect(fatal).toHaveLength(1);
  for (const words of [`the disk under ${data} failed`, named, "start the node again"]) expect(fatal[0]!.msg).toContain(words);
  expect(load.answered).toBeGreaterThan(0);

  node = await NodeProcess.start(data, { flags, inPlaceOf: node });
  await load.flows();
  await load.stop();
  expect(await load.violations(node)).toEqual([]);
  expect((await node.stop()).code).toBe(0);
});

test("a start on a disk that fails says so", { timeout: TIMEOUT }, async () => {
  const data = join(folder.path, "start");
  node = await NodeProcess.launch(data, { through: failing({ calls: "fdatasync", when: "1+", path: join(data, "control/log") }) });
  const { code, stderr } = await node.ended();
  expect(code).toBe(EXIT.unhealthy.code);
  expect(stderr).toContain(`The control log in ${join(data, "control")} failed and takes nothing further: EIO`);
  expect(stderr).not.toContain("    at ");
  node = await NodeProcess.start(data);
  expect((await node.publish("d", "x")).status).toBe(201);
});

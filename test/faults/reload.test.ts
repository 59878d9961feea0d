// A running node takes new settings: on SIGHUP, and by itself when its file changes; and what nobody caught stops it in order.

import { once } from "node:events";
import { mkdirSync, renameSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, afterEach, expect, test } from "vitest";
import { EXIT } from "../../src/cli/exit.ts";
import { FileWatch } from "../../src/doors/watch.ts";
import { end, NodeProcess, testFolder } from "./node.ts";

const folder = testFolder("reload");
let node: NodeProcess | undefined;
afterEach(() => end(node));
afterAll(() => folder.remove());

async function says(words: string): Promise<void> {
  while (!node!.said.includes(words)) await Promise.race([once(node!.child.stdout!, "data"), once(node!.child.stderr!, "data")]);
}

test("limits of the settings' file change while it runs; what is wrong changes nothing, and what takes a restart is named", async () => {
  const config = join(folder.path, "bellhop.json");
  const set = (settings: object): void => writeFileSync(config, JSON.stringify(settings));
  set({ httpRequestsPerAddress: 1000 });
  node = await NodeProcess.start(join(folder.path, "limits"), { flags: ["--config", config, "--log-level", "info"] });
  const policy = async (): Promise<unknown> => (await node!.call("GET", "/livez")).headers["ratelimit-policy"];
  expect(await policy()).toBe(`"address";q=1000;w=1`);
  set({ httpRequestsPerAddress: 2000 });
  await expect.poll(policy, { timeout: 15_000 }).toBe(`"address";q=2000;w=1`);
  set({ httpRequestsPerAddress: 3000, retainSeconds: 10 });
  node.child.kill("SIGHUP");
  await says("must be a whole number of seconds from 60");
  expect(await policy()).toBe(`"address";q=2000;w=1`);
  set({ httpRequestsPerAddress: 3000, window: 10 });
  node.child.kill("SIGHUP");
  await says("window has changed; it takes a restart");
  await expect.poll(policy, { timeout: 15_000 }).toBe(`"address";q=3000;w=1`);
});

test.each([
  ["an exception", "throw new Error('planted by the test')"],
  ["a rejection", "Promise.reject(new Error('planted by the test'))"],
])("%s that nobody caught: it is logged, and the node stops with its own exit code", async (name, plant) => {
  const planted = join(folder.path, "planted.mjs");
  writeFileSync(planted, `process.on("SIGUSR2", () => { ${plant}; });`);
  node = await NodeProcess.start(join(folder.path, name.replace(" ", "-")), { through: ["env", `NODE_OPTIONS=--import=${planted}`] });
  expect((await node.publish("d", "kept")).status).toBe(201);
  const { code, stdout } = await node.stop("SIGUSR2");
  expect(code).toBe(EXIT.stopped.code);
  expect(JSON.parse(stdout.trim().split("\n").at(-1)!)).toMatchObject({ level: "fatal", err: { message: "planted by the test" } });
});

test("a watch sees a file that is renamed into place, one behind a link that is exchanged, and no file that stays", async () => {
  const at = (...names: string[]): string => join(folder.path, "watched", ...names);
  for (const version of ["one", "two"]) {
    mkdirSync(at(version), { recursive: true });
    writeFileSync(at(version, "tls.crt"), version);
  }
  // As Kubernetes mounts a secret: tls.crt → ..data/tls.crt, ..data → one.
  symlinkSync("one", at("..data"));
  symlinkSync(join("..data", "tls.crt"), at("tls.crt"));
  writeFileSync(at("plain"), "one");
  let changes = 0;
  const watch = new FileWatch(() => (changes += 1));
  watch.set([at("tls.crt"), at("plain")]);
  writeFileSync(at("other"), "not watched");
  symlinkSync("two", at("..data_tmp"));
  renameSync(at("..data_tmp"), at("..data"));
  await expect.poll(() => changes, { timeout: 15_000 }).toBe(1);
  writeFileSync(at("new"), "two");
  renameSync(at("new"), at("plain"));
  await expect.poll(() => changes, { timeout: 15_000 }).toBe(2);
  watch.close();
});

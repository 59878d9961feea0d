// What the package weighs and needs, as its README says it.

import { readFileSync } from "node:fs";
import { builtinModules } from "node:module";
import { gzipSync } from "node:zlib";
import { build, type BuildResult } from "esbuild";
import { beforeAll, expect, test } from "vitest";

const CLIENT = new URL("../../../clients/device/", import.meta.url).pathname;
const readme = readFileSync(`${CLIENT}README.md`, "utf8");

let built: BuildResult<{ write: false; metafile: true }>;
beforeAll(async () => {
  built = await build({ entryPoints: [`${CLIENT}src/index.ts`], bundle: true, write: false, metafile: true, minify: true, platform: "node", format: "esm", target: "node20" });
});

test("it depends on nothing but Node", () => {
  const manifest = JSON.parse(readFileSync(`${CLIENT}package.json`, "utf8")) as Record<string, unknown>;
  expect(Object.keys(manifest).filter((name) => /dependencies/i.test(name))).toEqual([]);
  const outside = Object.values(built.metafile.outputs).flatMap(({ imports }) => imports.map(({ path }) => path));
  expect(outside.length).toBeGreaterThan(3);
  for (const path of outside) expect(builtinModules, path).toContain(path.replace("node:", ""));
  expect(Object.keys(built.metafile.inputs).filter((path) => path.includes("node_modules"))).toEqual([]);
});

test("its README says its size as it is", () => {
  const said = /(\d+) KiB minified, (\d+) KiB compressed/.exec(readme);
  const bytes = built.outputFiles[0]!.contents;
  const kib = (size: number): string => String(Math.ceil(size / 1024));
  expect([said?.[1], said?.[2]]).toEqual([kib(bytes.length), kib(gzipSync(bytes, { level: 9 }).length)]);
});

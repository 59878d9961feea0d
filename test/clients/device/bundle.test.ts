// The device client's bundle: no dependency, only Node's own modules, and the size that its README says.

import { readFileSync } from "node:fs";
import { builtinModules } from "node:module";
import { gzipSync } from "node:zlib";
import { build } from "esbuild";
import { expect, test } from "vitest";

const CLIENT = new URL("../../../clients/device/", import.meta.url).pathname;

test("its package has no dependency, and its README says its size as it is", async () => {
  const manifest = JSON.parse(readFileSync(`${CLIENT}package.json`, "utf8")) as Record<string, unknown>;
  expect(Object.keys(manifest).filter((name) => /dependencies/i.test(name))).toEqual([]);
  const { outputFiles, metafile } = await build({
    entryPoints: [`${CLIENT}src/index.ts`], bundle: true, write: false, metafile: true, minify: true, platform: "node", format: "esm", target: "node20",
  });
  const external = Object.values(metafile.outputs).flatMap(({ imports }) => imports.map(({ path }) => path.replace(/^node:/, "")));
  expect(external.filter((path) => !builtinModules.includes(path))).toEqual([]);
  expect(Object.keys(metafile.inputs).filter((path) => path.includes("node_modules"))).toEqual([]);
  const bytes = outputFiles[0]!.contents;
  const kib = (count: number): string => String(Math.ceil(count / 1024));
  const said = /(\d+) KiB minified, (\d+) KiB compressed/.exec(readFileSync(`${CLIENT}README.md`, "utf8"));
  expect([said?.[1], said?.[2]]).toEqual([kib(bytes.length), kib(gzipSync(bytes, { level: 9 }).length)]);
});

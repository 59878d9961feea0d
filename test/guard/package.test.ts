// What `npm pack` puts into a package of the broker: everything that a node needs where only that is installed.

import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { dirname, join } from "node:path";

import { expect, test } from "vitest";

import { ROOT } from "../cli/command.ts"; // whose import checks that the build is there

/** `bellhop bench http`: it says so. */
const NOT_INSTALLED = "../../bench/load/http.js";

test("the build, the command and the pages that it shows are in the package, and nothing of the tests", () => {
  const told = execFileSync("npm", ["pack", "--dry-run", "--json", "--ignore-scripts"], { cwd: ROOT, encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] });
  const [{ files }] = JSON.parse(told) as [{ files: readonly { readonly path: string }[] }];
  const paths = files.map(({ path }) => path);
  expect(paths).toEqual(expect.arrayContaining(["package.json", "LICENSE", "bin/bellhop.js", "dist/src/main.js", "dist/clients/device/src/index.js", "docs/errors.md"]));
  expect(paths.filter((path) => !/^(?:bin|dist|docs)\/|^(?:package\.json|LICENSE|README\.md)$/.test(path))).toEqual([]);
});

test("what a node and the command line import is installed with the package", () => {
  const { dependencies } = JSON.parse(readFileSync(join(ROOT, "package.json"), "utf8")) as { dependencies: object };
  const files = new Set([join(ROOT, "dist/src/main.js")]);
  const packages = new Set<string>();
  for (const file of files) {
    const text = readFileSync(file, "utf8");
    for (const [, fixed, later] of text.matchAll(/^(?:import|export) [\w\s{},*]*"([^"]+)";$|\bimport\("([^"]+)"\)/gm)) {
      const name = (fixed ?? later)!;
      if (name === NOT_INSTALLED || name.startsWith("node:")) continue;
      if (name.startsWith(".")) files.add(join(dirname(file), name));
      else packages.add(name.split("/").slice(0, name.startsWith("@") ? 2 : 1).join("/"));
    }
  }
  expect(files.size).toBeGreaterThan(100);
  expect(packages.size).toBeGreaterThan(5);
  expect([...packages].filter((name) => !(name in dependencies))).toEqual([]);
});

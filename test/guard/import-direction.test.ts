// The guard of the import direction, and the proof that the guard looks: it fails on planted violations and sees the whole source.

import { cruise, type ICruiseResult } from "dependency-cruiser";
import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterEach, describe, expect, test } from "vitest";
import { DIRECTIONS } from "./directions.ts";

const ROOT = join(import.meta.dirname, "../..");

async function violations(baseDir: string, folders: string[]): Promise<{ found: string[]; result: ICruiseResult }> {
  const reply = await cruise(folders, {
    baseDir,
    tsPreCompilationDeps: true, // imports of types count too
    doNotFollow: { path: "node_modules" },
    ruleSet: { forbidden: DIRECTIONS },
    validate: true,
  });
  const result = reply.output as ICruiseResult;
  return { found: result.summary.violations.map((violation) => `${violation.rule.name}: ${violation.from} → ${violation.to}`), result };
}

function sourceFiles(folder: string): string[] {
  return readdirSync(join(ROOT, folder), { recursive: true, encoding: "utf8" })
    .filter((name) => name.endsWith(".ts") && !name.includes("node_modules") && !name.includes("dist"))
    .map((name) => join(folder, name));
}

describe("import direction", () => {
  test("holds in the whole source", { timeout: 60_000 }, async () => {
    const { found, result } = await violations(ROOT, ["src", "clients", "bench"]);
    expect(found).toEqual([]);
    // An empty pass is no pass: every source file was seen, and edges were followed.
    const seen = new Set(result.modules.map((module) => module.source));
    const files = ["src", "clients", "bench"].flatMap(sourceFiles);
    expect(files.length).toBeGreaterThan(10);
    expect(files.filter((file) => !seen.has(file))).toEqual([]);
    expect(result.summary.totalDependenciesCruised).toBeGreaterThan(10);
  });

  describe("the guard fails on a planted", () => {
    let root: string | undefined;
    afterEach(() => {
      if (root !== undefined) rmSync(root, { recursive: true });
    });

    async function plant(files: Record<string, string>): Promise<string[]> {
      root = mkdtempSync(join(tmpdir(), "bellhop-guard-"));
      for (const [path, text] of Object.entries(files)) {
        mkdirSync(dirname(join(root, path)), { recursive: true });
        writeFileSync(join(root, path), text);
      }
      return (await violations(root, ["src"])).found;
    }

    const leaf = "export const value = 1;\nexport type Value = number;\n";

    test.each([
      ["edge between core and wire", "src/core/a.ts", "../wire/b.ts", "src/wire/b.ts", "direction-of-src/core"],
      ["edge from base into core", "src/base/a.ts", "../core/b.ts", "src/core/b.ts", "direction-of-src/base"],
      ["edge between two ports", "src/storage/a.ts", "../control/b.ts", "src/control/b.ts", "direction-of-src/storage"],
      ["edge from a port up into node", "src/peer/a.ts", "../node/b.ts", "src/node/b.ts", "direction-of-src/peer"],
      ["edge between the two fronts", "src/device/a.ts", "../http/b.ts", "src/http/b.ts", "direction-of-src/device"],
      ["edge from http to storage", "src/http/a.ts", "../storage/b.ts", "src/storage/b.ts", "direction-of-src/http"],
      ["edge from broker to the command line", "src/broker.ts", "./cli/b.ts", "src/cli/b.ts", "direction-of-src/broker"],
      ["edge from replica to stream", "src/core/replica/a.ts", "../stream/b.ts", "src/core/stream/b.ts", "replica-knows-no-stream"],
    ])("%s", async (_what, from, specifier, to, rule) => {
      const found = await plant({ [from]: `import { value } from "${specifier}";\nexport const again = value;\n`, [to]: leaf });
      expect(found).toEqual([`${rule}: ${from} → ${to}`]);
    });

    test("import of a type only", async () => {
      const found = await plant({ "src/core/a.ts": `import type { Value } from "../wire/b.ts";\nexport const again: Value = 1;\n`, "src/wire/b.ts": leaf });
      expect(found).toEqual(["direction-of-src/core: src/core/a.ts → src/wire/b.ts"]);
    });

    test("use of the platform in the core", async () => {
      const found = await plant({ "src/core/a.ts": `import { readFileSync } from "node:fs";\nexport const again = readFileSync;\n` });
      expect(found).toEqual(["pure-code-needs-no-platform: src/core/a.ts → fs"]);
    });

    test("file outside every layer", async () => {
      const found = await plant({ "src/util/a.ts": `import { value } from "../base/b.ts";\nexport const again = value;\n`, "src/base/b.ts": leaf });
      expect(found).toEqual(["every-file-has-a-layer: src/util/a.ts → src/base/b.ts"]);
    });

    test("circle", async () => {
      const found = await plant({
        "src/core/a.ts": `import { value } from "./b.ts";\nexport const again = value;\n`,
        "src/core/b.ts": `import { again } from "./a.ts";\nexport const value = () => again;\n`,
      });
      expect(found.map((violation) => violation.split(":")[0])).toContain("no-circle");
    });

    test("nothing: an allowed edge passes", async () => {
      const found = await plant({ "src/core/a.ts": `import { value } from "../base/b.ts";\nexport const again = value;\n`, "src/base/b.ts": leaf });
      expect(found).toEqual([]);
    });
  });
});

// Bundles a client with what it needs of base and wire into its dist/index.js, and writes its types.

import { build } from "esbuild";
import { execFileSync } from "node:child_process";
import { rmSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const typescript = join(dirname(createRequire(import.meta.url).resolve("typescript/package.json")), "bin/tsc");

/** @param script the client's own build script, by its URL; `runtime`: esbuild's platform and target */
export async function buildClient(script, runtime) {
  const here = dirname(fileURLToPath(script));
  rmSync(join(here, "dist"), { recursive: true, force: true });
  await build({ entryPoints: [join(here, "src/index.ts")], outfile: join(here, "dist/index.js"), bundle: true, format: "esm", ...runtime });
  execFileSync(process.execPath, [typescript, "-p", join(here, "tsconfig.json")], { stdio: "inherit" });
}

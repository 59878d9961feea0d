// Bundles the client into dist/index.js for any runtime with the web's standards, and writes its types.

import { build } from "esbuild";
import { execFileSync } from "node:child_process";
import { rmSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const here = dirname(fileURLToPath(import.meta.url));
const typescript = join(dirname(createRequire(import.meta.url).resolve("typescript/package.json")), "bin/tsc");

rmSync(join(here, "dist"), { recursive: true, force: true });
await build({
  entryPoints: [join(here, "src/index.ts")],
  outfile: join(here, "dist/index.js"),
  bundle: true,
  platform: "neutral",
  format: "esm",
  target: "es2022",
});
execFileSync(process.execPath, [typescript, "-p", join(here, "tsconfig.json")], { stdio: "inherit" });

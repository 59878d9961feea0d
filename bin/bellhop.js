#!/usr/bin/env node
// The installed command: runs the built command line.

import { existsSync } from "node:fs";

const main = new URL("../dist/src/main.js", import.meta.url);
if (!existsSync(main)) {
  console.error("bellhop is not built yet. In its directory run: npm run build");
  process.exit(1);
}
await import(main.href);

// The version of this package, from its package.json.

import { readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

/** The package's own folder: src/observe in the sources and dist/src/observe when built are below it. */
export function packageFolder(): string {
  let folder = dirname(fileURLToPath(import.meta.url));
  while (!isPackage(folder)) {
    if (folder === dirname(folder)) throw new Error("bellhop's package.json is missing.");
    folder = dirname(folder);
  }
  return folder;
}

export function version(): string {
  return (readPackage(packageFolder()) as { version: string }).version;
}

function isPackage(folder: string): boolean {
  try {
    return (readPackage(folder) as { name?: string }).name === "bellhop";
  } catch {
    return false;
  }
}

function readPackage(folder: string): unknown {
  return JSON.parse(readFileSync(join(folder, "package.json"), "utf8"));
}

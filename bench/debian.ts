// Debian's packages, unpacked into a folder: needs neither root nor an installation.

import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, readdirSync, rmSync } from "node:fs";
import { join } from "node:path";

/** A program and the folders of its libraries, for LD_LIBRARY_PATH. */
export interface Unpacked {
  readonly path: string;
  readonly libraries: string;
}

/** Unpacks once; undefined where the packages cannot be had. `program` is its path inside them. */
export function unpackDebian(packages: readonly string[], root: string, program: string): Unpacked | undefined {
  const path = join(root, program);
  if (!existsSync(path)) {
    mkdirSync(root, { recursive: true });
    try {
      execFileSync("apt-get", ["download", ...packages], { cwd: root, stdio: "ignore" });
      for (const file of readdirSync(root).filter((name) => name.endsWith(".deb"))) execFileSync("dpkg-deb", ["-x", file, "."], { cwd: root });
    } catch {
      rmSync(root, { recursive: true, force: true });
      return undefined;
    }
  }
  const folder = join(root, "usr/lib");
  const libraries = !existsSync(folder) ? [] : readdirSync(folder).map((name) => join(root, "usr/lib", name));
  return { path, libraries: libraries.join(":") };
}

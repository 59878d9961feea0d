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
      download(packages, root);
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

/** By the machine's own lists of packages; where it has none, or old ones, by lists fetched beside the packages. */
function download(packages: readonly string[], root: string): void {
  try {
    execFileSync("apt-get", ["download", ...packages], { cwd: root, stdio: "ignore" });
  } catch {
    for (const folder of ["lists/partial", "cache/archives/partial"]) mkdirSync(join(root, folder), { recursive: true });
    const own = ["-o", `Dir::State::lists=${join(root, "lists")}`, "-o", `Dir::Cache=${join(root, "cache")}`];
    execFileSync("apt-get", [...own, "update"], { stdio: "ignore" });
    execFileSync("apt-get", [...own, "download", ...packages], { cwd: root, stdio: "ignore" });
  }
}

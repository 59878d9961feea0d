// Programs of others: on PATH, or from Debian's packages, unpacked into a folder, which needs neither root nor an installation.

import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, readdirSync, renameSync, rmSync } from "node:fs";
import { join } from "node:path";

/** A program and the folders of its libraries, for LD_LIBRARY_PATH. */
export interface Unpacked {
  readonly path: string;
  readonly libraries: string;
}

/** Where the program is installed; undefined where it is not. */
export function onPath(program: string): string | undefined {
  return (process.env["PATH"] ?? "").split(":").map((folder) => join(folder, program)).find((path) => existsSync(path));
}

/** Unpacks once, and says so on stderr; undefined where the packages cannot be had. `program` is its path inside them. */
export function unpackDebian(packages: readonly string[], root: string, program: string): Unpacked | undefined {
  const path = join(root, program);
  if (!existsSync(path)) {
    process.stderr.write(`Debian's ${packages[0]} is fetched and unpacked into ${root}: nothing is installed.\n`);
    try {
      unpack(packages, root, program);
    } catch (error) {
      process.stderr.write(`Debian's ${packages[0]} cannot be had: ${error instanceof Error ? error.message.split("\n")[0] : String(error)}\n`);
      return undefined;
    }
  }
  const folder = join(root, "usr/lib");
  const libraries = !existsSync(folder) ? [] : readdirSync(folder).map((name) => join(root, "usr/lib", name));
  return { path, libraries: libraries.join(":") };
}

/** Beside it first, and under its name when it is whole: another process may do the same, and either may be ended in the midst of it. */
function unpack(packages: readonly string[], root: string, program: string): void {
  const own = `${root}.${process.pid}`;
  const files = join(own, "packages");
  mkdirSync(files, { recursive: true });
  try {
    download(packages, files);
    for (const file of readdirSync(files).filter((name) => name.endsWith(".deb"))) execFileSync("dpkg-deb", ["-x", join(files, file), own]);
    rmSync(files, { recursive: true });
    if (existsSync(join(root, program))) return;
    rmSync(root, { recursive: true, force: true });
    renameSync(own, root);
  } finally {
    rmSync(own, { recursive: true, force: true });
  }
}

/** By the machine's own lists of packages; where it has none, or old ones, by lists fetched beside the packages. */
function download(packages: readonly string[], folder: string): void {
  try {
    execFileSync("apt-get", ["download", ...packages], { cwd: folder, stdio: "ignore" });
  } catch {
    for (const one of ["lists/partial", "cache/archives/partial"]) mkdirSync(join(folder, one), { recursive: true });
    const own = ["-o", `Dir::State::lists=${join(folder, "lists")}`, "-o", `Dir::Cache=${join(folder, "cache")}`];
    execFileSync("apt-get", [...own, "update"], { stdio: "ignore" });
    execFileSync("apt-get", [...own, "download", ...packages], { cwd: folder, stdio: "ignore" });
  }
}

// Debian's strace, which makes a system call of a running node fail: found on PATH, or unpacked into the cache without root.

import { execFileSync, spawnSync } from "node:child_process";
import { existsSync, mkdirSync, readdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { ROOT } from "../cli/command.ts";

/** What Debian's strace needs beyond the base system. */
const PACKAGES = ["strace", "libunwind8"];

export interface Fault {
  /** System calls, as strace names them. */
  readonly calls: string;
  /** Which of them fail in each thread: `30` the thirtieth only, `1+` all; see strace(1). */
  readonly when: string;
  /** Only calls on this file. */
  readonly path?: string;
}

/** What a node is started through, so that these calls of it fail with EIO; the process id is the node's. */
export function failing({ calls, when, path }: Fault): readonly string[] {
  const { command, libraries } = findStrace();
  const only = path === undefined ? [] : ["-P", path];
  const strace = [command, "-D", "-f", "-qqq", "-o", "/dev/null", "--seccomp-bpf", ...only, "-e", `trace=${calls}`, "-e", `inject=${calls}:error=EIO:when=${when}`];
  return libraries === "" ? strace : ["env", `LD_LIBRARY_PATH=${libraries}`, ...strace];
}

function findStrace(): { readonly command: string; readonly libraries: string } {
  if (spawnSync("strace", ["--version"]).status === 0) return { command: "strace", libraries: "" };
  const root = join(ROOT, ".cache/strace");
  const command = join(root, "usr/bin/strace");
  if (!existsSync(command)) {
    mkdirSync(root, { recursive: true });
    try {
      execFileSync("apt-get", ["download", ...PACKAGES], { cwd: root, stdio: "ignore" });
      for (const file of readdirSync(root).filter((name) => name.endsWith(".deb"))) execFileSync("dpkg-deb", ["-x", file, "."], { cwd: root });
    } catch {
      rmSync(root, { recursive: true, force: true });
      throw new Error("This test needs strace: apt-get install strace");
    }
  }
  const libraries = readdirSync(join(root, "usr/lib")).map((folder) => join(root, "usr/lib", folder));
  return { command, libraries: libraries.join(":") };
}

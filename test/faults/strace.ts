// Debian's strace, which makes a system call of a running node fail: found on PATH, or unpacked into the cache without root.

import { spawnSync } from "node:child_process";
import { join } from "node:path";
import { unpackDebian } from "../../bench/debian.ts";
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
export function failing(fault: Fault): readonly string[] {
  return injecting(fault, "error=EIO");
}

/** The same, so that they take long. */
export function delaying(fault: Fault & { readonly seconds: number }): readonly string[] {
  return injecting(fault, `delay_enter=${fault.seconds}s`);
}

function injecting({ calls, when, path }: Fault, how: string): readonly string[] {
  const { command, libraries } = findStrace();
  const only = path === undefined ? [] : ["-P", path];
  const strace = [command, "-D", "-f", "-qqq", "-o", "/dev/null", "--seccomp-bpf", ...only, "-e", `trace=${calls}`, "-e", `inject=${calls}:${how}:when=${when}`];
  return libraries === "" ? strace : ["env", `LD_LIBRARY_PATH=${libraries}`, ...strace];
}

function findStrace(): { readonly command: string; readonly libraries: string } {
  if (spawnSync("strace", ["--version"]).status === 0) return { command: "strace", libraries: "" };
  const unpacked = unpackDebian(PACKAGES, join(ROOT, ".cache/strace"), "usr/bin/strace");
  if (unpacked === undefined) throw new Error("This test needs strace: apt-get install strace");
  return { command: unpacked.path, libraries: unpacked.libraries };
}

// A real file system of a few MiB in a mount namespace of its own, which needs no root: tests fill it and make room again.

import { spawn, spawnSync, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";

const ADVICE =
  "This test needs a small disk: unshare --user --map-root-user --mount must be allowed " +
  "(as root: sysctl -w kernel.unprivileged_userns_clone=1; sysctl -w user.max_user_namespaces=10000; sysctl -w kernel.apparmor_restrict_unprivileged_userns=0).";

export class SmallDisk {
  /** Where it is mounted, as processes inside see it. */
  readonly path: string;
  /** Starts a process that sees it, under that process's own id. */
  readonly through: readonly string[];
  readonly #holder: ChildProcess;

  private constructor(path: string, holder: ChildProcess) {
    this.path = path;
    this.#holder = holder;
    this.through = ["nsenter", "--preserve-credentials", "--user", "--mount", "--target", String(holder.pid), "--"];
  }

  static async mount(path: string, mebibytes: number): Promise<SmallDisk> {
    if (spawnSync("unshare", ["--user", "--map-root-user", "--mount", "true"]).status !== 0) throw new Error(ADVICE);
    mkdirSync(path, { recursive: true });
    const script = `mount -t tmpfs -o size=${mebibytes}m none "$0" && echo mounted && exec cat`;
    const holder = spawn("unshare", ["--user", "--map-root-user", "--mount", "sh", "-c", script, path], { stdio: ["pipe", "pipe", "inherit"] });
    const [said] = (await Promise.race([once(holder.stdout, "data"), once(holder, "exit")])) as [unknown];
    if (!String(said).startsWith("mounted")) throw new Error(`${path} could not be mounted. ${ADVICE}`);
    return new SmallDisk(path, holder);
  }

  /** A file's path from outside of the namespace. */
  #outside(name: string): string {
    return join(`/proc/${this.#holder.pid}/root`, this.path, name);
  }

  /** Takes room. */
  writeBallast(mebibytes: number): void {
    writeFileSync(this.#outside("ballast"), Buffer.alloc(mebibytes * 1024 * 1024));
  }

  removeBallast(): void {
    rmSync(this.#outside("ballast"));
  }

  /** With its processes gone the namespace and all that is on the disk go too. */
  async unmount(): Promise<void> {
    const ended = once(this.#holder, "exit");
    this.#holder.stdin!.end();
    await ended;
  }
}

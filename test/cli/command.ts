// Runs the command line as a user does: the built command as a process, its output, its exit code.

import { spawn, type ChildProcess } from "node:child_process";
import { readdirSync, statSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

export const ROOT = fileURLToPath(new URL("../..", import.meta.url));
const BUILT = join(ROOT, "dist");

/** A test of an old build would prove nothing: `npm test` builds first. */
function checkBuilt(): void {
  const built = statSync(join(BUILT, "src/main.js"), { throwIfNoEntry: false })?.mtimeMs ?? 0;
  for (const folder of ["src", "bench", "clients"]) {
    for (const file of readdirSync(join(ROOT, folder), { recursive: true, encoding: "utf8" })) {
      if (/node_modules|\.d\.ts$/.test(file) || !file.endsWith(".ts")) continue;
      if (statSync(join(ROOT, folder, file)).mtimeMs > built) throw new Error(`${folder}/${file} is newer than the build: npm run build`);
    }
  }
}

checkBuilt();

export interface Ended {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

export interface RunOptions {
  readonly input?: string;
  readonly env?: Readonly<Record<string, string>>;
  readonly cwd?: string;
}

export function start(words: readonly string[], options: RunOptions = {}): ChildProcess {
  const { BELLHOP_HTTP: _http, BELLHOP_DEVICE: _device, npm_command: _npm, ...env } = process.env;
  return spawn(process.execPath, [join(ROOT, "bin/bellhop.js"), ...words], {
    cwd: options.cwd ?? ROOT,
    env: { ...env, ...options.env },
    stdio: ["pipe", "pipe", "pipe"],
  });
}

export async function bellhop(words: readonly string[], options: RunOptions = {}): Promise<Ended> {
  const child = start(words, options);
  const output = collect(child);
  child.stdin!.end(options.input ?? "");
  const code = await new Promise<number | null>((resolve) => child.once("close", resolve));
  return { code, stdout: output.stdout(), stderr: output.stderr() };
}

export function collect(child: ChildProcess): { stdout(): string; stderr(): string } {
  let stdout = "";
  let stderr = "";
  child.stdout!.setEncoding("utf8").on("data", (text: string) => (stdout += text));
  child.stderr!.setEncoding("utf8").on("data", (text: string) => (stderr += text));
  return { stdout: () => stdout, stderr: () => stderr };
}

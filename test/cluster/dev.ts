// `bellhop dev` as a test runs it: real processes on free ports, ended by their ids.

import { fork, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { firstWord } from "../../bench/processes.ts";
import { ROOT } from "../cli/command.ts";

export interface DevNode {
  readonly id: string;
  readonly http: string;
  readonly device: string;
  readonly pid: number;
}

export interface DevCluster {
  readonly nodes: readonly DevNode[];
  readonly pid: number;
  stop(): Promise<void>;
}

/** Ports of all nodes lie together. */
const PORTS = { from: 20_000, to: 31_900 };

export async function startDev(count: number): Promise<DevCluster> {
  const data = mkdtempSync(join(tmpdir(), "bellhop-dev-"));
  const base = await freePorts(3 * count);
  const at = (place: number): string => `127.0.0.1:${base + place * count}`;
  const words = ["dev", "--nodes", String(count), "--data", data, "--http", at(0), "--device", at(1), "--peer", at(2), "--log-level", "error"];
  const child = fork(join(ROOT, "bin/bellhop.js"), words, { cwd: ROOT, stdio: ["ignore", "pipe", "pipe", "ipc"] });
  let said = "";
  child.stderr!.setEncoding("utf8").on("data", (text: string) => (said += text));
  child.stdout!.resume();
  const { nodes } = (await firstWord(child).catch((error: Error) => {
    throw new Error(`${error.message}\n${said}`);
  })) as { nodes: DevNode[] };
  return {
    nodes,
    pid: child.pid!,
    async stop() {
      await ended(child);
      rmSync(data, { recursive: true });
    },
  };
}

async function ended(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const exit = once(child, "exit");
  child.kill("SIGTERM");
  await exit;
}

async function freePorts(count: number): Promise<number> {
  for (let tries = 0; tries < 100; tries += 1) {
    const base = PORTS.from + Math.floor(Math.random() * (PORTS.to - PORTS.from - count));
    const free = await Promise.all(Array.from({ length: count }, (_, i) => isFree(base + i)));
    if (free.every(Boolean)) return base;
  }
  throw new Error(`No ${count} free ports in a row were found.`);
}

async function isFree(port: number): Promise<boolean> {
  const server = createServer();
  const free = await new Promise<boolean>((resolve) => server.once("error", () => resolve(false)).listen(port, "127.0.0.1", () => resolve(true)));
  if (free) await new Promise((resolve) => server.close(resolve));
  return free;
}

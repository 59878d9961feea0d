// The processes that benchmarks and the demo run against: a broker on its own directory, a cluster of three, the floor of sockets.

import { fork, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, readFileSync } from "node:fs";
import { createServer } from "node:net";
import { fileURLToPath } from "node:url";

/** Below the range that the system hands out by itself, so that no connection takes a port first. */
const PORTS = { from: 20_000, to: 32_000 };

export interface Started {
  /** HOST:PORT for devices. */
  readonly at: string;
  /** HOST:PORT for HTTP; "" where there is none. */
  readonly httpAt: string;
  readonly pid: number;
  stop(): Promise<void>;
}

/** This file's place decides: sources run under tsx, dist/ under node. */
export function sibling(path: string): string {
  return fileURLToPath(new URL(import.meta.url.endsWith(".ts") ? `${path}.ts` : `${path}.js`, import.meta.url));
}

/** `bellhop start` on free ports; resolves when it is ready. Its banner is shown only where it fails. */
export async function startBellhop(data: string): Promise<Started> {
  mkdirSync(data, { recursive: true });
  const words = ["start", "--data", data, "--device", "127.0.0.1:0", "--http", "127.0.0.1:0", "--log-level", "error"];
  const child = fork(sibling("../src/main"), words, { stdio: ["ignore", process.stderr, "pipe", "ipc"] });
  let said = "";
  child.stderr!.setEncoding("utf8").on("data", (text: string) => (said += text));
  const { http, device } = (await firstWord(child).catch((error: Error) => {
    throw new Error(`${error.message}\n${said}`);
  })) as { http: string; device: string };
  return { at: device, httpAt: http, pid: child.pid!, stop: () => stopped(child) };
}

export interface StartedNode {
  readonly id: string;
  readonly http: string;
  readonly device: string;
  readonly pid: number;
}

export interface StartedCluster {
  readonly nodes: readonly StartedNode[];
  /** Of the process that started them and serves their control log. */
  readonly pid: number;
  stop(): Promise<void>;
}

/** `bellhop dev` on free ports; resolves when every node is ready. What it said is shown only where it fails. `environment`: settings of all nodes as variables. */
export async function startCluster(data: string, count: number, main = sibling("../src/main"), environment: Readonly<Record<string, string>> = {}): Promise<StartedCluster> {
  mkdirSync(data, { recursive: true });
  const base = await freePorts(3 * count);
  const at = (place: number): string => `127.0.0.1:${base + place * count}`;
  const words = ["dev", "--nodes", String(count), "--data", data, "--http", at(0), "--device", at(1), "--peer", at(2), "--log-level", "error"];
  const child = fork(main, words, { stdio: ["ignore", "ignore", "pipe", "ipc"], env: { ...process.env, ...environment } });
  let said = "";
  child.stderr!.setEncoding("utf8").on("data", (text: string) => (said += text));
  const { nodes } = (await firstWord(child).catch((error: Error) => {
    throw new Error(`${error.message}\n${said}`);
  })) as { nodes: StartedNode[] };
  return { nodes, pid: child.pid!, stop: () => stopped(child) };
}

export async function startFloor(): Promise<Started> {
  const child = fork(sibling("./peers/floor"), { stdio: ["ignore", "inherit", "inherit", "ipc"] });
  const { at } = (await firstWord(child)) as { at: string };
  return { at, httpAt: "", pid: child.pid!, stop: () => stopped(child) };
}

/** The floor of HTTP: the framework alone. */
export async function startBareHttp(): Promise<Started> {
  const child = fork(sibling("./peers/bare-http"), { stdio: ["ignore", "inherit", "inherit", "ipc"] });
  const { at } = (await firstWord(child)) as { at: string };
  return { at: "", httpAt: at, pid: child.pid!, stop: () => stopped(child) };
}

/** What the process tells when it is ready; rejects when it ends before. */
export function firstWord(child: ChildProcess): Promise<unknown> {
  return new Promise((resolve, reject) => {
    child.once("message", resolve).once("error", reject);
    child.once("exit", (code, signal) => reject(new Error(`${child.spawnargs.slice(1).join(" ")} ended with ${signal ?? `exit code ${code}`}.`)));
  });
}

/** SIGTERM, and the wait for the end. */
export async function stopped(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const ended = once(child, "exit");
  child.kill("SIGTERM");
  await ended;
}

/** SIGKILL, and the wait for the end: for those whose data is thrown away. Frozen ones end too. */
export async function killed(children: readonly ChildProcess[]): Promise<void> {
  for (const child of children) {
    if (child.exitCode !== null || child.signalCode !== null) continue;
    const ended = once(child, "exit");
    child.kill("SIGKILL");
    await ended;
  }
}

/** For a benchmark's main file: what it has started ends with it, however it ends but by SIGKILL, and what is frozen too. Linux only. */
export function endChildrenWithThis(): void {
  process.once("exit", () => {
    const children = readFileSync(`/proc/${process.pid}/task/${process.pid}/children`, "utf8");
    for (const pid of children.trim().split(" ").filter(Boolean).map(Number)) for (const signal of ["SIGTERM", "SIGCONT"] as const) process.kill(pid, signal);
  });
  for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => process.exit(130));
}

export function freePort(): Promise<number> {
  return freePorts(1);
}

/** The first of so many free ports in a row. */
export async function freePorts(count: number): Promise<number> {
  for (let tries = 0; tries < 100; tries += 1) {
    const base = PORTS.from + Math.floor(Math.random() * (PORTS.to - PORTS.from - count));
    const free = await Promise.all(Array.from({ length: count }, (_, place) => isFree(base + place)));
    if (free.every(Boolean)) return base;
  }
  throw new Error(count === 1 ? "No free port was found." : `No ${count} free ports in a row were found.`);
}

async function isFree(port: number): Promise<boolean> {
  const server = createServer();
  const free = await new Promise<boolean>((resolve) => server.once("error", () => resolve(false)).listen(port, "127.0.0.1", () => resolve(true)));
  if (free) await new Promise((resolve) => server.close(resolve));
  return free;
}

// The processes that benchmarks and the demo run against: a broker on its own directory, the floor of sockets.

import { fork, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { createServer } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";

const START_MS = 60_000;
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

/** `bellhop start` with these flags; resolves when it is ready. Its banner and its log go nowhere. */
export async function startBellhop(data: string, ...flags: readonly string[]): Promise<Started> {
  const [at, httpAt] = [`127.0.0.1:${await freePort()}`, `127.0.0.1:${await freePort()}`];
  const child = fork(sibling("../src/main"), ["start", "--data", data, "--device", at, "--http", httpAt, "--log-level", "error", ...flags], {
    stdio: ["ignore", "inherit", "ignore", "ipc"],
  });
  await ready(httpAt, child);
  return { at, httpAt, pid: child.pid!, stop: () => stopped(child) };
}

export async function startFloor(): Promise<Started> {
  const child = fork(sibling("./peers/floor"), { stdio: ["ignore", "inherit", "inherit", "ipc"] });
  const [{ at }] = (await once(child, "message")) as [{ at: string }];
  return { at, httpAt: "", pid: child.pid!, stop: () => stopped(child) };
}

/** Resolves when the broker takes traffic; rejects when it ends or takes too long. */
export async function ready(httpAt: string, broker: ChildProcess): Promise<void> {
  for (let waited = 0; waited < START_MS; waited += 50) {
    if (broker.exitCode !== null) throw new Error(`The broker ended with exit code ${broker.exitCode}.`);
    const ok = await fetch(`http://${httpAt}/readyz`).then((response) => response.ok, () => false);
    if (ok) return;
    await sleep(50);
  }
  throw new Error(`The broker was not ready within ${START_MS / 1000} s.`);
}

/** SIGTERM, and the wait for the end. */
export async function stopped(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const ended = once(child, "exit");
  child.kill("SIGTERM");
  await ended;
}

export async function freePort(): Promise<number> {
  for (let tries = 0; tries < 50; tries += 1) {
    const port = PORTS.from + Math.floor(Math.random() * (PORTS.to - PORTS.from));
    const server = createServer();
    const free = await new Promise<boolean>((resolve) => server.once("error", () => resolve(false)).listen(port, "127.0.0.1", () => resolve(true)));
    if (!free) continue;
    await new Promise((resolve) => server.close(resolve));
    return port;
  }
  throw new Error("No free port was found.");
}

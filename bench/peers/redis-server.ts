// Debian's redis-server with an append-only file that is synced before every answer: found on PATH, or unpacked into the cache without root.

import { execFileSync, spawn } from "node:child_process";
import { mkdirSync, rmSync } from "node:fs";
import { createConnection } from "node:net";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

import { onPath, unpackDebian, type Unpacked } from "../debian.ts";

/** What Debian's redis-server needs beyond the base system. */
const PACKAGES = ["redis-server", "redis-tools", "libjemalloc2", "liblzf1", "libatomic1"];
const START_MS = 10_000;

export interface RedisServer {
  readonly at: string;
  readonly version: string;
  readonly settings: string;
  readonly pid: number;
  stop(): Promise<void>;
}

/** Undefined where there is no Redis and none can be had: the comparison is then not made. */
export function findRedis(cache: string): Unpacked | undefined {
  return redisOnPath() ?? unpackDebian(PACKAGES, join(cache, "redis"), "usr/bin/redis-server");
}

export function redisOnPath(): Unpacked | undefined {
  const path = onPath("redis-server");
  return path === undefined ? undefined : { path, libraries: "" };
}

/** Starts Redis on an own directory, which is removed at stop. */
export async function startRedis(binary: Unpacked, directory: string, port: number): Promise<RedisServer> {
  mkdirSync(directory, { recursive: true });
  // No snapshots and no rewriting of the file while measuring: the fastest that Redis can be with every answer on disk.
  const settings = ["--appendonly", "yes", "--appendfsync", "always", "--auto-aof-rewrite-percentage", "0", "--save", ""];
  const child = spawn(binary.path, ["--bind", "127.0.0.1", "--port", String(port), "--dir", directory, "--loglevel", "warning", ...settings], {
    stdio: "ignore",
    env: { ...process.env, LD_LIBRARY_PATH: binary.libraries },
  });
  const ended = new Promise<void>((resolve) => child.once("exit", () => resolve()));
  for (let waited = 0; !(await answers(port)); waited += 50) {
    if (waited > START_MS || child.exitCode !== null) throw new Error("redis-server did not start.");
    await sleep(50);
  }
  const version = /v=([\d.]+)/.exec(execFileSync(binary.path, ["--version"], { encoding: "utf8", env: { ...process.env, LD_LIBRARY_PATH: binary.libraries } }));
  return {
    at: `127.0.0.1:${port}`,
    version: version?.[1] ?? "of unknown version",
    settings: "appendonly yes, appendfsync always, no snapshots, no rewrite",
    pid: child.pid!,
    async stop() {
      child.kill("SIGKILL"); // Its data is thrown away.
      await ended;
      rmSync(directory, { recursive: true, force: true });
    },
  };
}

/** True once it answers: it listens before it has loaded its data. */
function answers(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = createConnection({ host: "127.0.0.1", port });
    socket.once("connect", () => socket.write("PING\r\n"));
    socket.once("data", (answer) => {
      resolve(answer.toString("latin1").startsWith("+PONG"));
      socket.destroy();
    });
    socket.once("error", () => resolve(false));
  });
}

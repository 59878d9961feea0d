// A real etcd for tests and benchmarks: found on PATH, or Debian's package unpacked into the project's cache without root.

import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { setTimeout as sleep } from "node:timers/promises";
import { onPath, unpackDebian } from "./debian.ts";
import { freePort } from "./processes.ts";

const START_MS = 20_000;
const CACHE = fileURLToPath(new URL(import.meta.url.endsWith(".ts") ? "../.cache" : "../../.cache", import.meta.url));

/** @throws where there is none and none can be had: with the command to run */
export function findEtcd(): string {
  const installed = onPath("etcd");
  if (installed !== undefined) return installed;
  const unpacked = unpackDebian(["etcd-server"], join(CACHE, "etcd"), "usr/bin/etcd");
  if (unpacked === undefined) throw new Error("etcd is needed, which is not on PATH and could not be unpacked from Debian's packages. Install it: apt-get install etcd-server");
  return unpacked.path;
}

/** One member of an etcd cluster. */
export class EtcdServer {
  readonly url: string;
  readonly #words: readonly string[];
  #child: ChildProcess;

  private constructor(url: string, words: readonly string[]) {
    this.url = url;
    this.#words = words;
    this.#child = launched(words);
  }

  /** @param members the peer addresses of all; fast elections, so that tests need not wait for the usual second */
  static launch(directory: string, name: string, clientPort: number, members: ReadonlyMap<string, string>, more: readonly string[] = []): EtcdServer {
    const url = `http://127.0.0.1:${clientPort}`;
    const peer = members.get(name)!;
    const cluster = [...members].map(([member, at]) => `${member}=${at}`).join(",");
    const words = [
      "--name", name, "--data-dir", join(directory, name), "--listen-client-urls", url, "--advertise-client-urls", url, "--listen-peer-urls", peer,
      "--initial-advertise-peer-urls", peer, "--initial-cluster", cluster, "--heartbeat-interval", "50", "--election-timeout", "250", "--log-level", "error", ...more,
    ];
    return new EtcdServer(url, words);
  }

  get pid(): number {
    return this.#child.pid!;
  }

  /** Its health, not its port, says that it serves. */
  async ready(): Promise<void> {
    const deadline = Date.now() + START_MS;
    while (!(await this.#isHealthy())) {
      if (Date.now() > deadline || this.#child.exitCode !== null) throw new Error(`etcd at ${this.url} did not come up`);
      await sleep(20);
    }
  }

  async kill(signal: NodeJS.Signals = "SIGKILL"): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    const ended = once(this.#child, "exit");
    this.#child.kill(signal);
    await ended;
  }

  /** On its old directory. */
  async restart(): Promise<void> {
    await this.kill();
    this.#child = launched(this.#words);
    await this.ready();
  }

  async #isHealthy(): Promise<boolean> {
    try {
      const reply = await fetch(`${this.url}/health`, { signal: AbortSignal.timeout(1000) });
      return ((await reply.json()) as { health: unknown }).health === "true";
    } catch {
      return false;
    }
  }
}

export interface EtcdCluster {
  readonly servers: readonly EtcdServer[];
  readonly endpoints: readonly string[];
  stop(): Promise<void>;
}

export async function startEtcd(count = 1): Promise<EtcdCluster> {
  const directory = mkdtempSync(join(tmpdir(), "bellhop-etcd-"));
  const members = new Map<string, string>();
  for (let place = 0; place < count; place += 1) members.set(`e${place + 1}`, `http://127.0.0.1:${await freePort()}`);
  const servers: EtcdServer[] = [];
  for (const name of members.keys()) servers.push(EtcdServer.launch(directory, name, await freePort(), members));
  await Promise.all(servers.map((server) => server.ready()));
  return {
    servers,
    endpoints: servers.map(({ url }) => url),
    async stop() {
      await Promise.all(servers.map((server) => server.kill()));
      rmSync(directory, { recursive: true });
    },
  };
}

function launched(words: readonly string[]): ChildProcess {
  return spawn(findEtcd(), words, { stdio: "ignore" });
}

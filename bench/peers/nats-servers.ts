// Three nats-servers with JetStream as one cluster, from a binary given by path: Debian's package is too old to be compared with.

import { execFileSync, spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

import { freePorts } from "../processes.ts";
import { askNats, STREAM } from "./nats.ts";

const SERVERS = 3;
const START_MS = 30_000;
/** JetStream's replication before it is another product. */
const LEAST = [2, 10] as const;

export interface NatsServers {
  /** HOST:PORT of each, with commas between. */
  readonly at: string;
  readonly pids: readonly number[];
  stop(): Promise<void>;
}

/** Its version, such as "2.10.22"; undefined where it is older than 2.10 or no nats-server at all. */
export function natsVersion(path: string): { readonly version: string; readonly isEnough: boolean } {
  const said = execFileSync(path, ["--version"], { encoding: "utf8" });
  const [, version = "unknown", major = "0", minor = "0"] = /v((\d+)\.(\d+)[\d.]*)/.exec(said) ?? [];
  return { version, isEnough: Number(major) > LEAST[0] || (Number(major) === LEAST[0] && Number(minor) >= LEAST[1]) };
}

/** With a stream of three copies on files. `sync`: the value of sync_interval; undefined for the default, two minutes. */
export async function startNats(path: string, directory: string, sync: string | undefined): Promise<NatsServers> {
  const base = await freePorts(2 * SERVERS);
  const routes = Array.from({ length: SERVERS }, (_, place) => `nats-route://127.0.0.1:${base + SERVERS + place}`).join(", ");
  mkdirSync(directory, { recursive: true });
  const children: ChildProcess[] = [];
  for (let place = 0; place < SERVERS; place += 1) {
    const file = join(directory, `n${place}.conf`);
    const lines = [
      `server_name: n${place}`,
      `listen: "127.0.0.1:${base + place}"`,
      `jetstream { store_dir: "${join(directory, `n${place}`)}"${sync === undefined ? "" : `, sync_interval: ${sync}`} }`,
      `cluster { name: bench, listen: "127.0.0.1:${base + SERVERS + place}", routes: [${routes}] }`,
    ];
    writeFileSync(file, `${lines.join("\n")}\n`);
    children.push(spawn(path, ["-c", file], { stdio: "ignore" }));
  }
  const at = Array.from({ length: SERVERS }, (_, place) => `127.0.0.1:${base + place}`);
  const stop = async (): Promise<void> => {
    for (const child of children) {
      if (child.exitCode !== null || child.signalCode !== null) continue;
      const ended = once(child, "exit");
      child.kill("SIGKILL"); // Its data is thrown away.
      await ended;
    }
    rmSync(directory, { recursive: true, force: true });
  };
  let answer: unknown = "nothing";
  for (let waited = 0; waited < START_MS; waited += 200) {
    answer = await askNats(at[0]!, `$JS.API.STREAM.CREATE.${STREAM}`, { name: STREAM, subjects: [`${STREAM}.>`], storage: "file", num_replicas: SERVERS }).catch(
      (error: Error) => error.message,
    );
    if (typeof answer === "object" && answer !== null && !("error" in answer)) return { at: at.join(","), pids: children.map((child) => child.pid!), stop };
    await sleep(200);
  }
  await stop();
  throw new Error(`The nats-servers made no stream of three copies within ${START_MS / 1000} s: ${JSON.stringify(answer)}`);
}

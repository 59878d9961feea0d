// Three nats-servers with JetStream as one cluster, from a binary given by path or from Debian's package, which is older.

import { execFileSync, spawn, type ChildProcess } from "node:child_process";
import { mkdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

import { onPath, unpackDebian } from "../debian.ts";
import { freePorts, killed } from "../processes.ts";
import { askNats, STREAM } from "./nats.ts";
import type { PeerServers } from "./servers.ts";

const SERVERS = 3;
const START_MS = 30_000;
/** The first release with the setting sync_interval. */
const SYNC_INTERVAL_SINCE = [2, 10] as const;

export interface NatsBinary {
  readonly path: string;
  /** Such as "2.10.22". */
  readonly version: string;
  /** Can sync before it answers. */
  readonly hasSyncInterval: boolean;
}

/** The one given, else the one on PATH, else Debian's package unpacked into `cache`; undefined where there is none. */
export function findNats(given: string | undefined, cache: string): NatsBinary | undefined {
  const path = given ?? onPath("nats-server") ?? unpackDebian(["nats-server"], join(cache, "nats"), "usr/sbin/nats-server")?.path;
  if (path === undefined) return undefined;
  const said = execFileSync(path, ["--version"], { encoding: "utf8" });
  const [, version = "unknown", major = "0", minor = "0"] = /v((\d+)\.(\d+)[\d.]*)/.exec(said) ?? [];
  const [sinceMajor, sinceMinor] = SYNC_INTERVAL_SINCE;
  return { path, version, hasSyncInterval: Number(major) > sinceMajor || (Number(major) === sinceMajor && Number(minor) >= sinceMinor) };
}

/** With a stream of three copies on files. `sync`: the value of sync_interval; undefined for the default, two minutes. */
export async function startNats(path: string, directory: string, sync: string | undefined): Promise<PeerServers> {
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
    await killed(children);
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

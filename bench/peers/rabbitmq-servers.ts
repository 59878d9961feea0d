// Three RabbitMQ nodes as one cluster, from Debian's packages unpacked without root: where Erlang stands is told to it by its environment.

import { spawn, type ChildProcess } from "node:child_process";
import { chmodSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

import { unpackDebian } from "../debian.ts";
import { freePorts, killed } from "../processes.ts";
import { connectRabbit, declareQueues } from "./rabbitmq.ts";
import type { PeerServers } from "./servers.ts";

const SERVERS = 3;
const START_MS = 60_000;
const LOOK_MS = 100;
/** What rabbitmq-server needs of Erlang. */
const PACKAGES = [
  "rabbitmq-server", "erlang-base", "erlang-asn1", "erlang-crypto", "erlang-eldap", "erlang-ftp", "erlang-inets", "erlang-mnesia", "erlang-os-mon", "erlang-parsetools",
  "erlang-public-key", "erlang-runtime-tools", "erlang-ssl", "erlang-syntax-tools", "erlang-tftp", "erlang-tools", "erlang-xmerl",
];
/** As the script rabbitmq-server of 3.10 starts Erlang with nothing set. */
const DEFAULTS =
  "-noinput -s rabbit boot -boot start_sasl +W w +MBas ageffcbf +MHas ageffcbf +MBlmbcs 512 +MHlmbcs 512 +MMmcs 30 +P 1048576 +t 5000000 +stbt db +zdbbl 128000 " +
  "+sbwt none +sbwtdcpu none +sbwtdio none +B i -syslog logger [] -syslog syslog_error_logger false -kernel prevent_overlapping_partitions false";

export interface RabbitBinary {
  /** Of Erlang, and of its programs in it. */
  readonly erlang: string;
  readonly programs: string;
  /** RabbitMQ's own modules. */
  readonly modules: string;
  /** Such as "3.10.8". */
  readonly version: string;
}

/** Debian's packages unpacked into `cache`; undefined where they cannot be had. */
export function findRabbit(cache: string): RabbitBinary | undefined {
  const root = join(cache, "rabbitmq");
  if (unpackDebian(PACKAGES, root, "usr/lib/erlang/bin/erl") === undefined) return undefined;
  const erlang = join(root, "usr/lib/erlang");
  const folder = join(root, "usr/lib/rabbitmq/lib");
  const [server = ""] = readdirSync(folder);
  const runtime = readdirSync(erlang).find((name) => name.startsWith("erts-"))!;
  return { erlang, programs: join(erlang, runtime, "bin"), modules: join(folder, server, "plugins"), version: server.replace("rabbitmq_server-", "") };
}

/** With the queues that the driver publishes to. Every port is on 127.0.0.1 and below those that the system hands out. */
export async function startRabbit(binary: RabbitBinary, directory: string): Promise<PeerServers> {
  const base = await freePorts(2 * SERVERS + 1);
  mkdirSync(directory, { recursive: true });
  const cookie = join(directory, ".erlang.cookie");
  writeFileSync(cookie, "bench");
  chmodSync(cookie, 0o400);
  const environment = {
    ...process.env,
    LC_ALL: "C.UTF-8", HOME: directory,
    ROOTDIR: binary.erlang, BINDIR: binary.programs, EMU: "beam", PROGNAME: "erl", ERL_LIBS: binary.modules, ERL_MAX_ETS_TABLES: "50000", ERL_MAX_PORTS: "65536",
    ERL_EPMD_PORT: String(base + 2 * SERVERS), ERL_EPMD_ADDRESS: "127.0.0.1",
  };
  const children: ChildProcess[] = [];
  const start = (program: string, words: readonly string[], more: Readonly<Record<string, string>> = {}): ChildProcess => {
    const child = spawn(join(binary.programs, program), words, { cwd: directory, stdio: "ignore", env: { ...environment, ...more } });
    children.push(child);
    return child;
  };
  const stop = async (): Promise<void> => {
    await killed(children);
    rmSync(directory, { recursive: true, force: true });
  };
  try {
    start("epmd", []);
    const at = Array.from({ length: SERVERS }, (_, place) => `127.0.0.1:${base + place}`);
    const pids: number[] = [];
    for (const [place, address] of at.entries()) {
      const own = join(directory, nodeName(place));
      mkdirSync(own);
      writeFileSync(join(own, "rabbitmq.conf"), configuration(address));
      writeFileSync(join(own, "plugins"), "[].\n");
      const child = start("erlexec", [...DEFAULTS.split(" "), "-kernel", "inet_dist_use_interface", "{127,0,0,1}"], {
        RABBITMQ_NODENAME: nodeName(place), RABBITMQ_DIST_PORT: String(base + SERVERS + place), RABBITMQ_CONFIG_FILE: join(own, "rabbitmq.conf"), RABBITMQ_LOG_BASE: own,
        RABBITMQ_MNESIA_BASE: join(own, "data"), RABBITMQ_GENERATED_CONFIG_DIR: join(own, "generated"), RABBITMQ_ENABLED_PLUGINS_FILE: join(own, "plugins"), RABBITMQ_PLUGINS_DIR: binary.modules,
      });
      pids.push(child.pid!);
      await answers(address, child, join(own, `${nodeName(place)}.log`)); // one after the other: two that join at once may meet
    }
    await declareQueues(at);
    return { at: at.join(","), pids, stop };
  } catch (error) {
    await stop();
    throw error;
  }
}

function nodeName(place: number): string {
  return `r${place}@localhost`;
}

/** The first node waits for nobody, the others join it; everything else is as it comes. */
function configuration(address: string): string {
  return [`listeners.tcp.1 = ${address}`, "cluster_formation.peer_discovery_backend = classic_config", `cluster_formation.classic_config.nodes.1 = ${nodeName(0)}`, ""].join("\n");
}

async function answers(address: string, child: ChildProcess, log: string): Promise<void> {
  const deadline = performance.now() + START_MS;
  for (;;) {
    try {
      await (await connectRabbit(address)).close();
      return;
    } catch (error) {
      const hasEnded = child.exitCode !== null || child.signalCode !== null;
      if (hasEnded || performance.now() > deadline) throw new Error(`RabbitMQ at ${address} did not start (${String(error)}): ${existsSync(log) ? readFileSync(log, "utf8").slice(-2000) : "it wrote no log"}`);
      await sleep(LOOK_MS);
    }
  }
}

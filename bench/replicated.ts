// Three nodes and the generator on this machine, every message on all three disks before it is answered; beside it, in turns, NATS JetStream and RabbitMQ with three copies.

import { rmSync } from "node:fs";
import { loadavg } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

import { note, print } from "../src/cli/output.ts";
import { median, spread, thousands } from "./figures.ts";
import { runLoad } from "./load/launch.ts";
import type { LoadPlan, LoadResult } from "./load/plan.ts";
import { cpuSeconds } from "./machine.ts";
import { findNats, startNats } from "./peers/nats-servers.ts";
import { QUEUES } from "./peers/rabbitmq.ts";
import { findRabbit, startRabbit } from "./peers/rabbitmq-servers.ts";
import { startCluster } from "./processes.ts";

const NODES = 3;
const CONNECTIONS = 100;
const PAYLOAD_BYTES = 128;
/** Until the compiler has done with most of what the nodes run. */
const WARM_UP_SECONDS = 10;
const IN_FLIGHT = [64, 1] as const;
/** Idle nodes are watched for so long, after they have had as long to come to rest; in milliseconds. */
const IDLE_MS = 5000;

interface Settings {
  readonly pairs: number;
  readonly seconds: number;
  /** Where data goes. */
  readonly directory: string;
  /** Where programs are unpacked. */
  readonly cache: string;
  /** Path of a nats-server; undefined for the one on PATH, or Debian's. */
  readonly nats: string | undefined;
}

/** A run, and the processor time of each server from its start to the last answer, in microseconds a message: start and warm-up are part of it. */
interface Run extends LoadResult {
  readonly cpu: readonly number[];
  readonly load: number;
}

interface Servers {
  readonly at: string;
  /** "" where streams are not looked for over HTTP. */
  readonly httpAt: string;
  readonly pids: readonly number[];
  stop(): Promise<void>;
}

interface Contender {
  readonly name: string;
  readonly peer: LoadPlan["peer"];
  start(): Promise<Servers>;
}

export async function measureReplicated(settings: Settings): Promise<void> {
  const bellhop: Contender = { name: "Bellhop", peer: "bellhop", start: () => startBellhop(settings) };
  const contenders = [...natsContenders(settings), ...rabbitContenders(settings), bellhop];
  print(`Three nodes, ${PAYLOAD_BYTES} B, ${CONNECTIONS} connections spread over them, ${settings.seconds} s after ${WARM_UP_SECONDS} s of warm-up, closed loop;`);
  print(`median of ${settings.pairs} runs in turns (least–greatest); latency in ms; processor time of a message in µs, of all three servers and of the generator.\n`);
  print("| in flight | | messages/s | p50 | p99 | servers | generator | median ratio of the pairs | load |\n|---|---|---|---|---|---|---|---|---|");
  for (const inFlight of IN_FLIGHT) await compare(settings, inFlight, contenders);
  print("\nEvery answered message was found: in Bellhop in the stream as each of the three nodes holds it, and in the last run of a row each was read back from each node and compared.\n");
  await idle(settings);
}

function natsContenders({ nats: given, cache, directory }: Settings): readonly Contender[] {
  const nats = findNats(given, cache);
  if (nats === undefined) {
    print("NATS JetStream: no nats-server was given (--nats PATH), none is on PATH, and Debian's cannot be had: the comparison was not made.");
    return [];
  }
  const contender = (name: string, sync: string | undefined): Contender => ({
    name, peer: "nats", start: async () => ({ ...(await startNats(nats.path, join(directory, "NATS"), sync)), httpAt: "" }),
  });
  print(`NATS ${nats.version}: JetStream on files, one stream of three copies, with its default sync_interval (2 minutes: it answers before fsync).`);
  if (nats.hasSyncInterval) {
    print("The same with sync_interval: always.");
    return [contender("NATS", undefined), contender("NATS, sync always", "always")];
  }
  print(`sync_interval: always needs nats-server 2.10 or newer: the comparison with it was not made. Get one, and run this again with --nats PATH.`);
  return [contender("NATS", undefined)];
}

function rabbitContenders({ cache, directory }: Settings): readonly Contender[] {
  const rabbit = findRabbit(cache);
  if (rabbit === undefined) {
    print("RabbitMQ: Debian's packages cannot be had here: the comparison was not made.");
    return [];
  }
  print(`RabbitMQ ${rabbit.version}: ${QUEUES} quorum queues of three copies, their leaders spread over the nodes, publisher confirms, its defaults (it answers after fsync on two of three).`);
  return [{ name: "RabbitMQ", peer: "rabbitmq", start: async () => ({ ...(await startRabbit(rabbit, join(directory, "RabbitMQ"))), httpAt: "" }) }];
}

async function compare(settings: Settings, inFlight: number, contenders: readonly Contender[]): Promise<void> {
  const runs = new Map<Contender, Run[]>(contenders.map((contender) => [contender, []]));
  for (let pair = 1; pair <= settings.pairs; pair += 1) {
    for (const [contender, done] of runs) {
      done.push(await run(settings, contender, inFlight, pair === settings.pairs));
      note(`${inFlight} in flight, pair ${pair} of ${settings.pairs}: ${contender.name} ${thousands(done.at(-1)!.perSecond)}`);
    }
  }
  const bellhop = runs.get(contenders.at(-1)!)!;
  for (const [{ name }, done] of runs) {
    const ratio = done === bellhop ? "" : `${median(bellhop.map(({ perSecond }, pair) => perSecond / done[pair]!.perSecond)).toFixed(2)} × it`;
    const cells = [
      inFlight, name, spread(done), ms(done, ({ p50 }) => p50), ms(done, ({ p99 }) => p99),
      median(done.map(({ cpu }) => cpu.reduce((sum, one) => sum + one, 0))).toFixed(1),
      median(done.map(({ generatorCpu, perSecond }) => (generatorCpu * 1e6) / perSecond)).toFixed(1),
      ratio, median(done.map(({ load }) => load)).toFixed(1),
    ];
    print(`| ${cells.join(" | ")} |`);
  }
}

async function run(settings: Settings, { peer, start }: Contender, inFlight: number, readBack: boolean): Promise<Run> {
  const servers = await start();
  try {
    const plan = { run: "bench", connections: CONNECTIONS, inFlight, payloadBytes: PAYLOAD_BYTES, rate: 0, warmUpSeconds: WARM_UP_SECONDS, seconds: settings.seconds };
    let cpu: readonly number[] = [];
    const answered = (): void => void (cpu = servers.pids.map(cpuSeconds));
    const before = servers.pids.map(cpuSeconds);
    const result = await runLoad({ ...plan, peer, at: servers.at, httpAt: servers.httpAt, readBack: readBack && peer === "bellhop" }, { answered });
    return { ...result, cpu: cpu.map((seconds, place) => ((seconds - before[place]!) * 1e6) / result.verified!.answered), load: loadavg()[0]! };
  } finally {
    await servers.stop();
  }
}

async function startBellhop(settings: Settings): Promise<Servers> {
  const { nodes, stop } = await startBellhops(settings);
  const of = (place: "device" | "http"): string => nodes.map((node) => node[place]).join(",");
  return { at: of("device"), httpAt: of("http"), pids: nodes.map(({ pid }) => pid), stop };
}

async function startBellhops({ directory }: Settings): ReturnType<typeof startCluster> {
  const data = join(directory, "Bellhop");
  rmSync(data, { recursive: true, force: true });
  return startCluster(data, NODES);
}

/** What a cluster costs in which nothing happens. */
async function idle(settings: Settings): Promise<void> {
  const { nodes, stop } = await startBellhops(settings);
  try {
    await sleep(IDLE_MS);
    const before = nodes.map(({ pid }) => cpuSeconds(pid));
    const since = performance.now();
    await sleep(IDLE_MS);
    const shares = nodes.map(({ pid }, place) => (100_000 * (cpuSeconds(pid) - before[place]!)) / (performance.now() - since));
    print(`Idle: the three nodes take ${shares.map((share) => share.toFixed(1)).join(" %, ")} % of a processor; load ${loadavg()[0]!.toFixed(1)}.\n`);
  } finally {
    await stop();
  }
}

function ms(runs: readonly Run[], of: (latency: LoadResult["latency"]) => number): string {
  return median(runs.map(({ latency }) => of(latency))).toFixed(1);
}

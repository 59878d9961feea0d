// npm run bench: Bellhop beside Redis Streams and beside the floor of sockets, on this machine, as tables for bench/README.md.
// Every run has a fresh directory on the same file system; every answered message is looked for in its stream afterwards.

import { rmSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";

import { packageFolder } from "../src/observe/version.ts";
import { print, note } from "../src/cli/output.ts";
import { median, spread, thousands } from "./figures.ts";
import { measureIdle } from "./idle.ts";
import { measureKnown } from "./known/measure.ts";
import { runBatchLoad, type BatchResult } from "./load/batch.ts";
import { runHttpLoad, type HttpResult } from "./load/http.ts";
import { runLoad } from "./load/launch.ts";
import { runSseLoad } from "./load/sse.ts";
import type { LoadPlan, LoadResult } from "./load/plan.ts";
import { cpuSeconds, Machine } from "./machine.ts";
import { measureDevicesOverload, type OverloadPair } from "./overload-devices.ts";
import { measureHttpOverload } from "./overload-http.ts";
import { findRedis, startRedis } from "./peers/redis-server.ts";
import { measureReplicated } from "./replicated.ts";
import { endChildrenWithThis, freePort, startBareHttp, startBellhop, startFloor, type Started } from "./processes.ts";

const CACHE = join(packageFolder(), ".cache");
const DATA = join(CACHE, "bench");
const CONNECTIONS = 100;
const SHAPES = [
  { payloadBytes: 128, inFlight: 64 },
  { payloadBytes: 128, inFlight: 1 },
  { payloadBytes: 1024, inFlight: 64 },
  { payloadBytes: 1024, inFlight: 1 },
] as const;
type Shape = (typeof SHAPES)[number];
const WARM_UP_SECONDS = 2;
const OPEN_LOOP_RATE = 10_000;
const FOLLOWERS = 1000;
const EVENTS_PER_SECOND = 20_000;

const PARTS = { pairs: comparePairs, open: openLoop, http: overHttp, sse: followers, known: knownDevices, idle: idleConnections, overload: threefold, replicated };
type Part = keyof typeof PARTS;

const { values } = parseArgs({
  options: {
    pairs: { type: "string", default: "5" },
    seconds: { type: "string", default: "5" },
    only: { type: "string", default: Object.keys(PARTS).join(",") },
    nats: { type: "string" },
  },
});
const pairs = Number(values.pairs);
const seconds = Number(values.seconds);
const parts = values.only.split(",");
for (const part of parts) if (!Object.hasOwn(PARTS, part)) throw new Error(`--only takes ${Object.keys(PARTS).join(", ")}; "${part}" is none of them.`);
const redisBinary = parts.some((part) => part === "pairs" || part === "open") ? findRedis(CACHE) : undefined;
endChildrenWithThis();
rmSync(DATA, { recursive: true, force: true }); // of a run that was ended
const machine = new Machine();
print(machine.described());
print("Bellhop: its defaults, every message on disk before it is answered.\n");
try {
  for (const part of parts) await PARTS[part as Part]();
} catch (error) {
  note(`error: ${error instanceof Error ? error.message : String(error)}`);
  process.exitCode = 1;
}
print(machine.noise());
rmSync(DATA, { recursive: true, force: true });

type Server = "Bellhop" | "Redis" | "floor" | "bare HTTP";

async function withServer<Answer>(name: Server, use: (server: Started) => Promise<Answer>): Promise<Answer> {
  const server = await startServer(name);
  try {
    return await use(server);
  } finally {
    await server.stop();
    rmSync(join(DATA, name), { recursive: true, force: true });
  }
}

async function startServer(name: Server): Promise<Started> {
  if (name === "floor") return startFloor();
  if (name === "bare HTTP") return startBareHttp();
  if (name === "Bellhop") return startBellhop(join(DATA, name));
  return { ...(await startRedis(redisBinary!, join(DATA, name), await freePort())), httpAt: "" };
}

function load(name: Server, shape: Pick<LoadPlan, "payloadBytes" | "inFlight">, more: { readonly rate?: number; readonly readBack?: boolean } = {}): Promise<LoadResult> {
  return withServer(name, (server) =>
    runLoad({
      peer: name === "Redis" ? "redis" : "bellhop",
      at: server.at,
      httpAt: server.httpAt,
      run: "bench",
      connections: CONNECTIONS,
      ...shape,
      rate: more.rate ?? 0,
      warmUpSeconds: WARM_UP_SECONDS,
      seconds,
      readBack: more.readBack ?? false,
    }),
  );
}

/** Pairs of runs, Redis and then Bellhop, so that a slow minute of the machine meets both. The last run of Bellhop reads every message back. */
async function comparePairs(): Promise<void> {
  if (redisBinary === undefined) print("Redis: not found on PATH and not to be had from Debian's packages here: the comparison was not made.\n");
  else print(`Redis ${await redisVersion()}: XADD, appendonly yes, appendfsync always, no snapshots, no rewrite of its file.\n`);
  print(`${CONNECTIONS} connections, ${seconds} s after ${WARM_UP_SECONDS} s of warm-up, closed loop; median of ${pairs} runs (least–greatest); p50 in ms.\n`);
  print("| payload × in flight | Bellhop, messages/s | p50 | Redis, messages/s | p50 | median ratio of the pairs | floor of sockets, messages/s |");
  print("|---|---|---|---|---|---|---|");
  for (const shape of SHAPES) {
    const bellhop: LoadResult[] = [];
    const redis: LoadResult[] = [];
    for (let pair = 1; pair <= pairs; pair += 1) {
      if (redisBinary !== undefined) redis.push(await load("Redis", shape));
      bellhop.push(await load("Bellhop", shape, { readBack: pair === pairs }));
      note(`${named(shape)}, pair ${pair} of ${pairs}: Redis ${rate(redis.at(-1))}, Bellhop ${rate(bellhop.at(-1))}`);
    }
    const floor = await load("floor", shape);
    const ratios = redis.map((one, pair) => bellhop[pair]!.perSecond / one.perSecond);
    print(`| ${named(shape)} | ${spread(bellhop)} | ${p50(bellhop)} | ${spread(redis)} | ${p50(redis)} | ${ratios.length === 0 ? "–" : median(ratios).toFixed(2)} | ${rate(floor)} |`);
  }
  print("\nEvery answered message was found in its stream; in the last run of each row each was read back and compared.\n");
}

async function redisVersion(): Promise<string> {
  const server = await startRedis(redisBinary!, join(DATA, "Redis"), await freePort());
  await server.stop();
  return server.version;
}

async function openLoop(): Promise<void> {
  print(`Open loop, ${OPEN_LOOP_RATE} messages/s over ${CONNECTIONS} connections, 128 B; latency from the time a message was due, in ms.\n`);
  print("| | p50 | p90 | p99 | p99.9 | max |\n|---|---|---|---|---|---|");
  const names: readonly Server[] = redisBinary === undefined ? ["Bellhop", "floor"] : ["Bellhop", "Redis", "floor"];
  for (const name of names) {
    const { latency } = await load(name, { payloadBytes: 128, inFlight: 64 }, { rate: OPEN_LOOP_RATE });
    print(`| ${name} | ${[latency.p50, latency.p90, latency.p99, latency.p999, latency.max].map((ms) => ms.toFixed(1)).join(" | ")} |`);
  }
  print("");
}

/** Pairs of runs: the framework alone, then Bellhop; and batches in the same run. */
async function overHttp(): Promise<void> {
  const publish = (name: Server): Promise<Costed<HttpResult>> =>
    withServer(name, async ({ httpAt: at, pid }) => {
      const plan = { at, connections: CONNECTIONS, payloadBytes: 128, devices: 1000, seconds, stores: name === "Bellhop" };
      await runHttpLoad({ ...plan, seconds: WARM_UP_SECONDS });
      const before = cpuSeconds(pid);
      let after = before;
      const result = await runHttpLoad(plan, { answered: () => void (after = cpuSeconds(pid)) });
      return { ...result, cpu: ((after - before) * 1e6) / result.answered };
    });
  const publishMany = (): Promise<Costed<BatchResult>> =>
    withServer("Bellhop", async ({ httpAt: at, pid }) => {
      const plan = { at, connections: 4, lines: 500, payloadBytes: 128, devices: 1000, seconds };
      await runBatchLoad({ ...plan, seconds: WARM_UP_SECONDS });
      const before = cpuSeconds(pid);
      const result = await runBatchLoad(plan);
      return { ...result, cpu: ((cpuSeconds(pid) - before) * 1e6) / result.stored };
    });
  const bare: Costed<HttpResult>[] = [];
  const bellhop: Costed<HttpResult>[] = [];
  const batches: Costed<BatchResult>[] = [];
  for (let pair = 1; pair <= pairs; pair += 1) {
    bare.push(await publish("bare HTTP"));
    bellhop.push(await publish("Bellhop"));
    batches.push(await publishMany());
    note(`HTTP, pair ${pair} of ${pairs}: bare ${thousands(bare.at(-1)!.perSecond)}, Bellhop ${thousands(bellhop.at(-1)!.perSecond)}, in batches ${thousands(batches.at(-1)!.perSecond)}`);
  }
  const rates = (over: readonly { readonly perSecond: number }[], under: readonly HttpResult[]): string => median(over.map(({ perSecond }, pair) => perSecond / under[pair]!.perSecond)).toFixed(2);
  const costs = (runs: readonly Costed<object>[]): string => median(runs.map(({ cpu }) => cpu)).toFixed(0);
  const savings = (over: readonly Costed<object>[], under: readonly Costed<object>[]): string => median(over.map(({ cpu }, pair) => under[pair]!.cpu / cpu)).toFixed(2);
  print(`HTTP: POST of 128 B of JSON with an idempotency key each, ${CONNECTIONS} connections, 1,000 devices, ${seconds} s after ${WARM_UP_SECONDS} s of warm-up; median of ${pairs} pairs (least–greatest).`);
  print("Processor time of the server for a message in µs; ratios are medians of the pairs'.\n");
  print("| | messages/s | p50, ms | p99, ms | ratio | processor time | ratio by it |\n|---|---|---|---|---|---|---|");
  print(`| one route of the framework that stores nothing | ${spread(bare)} | ${latencies(bare)} | | ${costs(bare)} | |`);
  print(`| Bellhop, single publishes | ${spread(bellhop)} | ${latencies(bellhop)} | ${rates(bellhop, bare)} of the framework | ${costs(bellhop)} | ${savings(bellhop, bare)} |`);
  print(`| Bellhop, batches of 500 over 4 connections | ${spread(batches)} | | | ${rates(batches, bellhop)} of single publishes | ${costs(batches)} | ${savings(batches, bellhop)} |\n`);
  const refused = batches.reduce((sum, batch) => sum + batch.refused, 0);
  if (refused > 0) print(`${thousands(refused)} lines of batches were refused for now and stored when they were sent again.\n`);
}

/** With the server's processor time, microseconds a message. */
type Costed<Result> = Result & { readonly cpu: number };

function latencies(results: readonly HttpResult[]): string {
  return [median(results.map(({ latency }) => latency.p50)), median(results.map(({ latency }) => latency.p99))].join(" | ");
}

async function followers(): Promise<void> {
  print(`Server-sent events: ${FOLLOWERS} followers, ${EVENTS_PER_SECOND} events/s in all for ${seconds} s, published in batches; latency from the time that an entry was due, in ms.\n`);
  print("| streams | events due | seen | p50 | p99 | max |\n|---|---|---|---|---|---|");
  for (const devices of [FOLLOWERS, 1]) {
    const result = await withServer("Bellhop", ({ httpAt: at }) => runSseLoad({ at, followers: FOLLOWERS, devices, eventsPerSecond: EVENTS_PER_SECOND, seconds }));
    print(`| ${devices} | ${result.due} | ${result.seen} | ${[result.latency.p50, result.latency.p99, result.latency.max].map((ms) => ms.toFixed(1)).join(" | ")} |`);
  }
  print("");
}

async function threefold(): Promise<void> {
  const http = await withServer("Bellhop", ({ httpAt }) => measureHttpOverload(httpAt));
  print(`Overload over HTTP: three times the peak of ${thousands(http.peak)} publishes/s: ${thousands(http.goodput)} are stored (${((100 * http.goodput) / http.peak).toFixed(0)} % of the peak),`);
  print(`${thousands(http.refused)} refused and ${thousands(http.failed)} not answered a second, p99 ${http.p99} ms; right afterwards, at 30 % of it: ${http.afterRefused} refused, p99 ${http.afterP99} ms.\n`);

  const devices = await withServer("Bellhop", (server) => measureDevicesOverload(server, pairs));
  const of = (value: (pair: OverloadPair) => number): number => median(devices.pairs.map(value));
  print(`Overload over devices: three times the peak of a closed loop right before it, ${pairs} pairs, medians. ${thousands(of(({ peak }) => peak))} messages/s at the peak, ${thousands(of(({ goodput }) => goodput))} answered under overload:`);
  print(`${of(({ goodput, peak }) => (100 * goodput) / peak).toFixed(0)} % of the peak; ${of(({ peakCpu }) => peakCpu).toFixed(1)} and ${of(({ cpu }) => cpu).toFixed(1)} µs of the broker's processor time a message;`);
  print(`p99 ${of(({ p99 }) => p99).toFixed(0)} ms from the write to the answer; ${thousands(of(({ heldBack }) => heldBack))} messages waited in the devices at its end.`);
  const refused = devices.pairs.find((pair) => pair.refused > 0);
  print(refused === undefined ? "No device was refused." : `Devices refused: ${devices.pairs.map((pair) => pair.refused).join(", ")} (${refused.why})`);
  print(`Other devices at 30 % of the peak, p99 of a second from when a message was due: ${devices.gentleBefore.toFixed(1)} ms before;`);
  print(`after the last overload ${devices.gentleAfter.map((ms) => (ms === Infinity ? "no answers" : ms.toFixed(1))).join(", ")} ms:`);
  print(`${devices.backAfter === undefined ? "not as before within that time" : `as before (at most twice that) after ${devices.backAfter} s`}. All ${thousands(devices.verified)} messages that were answered were found.\n`);
}

async function replicated(): Promise<void> {
  await measureReplicated({ pairs, seconds, directory: join(DATA, "replicated"), cache: CACHE, nats: values.nats });
}

async function knownDevices(): Promise<void> {
  print(await measureKnown(join(DATA, "known")));
}

async function idleConnections(): Promise<void> {
  print(await withServer("Bellhop", ({ at, pid }) => measureIdle(at, pid)));
}

function named(shape: Shape): string {
  return `${shape.payloadBytes} B × ${shape.inFlight}`;
}

function rate(result: LoadResult | undefined): string {
  return result === undefined ? "–" : thousands(result.perSecond);
}

function p50(results: readonly LoadResult[]): string {
  return results.length === 0 ? "–" : median(results.map((result) => result.latency.p50)).toFixed(1);
}

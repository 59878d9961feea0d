// bellhop bench: a load generator in a process of its own, against a broker that runs already.

import { Command } from "commander";

import { SETTINGS } from "../config.ts";
import { runLoad } from "../../bench/load/launch.ts";
import type { LoadResult } from "../../bench/load/plan.ts";
import { call } from "./call.ts";
import { CliError } from "./exit.ts";
import { withAt, withExamples, whole, type AtOption } from "./options.ts";
import { facts, printResult } from "./output.ts";

interface DeviceOptions extends AtOption {
  readonly deviceAt: string;
  readonly connections: number;
  readonly inFlight: number;
  readonly bytes: number;
  readonly rate: number;
  readonly warmUp: number;
  readonly seconds: number;
  readonly readBack?: true;
}

interface HttpOptions extends AtOption {
  readonly connections: number;
  readonly bytes: number;
  readonly devices: number;
  readonly seconds: number;
}

export function benchCommand(): Command {
  const command = new Command("bench").description("measure a running broker (`npm run bench` measures it beside its peers)");

  const device = withAt(command.command("device"))
    .description("devices over TCP: publish, wait for the answers, then count every message in its stream")
    .option("--device-at <host:port>", "where devices connect", process.env["BELLHOP_DEVICE"] ?? SETTINGS.device.default)
    .option("--connections <n>", "devices, one connection each", whole(1, 20_000), 100)
    .option("--in-flight <n>", "most messages unanswered on a connection", whole(1, 65_535), 64)
    .option("--bytes <n>", "size of a payload", whole(4, 60_000), 128)
    .option("--rate <n>", "messages a second in all, sent on time whatever is answered; 0: one for each answer", whole(0), 0)
    .option("--warm-up <seconds>", "before measuring", whole(0, 3600), 2)
    .option("--seconds <seconds>", "measured", whole(1, 86_400), 10)
    .option("--read-back", "afterwards read every stream and compare message by message");
  withExamples(device, ["bellhop bench device", "bellhop bench device --connections 100 --in-flight 1", "bellhop bench device --rate 10000 --read-back -o json"]);
  device.action(benchDevice);

  const http = withAt(command.command("http"))
    .description("backends over HTTP: publishes with a key each")
    .option("--connections <n>", "connections at once", whole(1, 10_000), 100)
    .option("--bytes <n>", "size of a payload", whole(4, 60_000), 128)
    .option("--devices <n>", "devices that are published to, in turn", whole(1, 100_000), 1000)
    .option("--seconds <seconds>", "measured", whole(1, 86_400), 10);
  withExamples(http, ["bellhop bench http", "bellhop bench http --connections 10 --seconds 30 -o json"]);
  http.action(benchHttp);
  return command;
}

async function benchDevice(options: DeviceOptions): Promise<void> {
  await call(options.at, { path: "/v1/status" }); // No broker: said in the usual words.
  const { connections, inFlight, bytes, rate, seconds } = options;
  const result = await runLoad({
    peer: "bellhop",
    at: options.deviceAt,
    httpAt: options.at,
    run: `bench-${Date.now().toString(36)}`,
    connections,
    inFlight,
    payloadBytes: bytes,
    rate,
    warmUpSeconds: options.warmUp,
    seconds,
    readBack: options.readBack === true,
  }).catch(benchFailed);
  printResult(options.output, result, () => inWords(result));
}

function benchFailed(error: unknown): never {
  throw new CliError("failed", "bench_failed", error instanceof Error ? error.message : String(error), "", "bellhop status");
}

function inWords({ perSecond, latency, generatorCpu, verified }: LoadResult): string {
  const ms = (value: number): string => `${value.toFixed(value < 10 ? 2 : 1)} ms`;
  return facts([
    ["rate", `${Math.round(perSecond).toLocaleString("en")} messages/s, each answered after it was on disk`],
    ["latency", `p50 ${ms(latency.p50)}, p90 ${ms(latency.p90)}, p99 ${ms(latency.p99)}, p99.9 ${ms(latency.p999)}, max ${ms(latency.max)}`],
    ["generator", `${Math.round(generatorCpu * 100)} % of a core`],
    ["verified", verified === undefined ? "no" : `${verified.found} of ${verified.answered} answered messages are stored${verified.readBack ? ", each read back and compared" : ""}`],
  ]);
}

function notInstalled(error: NodeJS.ErrnoException): never {
  if (error.code !== "ERR_MODULE_NOT_FOUND") throw error;
  throw new CliError("failed", "not_installed", "`bellhop bench http` is not part of an installed broker.", error.message, "run it in a clone of Bellhop: npm ci --ignore-scripts && npm run build && npx bellhop bench http --at HOST:PORT");
}

async function benchHttp(options: HttpOptions): Promise<void> {
  await call(options.at, { path: "/v1/status" });
  const { runHttpLoad } = await import("../../bench/load/http.ts").catch(notInstalled); // autocannon is no part of an installed broker
  const result = await runHttpLoad({ at: options.at, connections: options.connections, payloadBytes: options.bytes, devices: options.devices, seconds: options.seconds, stores: true }).catch(benchFailed);
  printResult(options.output, result, () =>
    facts([
      ["rate", `${Math.round(result.perSecond).toLocaleString("en")} publishes/s, each answered after it was on disk`],
      ["latency", `p50 ${result.latency.p50} ms, p99 ${result.latency.p99} ms, max ${result.latency.max} ms`],
      ["answers", `${result.answered} stored, ${result.refused} refused, ${result.failed} failed`],
      ["verified", `${result.found} messages in the streams`],
    ]),
  );
}

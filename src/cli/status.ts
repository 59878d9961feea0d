// bellhop status: is the node ready, what does it do, what waits where.

import { setTimeout as sleep } from "node:timers/promises";

import { Command } from "commander";

import { call, open } from "./call.ts";
import { CliError } from "./exit.ts";
import { withAt, withExamples, whole, type AtOption } from "./options.ts";
import type { NodeStatus } from "../node/api.ts";
import { facts, print, printJson, styled } from "./output.ts";

interface StatusOptions extends AtOption {
  readonly watch?: true;
  readonly exitWhenHealthy?: true;
  readonly timeout: number;
}

/** What GET /v1/status answers. */
type Status = NodeStatus & { readonly followers: number };

const WATCH_MS = 1_000;
const HEALTH_MS = 250;

export function statusCommand(): Command {
  const command = withAt(new Command("status"))
    .description("say whether the node is ready and what waits where; exit 7 when it is not ready")
    .option("--watch", "again each second, until Ctrl-C")
    .option("--exit-when-healthy", "wait until the node is ready; exit 7 when it is not in time")
    .option("--timeout <seconds>", "longest wait of --exit-when-healthy", whole(1, 86_400), 60);
  withExamples(command, ["bellhop status", "bellhop status --watch", "bellhop start & bellhop status --exit-when-healthy --timeout 10"]);
  return command.action(status);
}

async function status(options: StatusOptions): Promise<void> {
  if (options.exitWhenHealthy === true) return untilHealthy(options);
  if (options.watch === true) return watch(options);
  const now = await read(options.at);
  show(now, options);
  if (!now.ready) throw unhealthy(now.why);
}

async function read(at: string): Promise<Status> {
  return (await call(at, { path: "/v1/status" })).body as Status;
}

/** Asks in short steps: a broker that is just starting answers nothing at first. */
async function untilHealthy(options: StatusOptions): Promise<void> {
  const deadline = performance.now() + options.timeout * 1000;
  let why = [`no broker answers at ${options.at}`];
  while (performance.now() < deadline) {
    try {
      const response = await open(options.at, { path: "/v1/status" }, AbortSignal.timeout(2_000));
      const now = (await response.json()) as Status;
      if (response.ok && now.ready) return show(now, options);
      why = [...(now.why ?? [`the broker answered ${response.status}`])];
    } catch (error) {
      if (error instanceof CliError) throw error;
      why = [`no broker answers at ${options.at}`];
    }
    await sleep(HEALTH_MS);
  }
  throw unhealthy(why);
}

async function watch(options: StatusOptions): Promise<void> {
  while (true) {
    const now = await read(options.at);
    if (options.output === "text" && process.stdout.isTTY) process.stdout.write("\x1b[H\x1b[2J");
    show(now, options);
    await sleep(WATCH_MS);
  }
}

function unhealthy(why: readonly string[]): CliError {
  return new CliError("unhealthy", "not_ready", "The node is not ready.", why.join("\n"), "bellhop status --watch");
}

function show(now: Status, options: StatusOptions): void {
  if (options.output === "json") return printJson(now);
  // Watched into a pipe or a file: one line a second.
  if (options.watch === true && !process.stdout.isTTY) return print(line(now));
  const ready = now.ready ? styled(process.stdout, "green", "ready") : styled(process.stdout, "red", `not ready: ${now.why.join("; ")}`);
  print(
    facts([
      ["node", `${now.node} (start ${now.incarnation}), version ${now.version}, up ${duration(now.uptimeSeconds)}`],
      ["is", ready],
      ["buckets", `${now.buckets.open} of ${now.buckets.total} open, ${now.buckets.led} led here`],
      ["devices", `${now.devices.connected} connected, ${now.followers} streams followed`],
      ["waiting", waitingInWords(now)],
    ]),
  );
}

function line(now: Status): string {
  return `${now.node} ${now.ready ? "ready" : "not ready"}, ${now.devices.connected} devices, waiting: ${waitingInWords(now)}`;
}

function waitingInWords({ waiting }: Status): string {
  const some = Object.entries(waiting).filter(([, count]) => count > 0);
  return some.length === 0 ? "nothing" : some.map(([name, count]) => `${name} ${count}`).join(", ");
}

function duration(seconds: number): string {
  if (seconds < 120) return `${Math.floor(seconds)} s`;
  if (seconds < 7200) return `${Math.floor(seconds / 60)} min`;
  return seconds < 172_800 ? `${Math.floor(seconds / 3600)} h` : `${Math.floor(seconds / 86_400)} days`;
}

// bellhop status: is the node ready, what does it do, what waits where.

import { setTimeout as sleep } from "node:timers/promises";

import { Command } from "commander";

import { call, open, unreachable } from "./call.ts";
import { duration, ledInWords, unhealthy, waitingInWords, type Status } from "./health.ts";
import { withAt, withExamples, whole, type AtOption } from "./options.ts";
import { clusterInWords, lacks, readCluster, withProgress, type Cluster } from "./cluster-words.ts";
import { facts, print, printJson, styled } from "./output.ts";
import { watch } from "./watch.ts";

interface StatusOptions extends AtOption {
  readonly watch?: true;
  readonly exitWhenHealthy?: true;
  readonly timeout: number;
}

const HEALTH_MS = 250;

export function statusCommand(): Command {
  const command = withAt(new Command("status"))
    .description("say whether the node is ready, what waits where, and how the cluster is; exit 7 when the node is not ready")
    .option("--watch", "a live table until q or Ctrl-C; plain lines where the output is no terminal")
    .option("--exit-when-healthy", "wait until the node is ready and every bucket has its copies; exit 7 when it is not in time")
    .option("--timeout <seconds>", "longest wait of --exit-when-healthy", whole(1, 86_400), 60);
  withExamples(command, ["bellhop status", "bellhop status --watch", "bellhop status -o json | jq .waiting", "bellhop start & bellhop status --exit-when-healthy --timeout 10"]);
  return command.action(status);
}

async function status(options: StatusOptions): Promise<void> {
  if (options.watch === true) return watch(options);
  if (options.exitWhenHealthy === true) return untilHealthy(options);
  const now = (await call(options.at, { path: "/v1/status" })).body as Status;
  await show(now, await readCluster(options.at), options);
  if (!now.ready) throw unhealthy(now.why);
}

/** Asks in short steps: a broker that is just starting answers nothing at first. */
async function untilHealthy(options: StatusOptions): Promise<void> {
  const deadline = performance.now() + options.timeout * 1000;
  let why: readonly string[] = [`no broker answers at ${options.at}`];
  while (performance.now() < deadline) {
    try {
      const [now, cluster] = await Promise.all([look<Status>(options.at, "/v1/status"), look<Cluster>(options.at, "/v1/cluster")]);
      why = [...now.why, ...lacks(cluster)];
      if (now.ready && why.length === 0) return await show(now, cluster, options);
    } catch (error) {
      why = [error instanceof NotAnswered ? error.message : await whyUnreachable(options.at, error)];
    }
    await sleep(HEALTH_MS);
  }
  throw unhealthy(why);
}

/** @throws CliError for what no waiting mends */
async function whyUnreachable(at: string, error: unknown): Promise<string> {
  const failure = await unreachable(at, error);
  if (failure.exit !== "unreachable") throw failure;
  return `no broker answers at ${at}`;
}

class NotAnswered extends Error {}

async function look<T>(at: string, path: string): Promise<T> {
  const response = await open(at, { path }, AbortSignal.timeout(2_000));
  const body = (await response.json()) as T & { readonly why?: unknown };
  if (!response.ok && body.why === undefined) throw new NotAnswered(`the broker answered ${response.status}`);
  return body;
}

async function show(now: Status, cluster: Cluster, options: StatusOptions): Promise<void> {
  const isCluster = cluster.nodes.length > 1 || cluster.copies > 1;
  const whole = isCluster ? await withProgress(cluster) : cluster;
  if (options.output === "json") return printJson({ ...now, cluster: whole });
  const ready = now.ready ? styled(process.stdout, "green", "ready") : styled(process.stdout, "red", `not ready: ${now.why.join("; ")}`);
  print(
    facts([
      ["node", `${now.node} (start ${now.incarnation}), version ${now.version}, up ${duration(now.uptimeSeconds)}`],
      ["is", ready],
      ["buckets", ledInWords(now)],
      ["devices", `${now.devices.connected} connected, ${now.followers} streams followed`],
      ["waiting", waitingInWords(now)],
    ]),
  );
  if (isCluster) print(`${styled(process.stdout, "dim", "cluster")}\n${clusterInWords(whole)}`);
}

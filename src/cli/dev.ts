// bellhop dev: a whole cluster of real processes on this machine; this process serves their control log, so that nothing else is needed.

import { fork, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { Command, Option } from "commander";

import { hostAndPort, withPort } from "../base/address.ts";
import { SETTINGS } from "../config.ts";
import type { ControlLog } from "../control/port.ts";
import { CliError, EXIT } from "./exit.ts";
import { whole, withExamples } from "./options.ts";
import { note, styled, table } from "./output.ts";
import { start } from "./start.ts";
import { version } from "../observe/version.ts";

/** A node that ended is started again after this: time to see what the others do without it. In milliseconds. */
const AGAIN_MS = 3000;
const NODES_MAX = 9;
/** How its own processes are told from it. */
const AS_NODE = "--as-node <settings>";

interface DevOptions {
  readonly nodes: number;
  readonly data: string;
  readonly http: string;
  readonly device: string;
  readonly peer: string;
  readonly logLevel: string;
  readonly asNode?: string;
}

interface DevNode {
  readonly id: string;
  readonly http: string;
  readonly device: string;
  readonly words: readonly string[];
  child: ChildProcess | undefined;
}

export function devCommand(): Command {
  const command = new Command("dev")
    .description("run a whole cluster of real processes on this machine, to develop and to try things")
    .option("--nodes <count>", "nodes, 1 to 9", whole(1, NODES_MAX), 3)
    .option("--data <dir>", "directory of all their data", "./bellhop-data/dev")
    .option("--http <host:port>", "HTTP address of the first node; the others have the ports after it", SETTINGS.http.default)
    .option("--device <host:port>", "device address of the first node", SETTINGS.device.default)
    .option("--peer <host:port>", "address of the first node for the others", SETTINGS.peer.default)
    .option("--log-level <level>", "least severe lines that the nodes log", "warn");
  withExamples(command, ["bellhop dev", "bellhop dev --nodes 5 --data /tmp/five", "kill -9 PID        of a node, in another terminal: what happens?"]);
  command.addOption(new Option(AS_NODE).hideHelp());
  return command.action((options: DevOptions) => (options.asNode === undefined ? dev(options) : runNode(options.asNode)));
}

/** One of the processes that `dev` starts: a node whose control log is served by its parent. */
async function runNode(settings: string): Promise<void> {
  const { ServedControl } = await import("../control/served.ts");
  process.once("disconnect", () => process.kill(process.pid, "SIGTERM")); // the cluster ends with who started it
  await start(JSON.parse(settings) as Record<string, string>, new ServedControl());
}

async function dev(options: DevOptions): Promise<void> {
  const { EmbeddedControl } = await import("../control/embedded.ts");
  const { lockDirectory } = await import("../storage/lock.ts");
  mkdirSync(options.data, { recursive: true });
  const unlock = locked(() => lockDirectory(options.data), options.data);
  const control = await EmbeddedControl.open(options.data);
  const nodes = Array.from({ length: options.nodes }, (_, place) => nodeAt(place, options));
  let stopping = false;
  let isShown = false;

  const run = async (node: DevNode): Promise<void> => {
    while (!stopping) {
      const child = await launched(node, control);
      if (isShown) void isUp(node).then(() => note(`${node.id} is ready again: process ${child.pid}`));
      const [code, signal] = (await once(child, "exit")) as [number | null, string | null];
      node.child = undefined;
      if (stopping) return;
      note(`${node.id} ended with ${signal ?? `exit code ${code}`}; it is started again in ${AGAIN_MS / 1000} s`);
      await sleep(AGAIN_MS);
    }
  };
  const running = nodes.map(run);
  const stop = (signal: NodeJS.Signals): void => {
    const again = stopping;
    stopping = true;
    if (!again) note(`${signal}: draining the nodes; once more stops at once.`);
    for (const { child } of nodes) child?.kill(again ? "SIGKILL" : "SIGTERM");
  };
  process.on("SIGINT", stop).on("SIGTERM", stop);

  await Promise.all(nodes.map((node) => isUp(node)));
  if (!stopping) note(banner(nodes, options));
  isShown = true;
  process.send?.({ nodes: nodes.map(({ id, http, device, child }) => ({ id, http, device, pid: child?.pid })) }); // To a program that forked it: tests, benchmarks.
  await Promise.all(running);
  await control.close();
  unlock();
  process.exit(EXIT.ok.code);
}

function nodeAt(place: number, { nodes, data, http, device, peer, logLevel }: DevOptions): DevNode {
  const id = `n${place + 1}`;
  const [httpAt, deviceAt, peerAt] = [http, device, peer].map((address) => after(address, place)) as [string, string, string];
  const copies = nodes >= 3 ? 3 : 1;
  const settings = {
    node: id, zone: `zone-${place + 1}`, data: join(data, id), http: httpAt, device: deviceAt, peer: peerAt, logLevel,
    cluster: "dev", bootstrap: String(nodes), copies: String(copies), minCopies: String(Math.min(2, copies)),
  };
  return { id, http: httpAt, device: deviceAt, words: ["dev", "--as-node", JSON.stringify(settings)], child: undefined };
}

function after(address: string, places: number): string {
  return withPort(address, hostAndPort(address).port + places);
}

async function launched(node: DevNode, control: ControlLog): Promise<ChildProcess> {
  const { serveControl } = await import("../control/served.ts");
  // A process group of its own: Ctrl-C in the terminal is this process's to pass on.
  const child = fork(process.argv[1]!, node.words, { serialization: "advanced", detached: true, stdio: ["ignore", "ignore", "inherit", "ipc"] });
  node.child = child;
  serveControl(control, child);
  return child;
}

/** Resolves when the node has said that it is ready. */
async function isUp(node: DevNode): Promise<void> {
  while (node.child === undefined) await sleep(20);
  const { child } = node;
  await new Promise<void>((resolve) => {
    child.on("message", (message: { readonly http?: string }) => {
      if (message.http !== undefined) resolve();
    });
  });
}

function banner(nodes: readonly DevNode[], { data }: DevOptions): string {
  const rows = nodes.map(({ id, http, device, child }) => [`  ${id}`, `http://${http}`, device, String(child?.pid)]);
  const first = nodes[0]!;
  const last = nodes.at(-1)!;
  return [
    `${styled(process.stderr, "bold", `Bellhop ${version()}`)}: ${nodes.length} nodes are ready, data in ${data}`,
    table([["  node", "HTTP", "devices", "process"], ...rows]),
    `Try in another terminal:`,
    `  bellhop simulate lamp-1 --at ${nodes.map(({ device }) => device).join(",")}`,
    `  bellhop follow lamp-1 --at ${first.http}`,
    `  bellhop publish lamp-1 hello --at ${last.http}`,
    `  kill -9 ${first.child?.pid}        # the others take over; it comes back by itself`,
  ].join("\n");
}

function locked(lock: () => () => void, data: string): () => void {
  try {
    return lock();
  } catch (error) {
    throw new CliError("inUse", "locked", (error as Error).message, "", `stop that process, or choose another directory: bellhop dev --data DIR (${data} is taken)`);
  }
}

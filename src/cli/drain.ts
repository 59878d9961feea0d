// bellhop drain: moves a node's buckets to the others, so that its process can be stopped and nobody notices.

import { setTimeout as sleep } from "node:timers/promises";

import { Command } from "commander";

import { call } from "./call.ts";
import { readCluster } from "./cluster-words.ts";
import { CliError } from "./exit.ts";
import { whole, withAt, withExamples, type AtOption } from "./options.ts";
import { note, printResult } from "./output.ts";

interface DrainOptions extends AtOption {
  readonly wait?: true;
  readonly cancel?: true;
  readonly timeout: number;
}

const LOOK_MS = 500;
/** Between two lines of progress. */
const TELL_MS = 5_000;

export function drainCommand(): Command {
  const command = withAt(new Command("drain"))
    .description("move a node's buckets to the other nodes")
    .argument("<node>", "its id")
    .option("--wait", "until it holds no bucket any more; exit 5 when it still does after --timeout")
    .option("--timeout <seconds>", "longest wait of --wait", whole(1, 86_400), 3600)
    .option("--cancel", "let it take buckets again");
  return withExamples(command, ["bellhop drain n3 --wait", "bellhop drain n3 --cancel"]).action(drain);
}

async function drain(node: string, { at, output, wait, cancel, timeout }: DrainOptions): Promise<void> {
  const query = cancel === true ? "?cancel=true" : "";
  const { body } = await call(at, { method: "POST", path: `/v1/nodes/${encodeURIComponent(node)}/drain${query}` });
  if (cancel === true) return printResult(output, body, () => `${node} takes buckets again`);
  if (wait !== true) return printResult(output, body, () => `${node} is draining: bellhop status shows how far it is, bellhop drain ${node} --wait waits for the end`);
  await untilEmpty(at, node, timeout);
  printResult(output, { ...(body as object), copies: 0 }, () => `${node} holds no bucket any more: stop its process, then bellhop remove ${node}`);
}

async function untilEmpty(at: string, node: string, timeout: number): Promise<void> {
  const deadline = performance.now() + timeout * 1000;
  let toldAt = -Infinity;
  for (;;) {
    const { nodes } = await readCluster(at);
    const { copies = 0, state = "departed" } = nodes.find((one) => one.node === node) ?? {};
    if (copies === 0) return;
    if (state === "live") throw new CliError("refused", "not_draining", `${node} is not draining any more.`, "it was started again, or someone cancelled it", `bellhop drain ${node} --wait`);
    if (performance.now() > deadline) throw new CliError("later", "still_draining", `${node} still holds ${copies} buckets.`, "", "bellhop status");
    if (performance.now() - toldAt >= TELL_MS) {
      toldAt = performance.now();
      note(`${node} holds ${copies} buckets`);
    }
    await sleep(LOOK_MS);
  }
}

// bellhop remove: departs a node whose process has ended.

import { Command } from "commander";

import { call } from "./call.ts";
import { withAt, withExamples, type AtOption } from "./options.ts";
import { printResult } from "./output.ts";

export function removeCommand(): Command {
  const command = withAt(new Command("remove"))
    .description("depart a node whose process has ended; refused while it runs, and while buckets would lack copies without it")
    .argument("<node>", "its id")
    .action(remove);
  return withExamples(command, ["bellhop drain n3 --wait && systemctl stop bellhop   on n3's machine", "bellhop remove n3"]);
}

async function remove(node: string, { at, output }: AtOption): Promise<void> {
  await call(at, { method: "DELETE", path: `/v1/nodes/${encodeURIComponent(node)}` });
  printResult(output, { node, removed: true }, () => `${node} is departed; started again it would come back as a new one`);
}

// bellhop cluster set: the settings of the running cluster (B4).

import { Command } from "commander";

import { call } from "./call.ts";
import { CliError } from "./exit.ts";
import { withAt, withExamples, type AtOption } from "./options.ts";
import { printResult } from "./output.ts";

const NAMES: readonly string[] = ["copies", "minCopies"];

export function clusterCommand(): Command {
  const command = new Command("cluster").description("settings of the running cluster");
  const set = withAt(command.command("set"))
    .description("change how many copies each bucket has, and below how many it takes no writes")
    .argument("<name=value...>", "copies=1, 3 or 5; minCopies=1 to copies")
    .action(change);
  withExamples(set, ["bellhop cluster set copies=3", "bellhop cluster set copies=5 minCopies=2", "bellhop status --exit-when-healthy   waits until they are there"]);
  return command;
}

async function change(words: readonly string[], { at, output }: AtOption): Promise<void> {
  const body = JSON.stringify(Object.fromEntries(words.map(parse)));
  const { body: settings } = await call(at, { method: "PATCH", path: "/v1/cluster", body });
  const { copies, minCopies } = settings as { readonly copies: number; readonly minCopies: number };
  printResult(output, settings, () => `copies ${copies}, minCopies ${minCopies}`);
}

function parse(word: string): [string, number] {
  const [name = "", value = ""] = word.split("=");
  if (!NAMES.includes(name) || !/^\d$/.test(value)) throw new CliError("usage", "bad_usage", `${JSON.stringify(word)} is no setting of a cluster.`, `there are ${NAMES.join(" and ")}`, "bellhop cluster set copies=3 minCopies=2");
  return [name, Number(value)];
}

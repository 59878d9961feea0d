// bellhop inspect: what a data directory holds, read without changing it and without a running broker.

import { existsSync } from "node:fs";

import { Command } from "commander";

import { BellhopError } from "../base/errors.ts";
import { SETTINGS } from "../config.ts";
import { inspectControl } from "../control/inspect.ts";
import { CliError } from "./exit.ts";
import { withExamples, withOutput, whole, type OutputOption } from "./options.ts";
import { print, printJson, styled } from "./output.ts";

interface InspectOptions extends OutputOption {
  readonly data: string;
}

interface ControlOptions extends InspectOptions {
  readonly after: number;
}

export function inspectCommand(): Command {
  const command = new Command("inspect").description("look into a data directory; the broker need not run");
  const control = withData(command.command("control")).description("print the control log: every cluster command, in order").option("--after <position>", "begin after this position", whole(0), 0);
  withExamples(control, ["bellhop inspect control", "bellhop inspect control --data /var/lib/bellhop -o json"]).action((options: ControlOptions) => careful(options, () => showControl(options)));
  return command;
}

function withData(command: Command): Command {
  return withOutput(command).option("--data <dir>", "the data directory", process.env["BELLHOP_DATA"] ?? SETTINGS.data.default);
}

/** What cannot be read is damage, told by its place. */
async function careful(options: InspectOptions, show: () => Promise<void>): Promise<void> {
  if (!existsSync(options.data)) throw new CliError("notFound", "no_data", `There is no data directory ${options.data}.`, "", "name one with --data DIR");
  try {
    await show();
  } catch (error) {
    if (error instanceof BellhopError) throw new CliError("unhealthy", "damaged", "The data directory cannot be read.", error.detail || error.message);
    throw error;
  }
}

async function showControl(options: ControlOptions): Promise<void> {
  let last = options.after;
  for await (const entry of inspectControl(options.data, options.after)) {
    last = entry.position;
    if (options.output === "json") {
      printJson(entry);
      continue;
    }
    for (const { type, ...rest } of entry.commands) print(`${String(entry.position).padStart(6)}  ${styled(process.stdout, "bold", type.padEnd(10))}  ${JSON.stringify(rest)}`);
  }
  if (last === options.after && options.output === "text") print("The control log is empty.");
}

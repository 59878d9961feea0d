// The whole command line: its commands, its help, and how it ends.

import { Command, CommanderError } from "commander";

import { benchCommand } from "./bench.ts";
import { configCommand } from "./config.ts";
import { devCommand } from "./dev.ts";
import { EXIT } from "./exit.ts";
import { explainCommand } from "./explain.ts";
import { followCommand } from "./follow.ts";
import { inspectCommand } from "./inspect.ts";
import { version } from "../observe/version.ts";
import { endWithReader, reportFailure, table } from "./output.ts";
import { publishCommand } from "./publish.ts";
import { simulateCommand } from "./simulate.ts";
import { startCommand } from "./start.ts";
import { stateCommand } from "./state.ts";
import { statusCommand } from "./status.ts";

const COMMANDS = [startCommand, devCommand, simulateCommand, publishCommand, followCommand, stateCommand, explainCommand, statusCommand, inspectCommand, benchCommand, configCommand];

export function createProgram(): Command {
  const program = new Command("bellhop")
    .description("A message broker for devices: one stream per device, on disk before it is answered, once, in order.")
    .version(version(), "-V, --version")
    .showHelpAfterError("Run it with --help for its options and examples.")
    .enablePositionalOptions()
    .addHelpText("after", `\nExit codes:\n${exitTable()}\n\nStart here:\n  bellhop start\n  bellhop simulate lamp-1        in another terminal`);
  for (const command of COMMANDS) program.addCommand(inheriting(program, command()));
  return program;
}

/** Runs one command line; ends by setting the exit code of the process. */
export async function run(argv: readonly string[]): Promise<void> {
  endWithReader();
  const program = createProgram();
  exitByThrowing(program);
  try {
    await program.parseAsync(argv);
  } catch (error) {
    if (error instanceof CommanderError) process.exitCode = error.exitCode === 0 ? EXIT.ok.code : EXIT.usage.code;
    else reportFailure(error, wantsJson(argv) ? "json" : "text");
  }
}

/** Known before the command line is parsed, so that a failure of any command is told in the right form. */
function wantsJson(argv: readonly string[]): boolean {
  return argv.some((word, place) => word === "--output=json" || word === "-ojson" || ((word === "-o" || word === "--output") && argv[place + 1] === "json"));
}

/** Commands made on their own do not know the program's settings until they are given them. */
function inheriting(parent: Command, command: Command): Command {
  command.copyInheritedSettings(parent);
  for (const child of command.commands) inheriting(command, child);
  return command;
}

function exitByThrowing(command: Command): void {
  command.exitOverride();
  for (const child of command.commands) exitByThrowing(child);
}

function exitTable(): string {
  return table(Object.values(EXIT).map(({ code, meaning }) => [`  ${code}`, meaning]));
}

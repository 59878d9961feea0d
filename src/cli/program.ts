// The whole command line: its commands, its help, and how it ends.

import { Command, CommanderError } from "commander";

import { benchCommand } from "./bench.ts";
import { checkCommand } from "./check.ts";
import { clusterCommand } from "./cluster.ts";
import { completeCommand, completionCommand } from "./complete.ts";
import { configCommand } from "./config.ts";
import { devCommand } from "./dev.ts";
import { controlCommand } from "./control.ts";
import { deviceCommand } from "./device.ts";
import { drainCommand } from "./drain.ts";
import { CliError, EXIT } from "./exit.ts";
import { explainCommand } from "./explain.ts";
import { followCommand } from "./follow.ts";
import { inspectCommand } from "./inspect.ts";
import { version } from "../observe/version.ts";
import { endWithReader, reportFailure, table, writeFor } from "./output.ts";
import { keyCommand } from "./key.ts";
import { publishCommand } from "./publish.ts";
import { recoverCommand } from "./recover.ts";
import { removeCommand } from "./remove.ts";
import { simulateCommand } from "./simulate.ts";
import { startCommand } from "./start.ts";
import { stateCommand } from "./state.ts";
import { statusCommand } from "./status.ts";

const COMMANDS = [startCommand, devCommand, simulateCommand, publishCommand, followCommand, stateCommand, explainCommand, statusCommand, clusterCommand, drainCommand, removeCommand, recoverCommand, controlCommand, deviceCommand, keyCommand, inspectCommand, benchCommand, checkCommand, configCommand, completionCommand];

export function createProgram(): Command {
  const program = new Command("bellhop")
    .description("A message broker for devices: one stream per device, on disk before it is answered, once, in order.")
    .version(version(), "-V, --version")
    .configureOutput({ outputError: () => {} }) // told by `run`, like every other failure
    .enablePositionalOptions()
    .addHelpText("after", `\nExit codes:\n${exitTable()}\n\nStart here:\n  bellhop start\n  bellhop simulate lamp-1        in another terminal`);
  for (const command of COMMANDS) program.addCommand(inheriting(program, command()));
  program.addCommand(inheriting(program, completeCommand(createProgram)), { hidden: true });
  return program;
}

/** Runs one command line; ends by setting the exit code of the process. */
export async function run(argv: readonly string[]): Promise<void> {
  endWithReader();
  writeFor(wantsJson(argv) ? "json" : "text");
  const program = createProgram();
  exitByThrowing(program);
  try {
    await program.parseAsync(argv);
  } catch (error) {
    if (error instanceof CommanderError && HELP_SHOWN.has(error.code)) process.exitCode = error.exitCode === 0 ? EXIT.ok.code : EXIT.usage.code;
    else reportFailure(error instanceof CommanderError ? wrongUsage(error, program, argv) : error, wantsJson(argv) ? "json" : "text");
  }
}

const HELP_SHOWN: ReadonlySet<string> = new Set(["commander.help", "commander.helpDisplayed", "commander.version"]);

/** "error: unknown option '--wacth'\n(Did you mean --watch?)" as what, why and where to look. */
function wrongUsage({ message }: CommanderError, program: Command, argv: readonly string[]): CliError {
  const [what = "", hint = ""] = message.replace(/^error: /, "").split("\n");
  const path = [program.name()];
  let command = program;
  for (const word of argv.slice(2)) {
    const child = command.commands.find((one) => one.name() === word);
    if (child === undefined) break;
    path.push(word);
    command = child;
  }
  return new CliError("usage", "bad_usage", `${what.charAt(0).toUpperCase()}${what.slice(1)}${/[.?!]$/.test(what) ? "" : "."}`, hint.replace(/^\((.*)\)$/, "$1"), `${path.join(" ")} --help`);
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

// Shell completion: what may stand at the cursor, found in the very commands and options that are run; and the few lines that ask for it in each shell.

import { Argument, Command, Option } from "commander";

import { SETTINGS } from "../config.ts";
import { open } from "./call.ts";
import { withExamples } from "./options.ts";
import { print } from "./output.ts";

/** What may be typed, with a few words about it. */
export interface Candidate {
  readonly value: string;
  readonly what: string;
}

type Shell = keyof typeof SCRIPTS;

/** Each asks `bellhop complete SHELL -- WORDS…`, the last word being the one at the cursor. */
const SCRIPTS = {
  bash: `_bellhop() {
  local IFS=$'\\n' line="\${COMP_LINE:0:COMP_POINT}"
  COMPREPLY=($(IFS=$' \\t\\n'; bellhop complete bash -- "$line" 2>/dev/null))
}
complete -o default -F _bellhop bellhop`,
  zsh: `#compdef bellhop
_bellhop() {
  local -a candidates
  candidates=("\${(@f)$(bellhop complete zsh -- "\${(@)words[1,CURRENT]}" 2>/dev/null)}")
  if (( \${#candidates[@]} > 0 )) && [[ -n "\${candidates[1]}" ]]; then _describe bellhop candidates; else _files; fi
}
compdef _bellhop bellhop`,
  fish: `complete -c bellhop -e
complete -c bellhop -f -a '(bellhop complete fish -- (commandline -opc) (commandline -ct))'`,
} as const;

const INSTALL: Readonly<Record<Shell, string>> = {
  bash: `eval "$(bellhop completion bash)"      in ~/.bashrc`,
  zsh: `eval "$(bellhop completion zsh)"       in ~/.zshrc, behind compinit`,
  fish: "bellhop completion fish | source      in ~/.config/fish/config.fish",
};

const shellArgument = (): Argument => new Argument("<shell>", "the shell").choices(Object.keys(SCRIPTS));

export function completionCommand(): Command {
  const command = new Command("completion").description("print what lets a shell complete bellhop's commands, options and devices").addArgument(shellArgument());
  command.addHelpText("after", `\nTo have it in every shell:\n${Object.values(INSTALL).map((line) => `  ${line}`).join("\n")}`);
  withExamples(command, [`eval "$(bellhop completion bash)"`, "bellhop completion fish | source"]);
  return command.action((shell: Shell) => print(SCRIPTS[shell]));
}

/** What the shells ask; not shown in help. */
export function completeCommand(program: () => Command): Command {
  const command = new Command("complete").description("what may stand at the cursor").addArgument(shellArgument()).argument("[words...]", "the command line up to the cursor");
  withExamples(command, ["bellhop complete fish -- bellhop status --w"]);
  return command.action(async (shell: Shell, words: readonly string[]) => {
    const typed = shell === "bash" ? (words[0] ?? "").split(/\s+/) : words;
    const found = await candidates(program(), typed.slice(1), devicesOf);
    for (const line of found.map((candidate) => lineFor(shell, candidate, typed.at(-1) ?? ""))) print(line);
  });
}

function lineFor(shell: Shell, { value, what }: Candidate, typed: string): string {
  if (shell === "fish") return `${value}\t${what}`;
  if (shell === "zsh") return `${value.replaceAll(":", "\\:")}:${what}`;
  return value.slice(typed.search(/[^:=]*$/)); // bash completes only what stands behind the last of its word breaks
}

/**
 * What may stand where the last word is.
 * @param words behind `bellhop`, up to the cursor; the last may be empty
 * @param devices the ids that a broker tells, given the words before
 */
export async function candidates(program: Command, words: readonly string[], devices: (words: readonly string[]) => Promise<readonly string[]>): Promise<Candidate[]> {
  const before = words.slice(0, -1);
  const typed = words.at(-1) ?? "";
  let command = program;
  let place = 0;
  let awaiting: Option | undefined;
  for (const word of before) {
    if (awaiting !== undefined) awaiting = undefined;
    else if (word.startsWith("-") && word !== "-") awaiting = valueless(command, word) ? undefined : optionOf(command, word);
    else {
      const child = place === 0 ? command.commands.find((one) => one.name() === word) : undefined;
      if (child === undefined) place += 1;
      else command = child;
    }
  }
  const all = await possible(command, place, awaiting, typed, () => devices(before));
  return all.filter(({ value }) => value.startsWith(typed));
}

async function possible(command: Command, place: number, awaiting: Option | undefined, typed: string, devices: () => Promise<readonly string[]>): Promise<Candidate[]> {
  if (awaiting !== undefined) return choices(awaiting.argChoices);
  if (typed.startsWith("-")) return command.createHelp().visibleOptions(command).concat(command.options.filter((option) => option.hidden)).map((option) => ({ value: option.long ?? option.flags, what: summary(option.description) }));
  const children = command.createHelp().visibleCommands(command).filter((child) => place === 0 && child.name() !== "help");
  if (children.length > 0) return children.map((child) => ({ value: child.name(), what: summary(child.description()) }));
  const argument = command.registeredArguments[place];
  if (argument?.name() === "device") return (await devices()).map((value) => ({ value, what: "device" }));
  return choices(argument?.argChoices);
}

function choices(values: readonly string[] | undefined): Candidate[] {
  return (values ?? []).map((value) => ({ value, what: "" }));
}

function optionOf(command: Command, word: string): Option | undefined {
  return command.options.find((option) => option.long === word || option.short === word);
}

/** `--option=value`, or one that takes none. */
function valueless(command: Command, word: string): boolean {
  const option = optionOf(command, word);
  return word.includes("=") || option === undefined || (!option.required && !option.optional);
}

function summary(text: string): string {
  return text.split(/[;:\n]/)[0]!;
}

/** A completion that takes longer than this is none. */
const QUICK_MS = 300;
const MOST_DEVICES = 200;

/** The first devices that the broker knows; none where it does not answer at once. */
async function devicesOf(words: readonly string[]): Promise<readonly string[]> {
  const named = words[words.indexOf("--at") + 1];
  const at = words.includes("--at") && named !== undefined ? named : (process.env["BELLHOP_HTTP"] ?? SETTINGS.http.default);
  try {
    const response = await open(at, { path: `/v1/devices?limit=${MOST_DEVICES}` }, AbortSignal.timeout(QUICK_MS));
    const { devices } = (await response.json()) as { devices?: readonly { readonly device: string }[] };
    return (devices ?? []).map(({ device }) => device);
  } catch {
    return [];
  }
}

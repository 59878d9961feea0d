// docs/command-line.md names every command and every exit code, as they are.

import { readFileSync } from "node:fs";
import { join } from "node:path";

import { expect, test } from "vitest";

import { exitMarkdown } from "../../src/cli/exit.ts";
import { createProgram } from "../../src/cli/program.ts";

const page = readFileSync(join(import.meta.dirname, "../../docs/command-line.md"), "utf8");

test("the table of exit codes is the one of the source", () => {
  expect(page).toContain(exitMarkdown());
});

test("every command has its line, and no other", () => {
  const program = createProgram();
  const leaves = program.createHelp().visibleCommands(program).filter((command) => command.name() !== "help")
    .flatMap((command) => (command.commands.length === 0 ? [command.name()] : command.commands.map((child) => `${command.name()} ${child.name()}`)));
  const listed = [...page.matchAll(/^\| `([a-z]+(?: [a-z]+)?)[^`]*` \|/gm)].map(([, name]) => name);
  expect(leaves.length).toBeGreaterThan(10);
  expect(listed).toEqual(leaves);
});

test("-o json is an option of every command that the page says prints JSON", () => {
  const program = createProgram();
  for (const [, name = "", json = ""] of page.matchAll(/^\| `([a-z]+(?: [a-z]+)?)[^`]*` \|[^\n]*\| ([^|]+) \|$/gm)) {
    let command = program;
    for (const word of name.split(" ")) command = command.commands.find((one) => one.name() === word)!;
    expect(command.options.some((option) => option.long === "--output"), name).toBe(!json.startsWith("–"));
  }
});

// Options that several commands share.

import { Command, InvalidArgumentError, Option } from "commander";

import { SETTINGS } from "../config.ts";
import type { Format } from "./output.ts";

export interface OutputOption {
  readonly output: Format;
}

export interface AtOption extends OutputOption {
  readonly at: string;
}

export function withOutput(command: Command): Command {
  return command.addOption(new Option("-o, --output <format>", "text for people, json for programs").choices(["text", "json"]).default("text"));
}

/** For commands that talk to a broker over HTTP. */
export function withAt(command: Command): Command {
  return withOutput(command).addOption(new Option("--at <host:port>", "HTTP address of the broker").env("BELLHOP_HTTP").default(SETTINGS.http.default));
}

/** `bellhop help` and `--help` end with these lines. */
export function withExamples(command: Command, examples: readonly string[]): Command {
  return command.addHelpText("after", `\nExamples:\n${examples.map((example) => `  ${example}`).join("\n")}`);
}

/** A whole number from `min` to `max`. */
export function whole(min: number, max = Number.MAX_SAFE_INTEGER): (text: string) => number {
  return (text) => {
    const value = Number(text);
    if (!/^\d+$/.test(text) || value < min || value > max) throw new InvalidArgumentError(`A whole number from ${min} to ${max} is wanted.`);
    return value;
  };
}

/** `/v1/devices/{device}` with what follows. */
export function devicePath(device: string, rest = ""): string {
  return `/v1/devices/${encodeURIComponent(device)}${rest}`;
}

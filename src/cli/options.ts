// Options that several commands share.

import { X509Certificate } from "node:crypto";
import { readFileSync } from "node:fs";

import { Command, InvalidArgumentError, Option } from "commander";

import { SETTINGS } from "../config.ts";
import { DEVICE_ID_RULE, isDeviceId } from "../wire/device.ts";
import { CliError } from "./exit.ts";
import type { Format } from "./output.ts";
import { withKeyFile } from "./secrets.ts";

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
  return withKeyFile(withCa(withOutput(command))).addOption(new Option("--at <host:port>", "HTTP address of the broker, or its URL").env("BELLHOP_HTTP").default(SETTINGS.http.default));
}

/** Given or in the environment, it is the environment's from here on: every connection of the process finds it there. */
export function withCa(command: Command): Command {
  const option = new Option("--ca <file>", "authorities of a broker that speaks TLS, PEM; an address without https:// then means it").env("BELLHOP_CA");
  return command.addOption(option.argParser((file: string) => (process.env["BELLHOP_CA"] = file)));
}

/** The authorities that --ca or BELLHOP_CA name; undefined where none is named. @throws CliError */
export function authorities(): string | undefined {
  const file = process.env["BELLHOP_CA"] ?? "";
  if (file === "") return undefined;
  try {
    const pem = readFileSync(file, "utf8");
    new X509Certificate(pem); // or no certificate would be trusted, and nothing would say why
    return pem;
  } catch (error) {
    throw new CliError("usage", "bad_file", `${file} cannot be read as the authorities of a broker.`, (error as Error).message, "--ca FILE or BELLHOP_CA names a file of certificates in PEM");
  }
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

/** `/v1/devices/{device}` with what follows. @throws CliError where no device can have this id */
export function devicePath(device: string, rest = ""): string {
  checkDevice(device);
  return `/v1/devices/${encodeURIComponent(device)}${rest}`;
}

/** @throws CliError where no device can have this id */
export function checkDevice(device: string): void {
  if (!isDeviceId(device)) throw new CliError("usage", "bad_device", `No device has the id ${JSON.stringify(device)}.`, `an id has ${DEVICE_ID_RULE}`);
}

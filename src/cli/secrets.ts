// The secrets that commands send: an API key over HTTP, a device's token. From a file or the environment: everyone on a machine sees its command lines.

import { readFileSync } from "node:fs";
import { join } from "node:path";

import { Option, type Command } from "commander";

import { isLoopback, SETTINGS } from "../config.ts";
import { isSecret, type SecretKind } from "../base/secret.ts";
import { CliError } from "./exit.ts";

/** For commands that call a broker over HTTP. Given, it is the environment's from here on: every call of the process finds it there. */
export function withKeyFile(command: Command): Command {
  const option = new Option("--key-file <file>", "file with the API key to send (also BELLHOP_KEY_FILE, BELLHOP_KEY)");
  return command.addOption(option.argParser((file: string) => {
    delete process.env["BELLHOP_KEY"];
    process.env["BELLHOP_KEY_FILE"] = file;
    return file;
  }));
}

/** The key that a call sends; undefined for none. On this machine the first one of the data directory, where it can be read. @throws CliError */
export function apiKey(url: URL): string | undefined {
  const given = fromEnvironment("BELLHOP_KEY", "bhk");
  if (given !== undefined || !isLoopback(url.hostname.replace(/^\[(.*)\]$/, "$1"))) return given;
  try {
    return readFileSync(join(process.env["BELLHOP_DATA"] ?? SETTINGS.data.default, "admin.key"), "utf8").trim();
  } catch {
    return undefined;
  }
}

/** The token that a simulated device shows; undefined for none. @throws CliError */
export function deviceToken(): string | undefined {
  return fromEnvironment("BELLHOP_TOKEN", "bhd");
}

/** NAME, or the content of the file that NAME_FILE names. */
function fromEnvironment(name: string, kind: SecretKind): string | undefined {
  const value = process.env[name] ?? "";
  if (value !== "") return checked(value, name, kind);
  const file = process.env[`${name}_FILE`] ?? "";
  if (file === "") return undefined;
  try {
    return checked(readFileSync(file, "utf8").trim(), file, kind);
  } catch (error) {
    if (error instanceof CliError) throw error;
    throw new CliError("usage", "bad_file", `${file} cannot be read.`, (error as Error).message, `${name}_FILE names a file with the secret alone in it`);
  }
}

/** A slip of the keyboard is told here; nothing of the secret is shown. */
function checked(secret: string, from: string, kind: SecretKind): string {
  const other: SecretKind = kind === "bhk" ? "bhd" : "bhk";
  const words = { bhk: "an API key", bhd: "a device's token" } as const;
  if (secret.startsWith(`${other}_`)) throw new CliError("usage", "bad_secret", `${from} holds ${words[other]}, and ${words[kind]} is wanted.`);
  if (secret.startsWith(`${kind}_`) && !isSecret(kind, secret)) {
    throw new CliError("usage", "bad_secret", `${from} holds ${words[kind]} that is cut or misspelt.`, "its checksum does not fit", "copy it again, or make a new one");
  }
  if (!/^[\x21-\x7e]+$/.test(secret)) throw new CliError("usage", "bad_secret", `${from} does not hold ${words[kind]}.`, "a secret is one line of letters, digits and signs", "copy it again, or make a new one");
  return secret;
}

// bellhop device: the devices that are known, and their tokens.

import { fstatSync } from "node:fs";

import { Command } from "commander";

import { call } from "./call.ts";
import { CliError } from "./exit.ts";
import { devicePath, whole, withAt, withExamples, withOutput, type AtOption } from "./options.ts";
import { note, print, printable, printResult, table } from "./output.ts";

const NAME = "default";

interface ListOptions extends AtOption {
  readonly after: string;
  readonly limit: number;
}

interface TokenOptions extends AtOption {
  readonly name: string;
  readonly revoke?: string;
  readonly list?: true;
}

interface Token {
  readonly device: string;
  readonly name: string;
  readonly token: string;
}

export function deviceCommand(): Command {
  const command = withOutput(new Command("device")).description("devices and their tokens");
  command.addCommand(withExamples(
    withAt(new Command("add")).description("make a device known and print a token for it, once").argument("<device>", "id of the device").action(add),
    ["bellhop device add lamp-1", "bellhop device add lamp-1 > lamp-1.token      the token alone, in a file"],
  ));
  command.addCommand(withExamples(
    withAt(new Command("list")).description("list the known devices").option("--after <device>", "go on behind this one", "").option("--limit <n>", "most lines", whole(1), 100).action(list),
    ["bellhop device list", "bellhop device list --after lamp-1 --limit 20"],
  ));
  command.addCommand(withExamples(
    withAt(new Command("remove")).description("forget a device: its stream, its state and its tokens").argument("<device>", "id of the device").action(remove),
    ["bellhop device remove lamp-1"],
  ));
  command.addCommand(withExamples(
    withAt(new Command("token"))
      .description("make another token for a device, list them or revoke one")
      .argument("<device>", "id of the device")
      .option("--name <name>", "what the token is listed under", NAME)
      .option("--list", "list the tokens by name; none is shown again")
      .option("--revoke <name>", "revoke this one: connections that came by it end")
      .action(token),
    ["bellhop device token lamp-1 --name 2027", "bellhop device token lamp-1 --revoke default", "bellhop device token lamp-1 --list"],
  ));
  return command;
}

async function add(device: string, options: AtOption): Promise<void> {
  await makeToken(device, NAME, options);
}

async function makeToken(device: string, name: string, options: AtOption): Promise<void> {
  const answer = await call(options.at, { method: "POST", path: devicePath(device, "/credentials"), body: JSON.stringify({ name }), once: true, accept: [409] });
  if (answer.status === 409) throw taken(device, name, (answer.body as { readonly code: string }).code);
  const made = answer.body as Token;
  printResult(options.output, made, () => made.token);
  const given = fstatSync(1).isFile() ? "BELLHOP_TOKEN_FILE=FILE" : "BELLHOP_TOKEN=…";
  note(`This is the only time that the token is shown. Give it to the device, or try it here:\n  ${given} npx bellhop simulate ${device}`);
}

function taken(device: string, name: string, code: string): CliError {
  if (code === "limit_reached") return new CliError("refused", code, `${device} has as many tokens as a device may have.`, "", `bellhop device token ${device} --list, then --revoke one of them`);
  return new CliError("refused", code, `${device} has a token named ${name} already.`, "a token is shown once, when it is made", `bellhop device token ${device} --name another`);
}

async function list({ at, after, limit, output }: ListOptions): Promise<void> {
  const query = new URLSearchParams({ limit: String(limit), ...(after === "" ? {} : { after }) });
  const page = (await call(at, { path: `/v1/devices?${query.toString()}` })).body as {
    readonly devices: readonly { readonly device: string; readonly connected: boolean; readonly end: string; readonly lastTime: string | null }[];
    readonly next: string | null;
  };
  const rows = page.devices.map(({ device, connected, end, lastTime }) => [printable(device), connected ? "connected" : "away", end, lastTime ?? "never"]);
  printResult(output, page, () => table([["DEVICE", "", "ENTRIES", "LAST"], ...rows]));
  if (rows.length === 0) note("No device is known yet: `bellhop device add lamp-1` makes one known.");
  else if (page.next !== null) note(`There are more: bellhop device list --after ${page.next}`);
}

async function remove(device: string, { at, output }: AtOption): Promise<void> {
  await call(at, { method: "DELETE", path: devicePath(device) });
  printResult(output, { device, removed: true }, () => `${device} is forgotten, with its stream, its state and its tokens`);
}

async function token(device: string, options: TokenOptions): Promise<void> {
  const { at, output, name, revoke } = options;
  if (revoke !== undefined) {
    await call(at, { method: "DELETE", path: devicePath(device, `/credentials/${encodeURIComponent(revoke)}`) });
    return printResult(output, { device, name: revoke, revoked: true }, () => `${revoke} of ${device} is revoked; connections that came by it have ended`);
  }
  const path = devicePath(device, "/credentials");
  const { credentials } = (await call(at, { path })).body as { readonly credentials: readonly { readonly name: string; readonly created: string }[] };
  if (options.list === undefined) return makeToken(device, name, options);
  printResult(output, { device, credentials }, () => table([["NAME", "CREATED"], ...credentials.map((one) => [one.name, one.created])]));
  if (credentials.length === 0) print(`${device} has no token: bellhop device token ${device}`);
}

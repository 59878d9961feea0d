// bellhop key: the API keys of backends and operators.

import { Command, Option } from "commander";

import { baseOf, call } from "./call.ts";
import { CliError } from "./exit.ts";
import { withAt, withExamples, withOutput, type AtOption } from "./options.ts";
import { note, printResult, table } from "./output.ts";
import { apiKey } from "./secrets.ts";

interface Key {
  readonly name: string;
  readonly role: string;
  readonly devices: string;
  readonly created: string;
  readonly expires: string | null;
}

interface AddOptions extends AtOption {
  readonly role: string;
  readonly devices: string;
  readonly expires?: string;
}

export function keyCommand(): Command {
  const command = withOutput(new Command("key")).description("API keys for backends and operators");
  command.addCommand(withExamples(
    withAt(new Command("add"))
      .description("make an API key and print it, once")
      .argument("<name>", "what it is listed under")
      .addOption(new Option("--role <role>", "read; publish, which may read too; admin").choices(["read", "publish", "admin"]).makeOptionMandatory())
      .option("--devices <prefix>", "only for devices whose id begins with this", "")
      .option("--expires <time>", "not valid from then on, e.g. 2030-01-31T12:00:00Z")
      .action(add),
    ["bellhop key add billing --role read", "bellhop key add lamps --role publish --devices lamp- > lamps.key"],
  ));
  command.addCommand(withExamples(withAt(new Command("list")).description("list the API keys; none is shown again").action(list), ["bellhop key list", "bellhop key list -o json"]));
  command.addCommand(withExamples(
    withAt(new Command("remove")).description("revoke an API key: what was begun with it ends").argument("<name>", "its name").action(remove),
    ["bellhop key remove old-backend"],
  ));
  return command;
}

async function add(name: string, { at, output, role, devices, expires }: AddOptions): Promise<void> {
  const body = JSON.stringify({ name, role, devices, expires });
  const answer = await call(at, { method: "POST", path: "/v1/keys", body, once: true, accept: [409] });
  if (answer.status === 409) throw refusal(name, answer.body as { readonly code: string; readonly title: string });
  const made = answer.body as Key & { readonly key: string };
  printResult(output, made, () => made.key);
  note(`This is the only time that the key is shown. Send it as Authorization: Bearer …, or from here:\n  BELLHOP_KEY=… bellhop ${role === "read" ? "status" : "publish lamp-1 hello"}`);
  if (apiKey(new URL(baseOf(at))) === undefined) note("This broker asked for no key; it does where auth is required: bellhop start --auth required");
}

function refusal(name: string, { code, title }: { readonly code: string; readonly title: string }): CliError {
  if (code !== "exists") return new CliError("refused", code, title, "", "bellhop key list, then bellhop key remove NAME");
  return new CliError("refused", code, `There is a key named ${name} already.`, "", `choose another name, or revoke that one: bellhop key remove ${name}`);
}

async function list({ at, output }: AtOption): Promise<void> {
  const { keys } = (await call(at, { path: "/v1/keys" })).body as { readonly keys: readonly Key[] };
  const rows = keys.map(({ name, role, devices, created, expires }) => [name, role, devices === "" ? "all" : `${devices}…`, created, expires ?? "never"]);
  printResult(output, { keys }, () => table([["NAME", "ROLE", "DEVICES", "CREATED", "EXPIRES"], ...rows]));
  if (keys.length === 0) note("There is no key: `bellhop key add NAME --role admin` makes one.");
}

async function remove(name: string, { at, output }: AtOption): Promise<void> {
  await call(at, { method: "DELETE", path: `/v1/keys/${encodeURIComponent(name)}` });
  printResult(output, { name, removed: true }, () => `${name} is revoked; what was begun with it has ended`);
}

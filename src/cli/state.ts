// bellhop state: the two documents of a device, what it reported and what is desired of it.

import { Argument, Command, Option } from "commander";

import { call } from "./call.ts";
import { CliError } from "./exit.ts";
import { edited } from "./editor.ts";
import { devicePath, whole, withAt, withExamples, type AtOption } from "./options.ts";
import { printResult, styled } from "./output.ts";

interface StateOptions extends AtOption {
  readonly document: "reported" | "desired";
  readonly ifVersion?: number;
}

interface Documents {
  readonly device: string;
  readonly reported: StateDocument;
  readonly desired: StateDocument;
}

interface StateDocument {
  readonly version: number;
  readonly offset: string;
  readonly document: Readonly<Record<string, unknown>>;
}

interface Changed {
  readonly device: string;
  readonly document: string;
  readonly version: number;
  readonly offset: string;
}

export function stateCommand(): Command {
  const command = withAt(new Command("state"))
    .description("read or change a device's state documents")
    .argument("<device>", "id of the device")
    .addArgument(new Argument("[action]", "get; set: replace the document; patch: merge into it (RFC 7396); edit: in your editor").choices(["get", "set", "patch", "edit"]).default("get"))
    .argument("[json]", "the document or the patch: a JSON object")
    .addOption(new Option("--document <name>", "which one is changed").choices(["desired", "reported"]).default("desired"))
    .option("--if-version <n>", "change it only if it still has this version", whole(0));
  withExamples(command, ["bellhop state lamp-1", `bellhop state lamp-1 patch '{"brightness": 80}'`, `bellhop state lamp-1 set '{}' --if-version 4`, "bellhop state lamp-1 edit"]);
  return command.action(state);
}

async function state(device: string, action: string, json: string | undefined, options: StateOptions): Promise<void> {
  if (action === "get") return show(device, options);
  if (action === "edit") return edit(device, options);
  const { method, type } = action === "set" ? ({ method: "PUT", type: "application/json" } as const) : ({ method: "PATCH", type: "application/merge-patch+json" } as const);
  await change(device, options, method, type, objectText(json, device, action));
}

/** What somebody else changes meanwhile is not overwritten: the version that was read is the one that is replaced. */
async function edit(device: string, options: StateOptions): Promise<void> {
  const answer = await call(options.at, { path: devicePath(device, "/state"), accept: [404] });
  const { document, version } = answer.status === 404 ? { document: {}, version: 0 } : (answer.body as Documents)[options.document];
  const before = `${JSON.stringify(document, undefined, 2)}\n`;
  const after = edited(`${options.document}.json`, before);
  if (after === before) return printResult(options.output, { device, document: options.document, version }, () => "Nothing was changed.");
  await change(device, { ...options, ifVersion: options.ifVersion ?? version }, "PUT", "application/json", objectText(after, device, "set"));
}

async function change(device: string, options: StateOptions, method: "PUT" | "PATCH", type: string, body: string): Promise<void> {
  const answer = await call(options.at, {
    method,
    path: devicePath(device, `/state?document=${options.document}`),
    headers: { "content-type": type, ...(options.ifVersion === undefined ? {} : { "if-match": `"${options.document}-${options.ifVersion}"` }) },
    body,
  });
  const changed = answer.body as Changed;
  printResult(options.output, changed, () => `${changed.document} of ${changed.device} has version ${changed.version} since offset ${changed.offset}`);
}

async function show(device: string, options: StateOptions): Promise<void> {
  const documents = (await call(options.at, { path: devicePath(device, "/state") })).body as Documents;
  const part = (name: string, one: StateDocument): string => {
    const since = one.version === 0 ? "never written" : `version ${one.version}, since offset ${one.offset}`;
    return `${styled(process.stdout, "bold", name)} (${since})\n${JSON.stringify(one.document, undefined, 2)}`;
  };
  printResult(options.output, documents, () => `${part("reported", documents.reported)}\n${part("desired", documents.desired)}`);
}

/** The text as it was given, once it is known to be a JSON object. */
function objectText(json: string | undefined, device: string, action: string): string {
  const example = `bellhop state ${device} ${action} '{"brightness": 80}'`;
  if (json === undefined) throw new CliError("usage", "no_document", "The document is missing.", "", example);
  let value: unknown;
  try {
    value = JSON.parse(json);
  } catch (error) {
    throw new CliError("usage", "bad_document", "The document is not JSON.", (error as Error).message, example);
  }
  if (typeof value !== "object" || value === null || Array.isArray(value)) throw new CliError("usage", "bad_document", "The document is not a JSON object.", "", example);
  return json;
}

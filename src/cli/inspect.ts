// bellhop inspect: what a data directory holds, read without changing it and without a running broker.

import { existsSync } from "node:fs";

import { Command } from "commander";

import { BellhopError } from "../base/errors.ts";
import { SETTINGS } from "../config.ts";
import { inspectControl } from "../control/inspect.ts";
import { StorageError } from "../storage/errors.ts";
import { inspectLog, type LogItem } from "../storage/inspect.ts";
import { CliError } from "./exit.ts";
import { withExamples, withOutput, whole, type OutputOption } from "./options.ts";
import { facts, note, print, printJson, printResult, styled } from "./output.ts";

interface InspectOptions extends OutputOption {
  readonly data: string;
}

interface LogOptions extends InspectOptions {
  readonly records?: true;
  readonly bucket?: number;
}

interface ControlOptions extends InspectOptions {
  readonly after: number;
}

export function inspectCommand(): Command {
  const command = new Command("inspect").description("look into a data directory; the broker need not run");
  const log = withData(command.command("log"))
    .description("sum up the write-ahead log, or list its records; what is damaged is told")
    .option("--records", "every record, oldest first")
    .option("--bucket <n>", "only this bucket's records", whole(0, 65_535));
  withExamples(log, ["bellhop inspect log", "bellhop inspect log --records --bucket 13", "bellhop inspect log --records -o json | jq 'select(.type == \"entry\")'"]);
  log.action((options: LogOptions) => careful(options, () => (options.records === true || options.bucket !== undefined ? listRecords(options) : sumUp(options))));
  const control = withData(command.command("control")).description("print the control log: every cluster command, in order").option("--after <position>", "begin after this position", whole(0), 0);
  withExamples(control, ["bellhop inspect control", "bellhop inspect control --data /var/lib/bellhop -o json"]).action((options: ControlOptions) => careful(options, () => showControl(options)));
  return command;
}

function withData(command: Command): Command {
  return withOutput(command).option("--data <dir>", "the data directory", process.env["BELLHOP_DATA"] ?? SETTINGS.data.default);
}

/** What cannot be read is damage, told by its place. */
async function careful(options: InspectOptions, show: () => Promise<void>): Promise<void> {
  if (!existsSync(options.data)) throw new CliError("notFound", "no_data", `There is no data directory ${options.data}.`, "", "name one with --data DIR");
  try {
    await show();
  } catch (error) {
    if (error instanceof BellhopError || error instanceof StorageError) throw new CliError("unhealthy", "damaged", "The data directory cannot be read.", error.message);
    throw error;
  }
}

interface LogSummary {
  segments: number;
  bytes: number;
  groups: number;
  readonly records: Record<string, number>;
  payloadBytes: number;
  durableThrough: number;
  /** Writes that a crash cut short before they were acknowledged: no loss. */
  readonly torn: string[];
  readonly damage: string[];
}

async function sumUp(options: LogOptions): Promise<void> {
  const sum: LogSummary = { segments: 0, bytes: 0, groups: 0, records: {}, payloadBytes: 0, durableThrough: 0, torn: [], damage: [] };
  for await (const item of inspectLog(options.data)) add(sum, item);
  const records = Object.entries(sum.records).map(([type, count]) => `${count} ${type}`);
  printResult(options.output, sum, () =>
    facts([
      ["segments", `${sum.segments}, ${(sum.bytes / 2 ** 20).toFixed(1)} MiB`],
      ["groups", `${sum.groups}, each written and synced as one; the log proves it for those up to number ${sum.durableThrough}`],
      ["records", `${records.length === 0 ? "none" : records.join(", ")}; ${(sum.payloadBytes / 2 ** 20).toFixed(1)} MiB of payload`],
      ["torn", sum.torn.length === 0 ? "nothing" : sum.torn.join("\n          ")],
      ["damage", sum.damage.length === 0 ? "none" : sum.damage.join("\n          ")],
    ]),
  );
  if (sum.damage.length > 0) throw damaged(options, sum.damage.length);
}

function add(sum: LogSummary, item: LogItem): void {
  switch (item.what) {
    case "segment":
      sum.segments += 1;
      sum.bytes += item.bytes;
      break;
    case "group":
      sum.groups += 1;
      sum.durableThrough = Math.max(sum.durableThrough, item.durableThrough);
      break;
    case "record":
      sum.records[item.type] = (sum.records[item.type] ?? 0) + 1;
      sum.payloadBytes += item.payload.length;
      break;
    case "torn":
    case "damage":
      sum[item.what].push(`segment ${item.segment}: ${item.text}`);
      break;
  }
}

function damaged({ data }: InspectOptions, places: number): CliError {
  return new CliError("unhealthy", "damaged", `The log in ${data} is damaged in ${places} ${places === 1 ? "place" : "places"}.`, "acknowledged messages may be missing", "docs/storage.md, \"Recovery\", says what to do");
}

async function listRecords(options: LogOptions): Promise<void> {
  let places = 0;
  for await (const item of inspectLog(options.data)) {
    if (item.what === "torn") note(`torn, and never acknowledged, in segment ${item.segment}: ${item.text}`);
    if (item.what === "damage") {
      places += 1;
      note(`damage in segment ${item.segment}: ${item.text}`);
    }
    if (item.what !== "record" || (options.bucket !== undefined && item.bucket !== options.bucket)) continue;
    const { payload, ...rest } = item;
    if (options.output === "json") printJson({ ...rest, payload: Buffer.from(payload).toString("base64") });
    else print(recordLine(item));
  }
  if (places > 0) throw damaged(options, places);
}

function recordLine({ segment, offset, type, bucket, index, epoch, time, payload }: Extract<LogItem, { what: "record" }>): string {
  const at = `${segment}:${offset}`.padEnd(14);
  const when = time === 0 ? "" : `  ${new Date(time).toISOString()}  ${payload.length} bytes`;
  return `${styled(process.stdout, "dim", at)}  ${type.padEnd(8)}  bucket ${String(bucket).padEnd(5)}  index ${String(index).padEnd(8)}  epoch ${epoch}${when}`;
}

async function showControl(options: ControlOptions): Promise<void> {
  let last = options.after;
  for await (const entry of inspectControl(options.data, options.after)) {
    last = entry.position;
    if (options.output === "json") {
      printJson(entry);
      continue;
    }
    for (const { type, ...rest } of entry.commands) print(`${String(entry.position).padStart(6)}  ${styled(process.stdout, "bold", type.padEnd(10))}  ${JSON.stringify(rest)}`);
  }
  if (last === options.after && options.output === "text") print("The control log is empty.");
}

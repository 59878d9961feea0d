// bellhop control: the control log of a cluster as a file, to restore an etcd that was lost (R10, E5).

import { existsSync, readFileSync } from "node:fs";

import { Command } from "commander";

import { BellhopError } from "../base/errors.ts";
import { SETTINGS } from "../config.ts";
import { readOwn } from "../control/joining.ts";
import { readKept } from "../control/kept.ts";
import { Table } from "../core/table/table.ts";
import { CliError } from "./exit.ts";
import { withExamples, withOutput, type OutputOption } from "./options.ts";
import { note, print, printResult } from "./output.ts";
import { checkedFiles, settingsOf } from "./start.ts";

const FORMAT = 1;

interface Exported {
  readonly format: number;
  /** "" for a node that is alone. */
  readonly cluster: string;
  readonly version: number;
  readonly position: number;
  /** The table's snapshot. */
  readonly state: object;
}

interface ImportOptions extends OutputOption {
  readonly config?: string;
  readonly cluster?: string;
  readonly etcd?: string;
}

export function controlCommand(): Command {
  const command = new Command("control").description("the control log as a file: restore an etcd that was lost");
  const exporting = command.command("export")
    .description("print the control log as this node's disk has it; the node need not run")
    .option("--data <dir>", "the data directory", process.env["BELLHOP_DATA"] ?? SETTINGS.data.default)
    .action(exportLog);
  withExamples(exporting, ["bellhop control export --data /var/lib/bellhop > n1.control"]);
  const importing = withOutput(command.command("import"))
    .description("put the newest of these exports into an etcd that has no control log of the cluster; all nodes must be stopped")
    .argument("<file...>", "exports of the nodes, of as many as there are")
    .option("--config <file>", "settings as JSON, as for start: the cluster's name, etcd and its certificates")
    .option("--cluster <name>", "name of the cluster")
    .option("--etcd <urls>", "the etcd")
    .action(importLog);
  withExamples(importing, ["bellhop control import n1.control n2.control n3.control --cluster lamps --etcd http://10.0.0.1:2379"]);
  return command;
}

async function exportLog({ data }: { readonly data: string }): Promise<void> {
  if (!existsSync(data)) throw new CliError("notFound", "no_data", `There is no data directory ${data}.`, "", "name one with --data DIR");
  const { cluster, table } = await tableOf(data).catch(unreadable);
  if (table === undefined) throw new CliError("notFound", "no_control_log", `${data} has no control log.`, "", "name the data directory of a node");
  const state = JSON.parse(new TextDecoder().decode(table.snapshot())) as object;
  print(JSON.stringify({ format: FORMAT, cluster, version: table.version, position: table.position, state } satisfies Exported));
  note(`version ${table.version}, of ${cluster === "" ? "a node that is alone" : `the cluster ${cluster}`}: ${table.buckets.length} buckets, nodes ${[...table.nodes.keys()].join(", ")}`);
}

async function tableOf(data: string): Promise<{ readonly cluster: string; readonly table: Table | undefined }> {
  const kept = await readKept(data);
  return kept === undefined ? { cluster: "", table: await readOwn(data) } : { cluster: kept.cluster, table: Table.restore(kept.position, kept.state) };
}

function unreadable(error: unknown): never {
  if (error instanceof BellhopError) throw new CliError("unhealthy", "damaged", "The control log on this disk cannot be read.", error.detail, "take the export of another node");
  throw error;
}

async function importLog(files: readonly string[], { output, ...flags }: ImportOptions): Promise<void> {
  const settings = checkedFiles(settingsOf({ ...flags }).settings);
  if (settings.cluster === "" || settings.etcd === "") throw new CliError("usage", "bad_usage", "The cluster and its etcd must be named.", "", "bellhop control import FILE --cluster NAME --etcd http://HOST:2379");
  const exports = files.map((file) => ({ file, ...parse(file) }));
  for (const { file, cluster } of exports) {
    if (cluster !== settings.cluster) throw new CliError("usage", "bad_export", `${file} is of ${cluster === "" ? "a node that was alone" : `the cluster ${cluster}`}, not of ${settings.cluster}.`, "", "start a node that was alone with --cluster and --etcd: it brings its control log itself");
  }
  const newest = exports.reduce((best, one) => (one.version > best.version ? one : best));
  const state = new TextEncoder().encode(JSON.stringify(newest.state));
  const { etcdControl } = await import("../broker.ts");
  const control = etcdControl(settings);
  try {
    await control.begin(state);
  } catch (error) {
    if (!(error instanceof BellhopError)) throw error;
    const isThere = error.code === "exists";
    throw new CliError(isThere ? "refused" : "later", error.code, isThere ? `etcd has a control log of the cluster ${settings.cluster} already.` : "The control log could not be imported.", error.detail, isThere ? "start the nodes; an import is for an etcd that has none" : "");
  } finally {
    await control.close();
  }
  const { file, cluster, version } = newest;
  printResult(output, { cluster, version, file }, () => `version ${version} of the cluster ${cluster}, from ${file}, is in etcd: start the nodes`);
}

function parse(file: string): Exported {
  let found: Exported;
  try {
    found = JSON.parse(readFileSync(file, "utf8")) as Exported;
    if (found.format !== FORMAT) throw new Error(`its format is ${found.format}, this Bellhop knows ${FORMAT}`);
    Table.restore(0, new TextEncoder().encode(JSON.stringify(found.state)));
  } catch (error) {
    throw new CliError("usage", "bad_export", `${file} is no export of a control log.`, (error as Error).message, "bellhop control export --data DIR > FILE");
  }
  return found;
}

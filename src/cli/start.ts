// bellhop start: a node, alone or of a cluster.

import { Command, Option } from "commander";

import { ConfigError, describeSettings, loadSettings, unreadableFiles, type LoadedSettings, type SettingName, type Settings } from "../config.ts";
import { BellhopError } from "../base/errors.ts";
import type { Broker } from "../broker.ts";
import { version } from "../observe/version.ts";
import type { ControlLog } from "../control/port.ts";
import { CertificateError } from "../doors/certificates.ts";
import { StorageError } from "../storage/errors.ts";
import { prepareData } from "./data.ts";
import { CliError, EXIT } from "./exit.ts";
import { withExamples } from "./options.ts";
import { facts, note, styled } from "./output.ts";
import { whatToTry } from "./try.ts";

/** Shown in help; every other setting is a flag too. */
const COMMON: readonly SettingName[] = ["node", "data", "http", "device", "zone", "logLevel"];

export function startCommand(): Command {
  const command = new Command("start").description("start a node with everything embedded").option("--config <file>", "settings as JSON (default: ./bellhop.json where there is one)");
  for (const line of describeSettings()) {
    if (line.isSecret) continue; // a command line is seen by everyone on the machine
    const common = COMMON.includes(line.name);
    const option = new Option(`${line.flag} <value>`, `${line.what} (default: ${line.default})`);
    command.addOption(common ? option : option.hideHelp());
  }
  command.addHelpText("after", "\nEvery setting is a flag, a variable BELLHOP_… and a key of bellhop.json: `bellhop config show --effective` lists them all.");
  withExamples(command, ["bellhop start", "bellhop start --data /var/lib/bellhop --http 127.0.0.1:8080", "BELLHOP_LOG_LEVEL=warn bellhop start --checkpoint-seconds 10"]);
  return command.action((options: Record<string, string>) => start(options));
}

/** Reads the settings and turns what is wrong with them into an error of the command line. */
export function settingsOf(flags: Readonly<Record<string, string>>): LoadedSettings {
  try {
    return load(flags);
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    throw wrongSettings(error.problems);
  }
}

export function wrongSettings(problems: readonly string[]): CliError {
  return new CliError("usage", "bad_settings", "The settings are wrong.", problems.join("\n"), "bellhop config show --effective");
}

/** The same settings. @throws CliError where a file that they name cannot be read */
export function checkedFiles(settings: Settings): Settings {
  const problems = unreadableFiles(settings);
  if (problems.length > 0) throw wrongSettings(problems);
  return settings;
}

/** @throws ConfigError */
function load({ config, ...values }: Readonly<Record<string, string>>): LoadedSettings {
  return loadSettings({ flags: values, env: process.env, ...(config === undefined ? {} : { configFile: config }) });
}

/** A broker that has drained closes within this time, or is ended: to the log a kill is a clean stop (R21). Milliseconds. */
const STOP_MS = 10_000;

/** @param control the control log that this process was given; else the settings say which */
export async function start(flags: Readonly<Record<string, string>>, control?: ControlLog): Promise<void> {
  const { settings, files } = settingsOf(flags);
  if (settings.cluster !== "" && settings.etcd === "" && control === undefined) {
    throw new CliError("usage", "no_control_log", "A node of a cluster needs the etcd that holds its control log.", "", "name it: --etcd http://HOST:2379,…; bellhop dev runs a cluster on this machine without; and without --cluster a node runs alone");
  }
  checkedFiles(settings);
  // Loaded here and not at the top: the other commands start faster without the broker's code.
  const { startBroker } = await import("../broker.ts");
  let broker: Broker | undefined;
  let isNew: boolean;
  const died = (error: unknown): void => die(broker, error instanceof Error ? error : new Error(String(error)));
  process.on("uncaughtException", died).on("unhandledRejection", died);
  try {
    isNew = prepareData(settings.data);
    broker = await startBroker(settings, { source: { read: () => load(flags).settings, files }, ...(control === undefined ? {} : { control }) });
  } catch (error) {
    throw startFailure(error, settings.data);
  }

  const { httpAddress, deviceAddress, drain, close, reload } = broker;
  process.on("SIGHUP", () => reload("SIGHUP"));
  let stopping = false;
  const stop = (signal: NodeJS.Signals): void => {
    if (stopping) process.exit(EXIT.interrupted.code); // The log needs no farewell: a kill is a clean stop to it (R21).
    stopping = true;
    if (control === undefined) note(`${signal}: draining; once more stops at once.`);
    setTimeout(() => {
      note(`error deadline: What is left does not stop within ${STOP_MS / 1000} s after draining, perhaps for a control log that does not answer: ended as it is. What was answered is on disk.`);
      process.exit(EXIT.failed.code);
    }, settings.drainSeconds * 1000 + STOP_MS).unref();
    drain()
      .then(close)
      .then(
        () => process.exit(EXIT.ok.code),
        (error: unknown) => {
          note(`error internal: ${error instanceof Error ? error.message : String(error)}`);
          process.exit(EXIT.failed.code);
        },
      );
  };
  process.on("SIGTERM", stop).on("SIGINT", stop);

  process.send?.({ http: httpAddress, device: deviceAddress }); // To a program that forked it: `dev`, the demo, the benchmarks.
  if (control !== undefined) return; // `dev` tells of all its nodes
  note(`${styled(process.stderr, "bold", `Bellhop ${version()}`)} is ready: node ${settings.node}`);
  note(facts([["  devices", deviceAddress], ["  HTTP", `${settings.tlsCert === "" ? "http" : "https"}://${httpAddress} (its description: /openapi.json)`], ["  data", `${settings.data}${isNew ? " (a new data directory)" : ""}`]]));
  note(whatToTry(settings, httpAddress, deviceAddress));
}

/** What nobody caught: the state of the process is not known, what was answered is on disk (R21). */
function die(broker: Broker | undefined, error: Error): void {
  if (broker !== undefined) return broker.fail(error);
  note(`error internal: ${error.message}`);
  process.exit(EXIT.stopped.code);
}

function startFailure(error: unknown, data: string): unknown {
  const { code, address, port } = error as { code?: string; address?: string; port?: number };
  if (code === "EADDRINUSE") {
    return new CliError("failed", "address_in_use", `${address}:${port} is in use.`, "another broker or program listens there", "stop it, or choose others: bellhop start --http 127.0.0.1:4900 --device 127.0.0.1:4910");
  }
  if (code === "EACCES" || code === "EROFS") return new CliError("failed", "no_access", (error as Error).message, "", "choose a directory that this user may write: bellhop start --data DIR");
  if (code === "ENOSPC" || code === "EDQUOT") return new CliError("later", "storage_full", `There is no room on the disk of ${data}.`, (error as Error).message, "make room there, then start it again");
  if (code === "EIO") return new CliError("stopped", "disk_failed", `The disk of ${data} failed.`, (error as Error).message, "check that disk (dmesg), then start it again");
  if (error instanceof StorageError && error.code === "locked") return new CliError("inUse", "locked", error.message, "", "stop that process, or choose another directory: bellhop start --data DIR");
  if (error instanceof StorageError) return new CliError("unhealthy", error.code, error.message, "", `bellhop inspect log --data ${data}`);
  if (error instanceof CertificateError) return new CliError("usage", "bad_certificate", error.message, "", "bellhop config show --effective");
  if (error instanceof BellhopError && error.code === "deadline") return new CliError("later", "not_started", error.detail, "a node needs the control log to start", "start etcd, or check --etcd and its certificates; then start the node again");
  if (error instanceof BellhopError) return new CliError("unhealthy", "not_started", error.detail);
  return error;
}

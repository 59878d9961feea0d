// bellhop simulate: a device at the prompt; lines typed are published, what comes is printed.

import { readFileSync } from "node:fs";
import { createInterface } from "node:readline";

import { Command } from "commander";

import { connect, DeviceError, type ConnectionChange, type Device, type JsonObject } from "../../clients/device/src/index.ts";
import { SETTINGS } from "../config.ts";
import { CliError, EXIT, exitOf, isErrorCode } from "./exit.ts";
import { authorities, checkDevice, withCa, withExamples, withOutput, type OutputOption } from "./options.ts";
import { note, printable, printJson, print, styled } from "./output.ts";
import { deviceToken } from "./secrets.ts";

interface SimulateOptions extends OutputOption {
  readonly at: string;
  readonly outbox?: string;
  readonly token?: string;
  readonly cert?: string;
  readonly key?: string;
}

const REPORT = "/report ";

const NEXT: Readonly<Record<string, string>> = {
  taken_over: "another process is this device now; give this one another id",
  unauthenticated: "give its token in BELLHOP_TOKEN; `bellhop device token DEVICE` makes one",
};

export function simulateCommand(): Command {
  const command = withCa(withOutput(new Command("simulate")))
    .description("be a device: lines typed are published, what comes is printed; Ctrl-D ends it")
    .argument("<device>", "id of the device")
    .option("--at <host:port,…>", "where devices connect", process.env["BELLHOP_DEVICE"] ?? SETTINGS.device.default)
    .option("--token <token>", "the device's token; seen by others in the list of processes, so rather BELLHOP_TOKEN or BELLHOP_TOKEN_FILE")
    .option("--outbox <file>", "keep what is not answered in a file, over a restart")
    .option("--cert <file>", "client certificate of the device, PEM; with --key and --ca")
    .option("--key <file>", "private key of --cert, PEM");
  withExamples(command, ["bellhop simulate lamp-1", "echo on | bellhop simulate lamp-1", `bellhop simulate lamp-1       then type: ${REPORT}{"brightness": 80}`]);
  return command.action(simulate);
}

async function simulate(name: string, options: SimulateOptions): Promise<void> {
  checkDevice(name);
  const device = connected(name, options);
  device.on("connection", (change) => {
    const words = inWords(change);
    if (words !== "") note(styled(process.stderr, "dim", words));
  });
  device.on("missed", ({ from, to, code }) => note(`messages at offsets ${from} to ${to} may be missing: ${code}`));
  device.on("desired", () => {
    const { version, document } = device.state.desired;
    tell(options, { desired: document, version }, `${styled(process.stdout, "cyan", "←")} desired state ${JSON.stringify(document)}  ${styled(process.stdout, "dim", `version ${version}`)}`);
  });
  if (process.stdin.isTTY) {
    note(`Lines you type are published as ${name}.\n${REPORT}{…} reports its state. Ctrl-D ends it.`);
    note(`Try in another terminal:\n  npx bellhop publish ${name} hello\n  npx bellhop follow ${name} --after 0\n`);
  }

  const typed = publishLines(device, options).then(() => device.close());
  try {
    await Promise.all([typed, printMessages(device, options)]);
  } catch (error) {
    throw failure(error as Error);
  } finally {
    process.stdin.destroy(); // Or a device that was stopped would wait for the next line.
  }
}

function connected(name: string, { at, outbox, cert, key, ...options }: SimulateOptions): Device {
  const ca = authorities();
  const token = options.token ?? deviceToken();
  try {
    const own = cert === undefined || key === undefined ? {} : { cert: readFileSync(cert), key: readFileSync(key) };
    return connect({ brokers: at.split(","), device: name, ...(outbox === undefined ? {} : { outbox }), ...(token === undefined ? {} : { token }), ...(ca === undefined ? {} : { tls: { ca, ...own } }) });
  } catch (error) {
    throw failure(error as Error);
  }
}

/** "" for what need not be told: a try that has just begun, the end that was asked for. */
function inWords({ state, broker, error, retryInMs }: ConnectionChange): string {
  if (state === "connected") return `connected to ${broker}`;
  if (state !== "waiting") return "";
  const why = error === undefined ? "" : ` (${error instanceof DeviceError ? error.message : ((error as NodeJS.ErrnoException).code ?? error.message)})`;
  return `no connection to ${broker}${why}; next try in ${(retryInMs / 1000).toFixed(1)} s`;
}

async function publishLines(device: Device, options: SimulateOptions): Promise<void> {
  const unanswered = new Set<Promise<void>>();
  for await (const line of createInterface({ input: process.stdin })) {
    if (line.trim() === "") continue;
    const sent = publishLine(device, line, options).finally(() => unanswered.delete(sent));
    unanswered.add(sent);
  }
  await Promise.all(unanswered);
}

/** A refused line is told, and the next one may follow. */
async function publishLine(device: Device, line: string, options: SimulateOptions): Promise<void> {
  const started = performance.now();
  try {
    if (line.startsWith(REPORT)) await device.state.patch(JSON.parse(line.slice(REPORT.length)) as JsonObject);
    else await device.publish(line);
    const ms = Math.round((performance.now() - started) * 10) / 10;
    tell(options, { published: line, milliseconds: ms }, styled(process.stdout, "dim", `on disk after ${ms} ms`));
  } catch (error) {
    if (device.connection === "stopped") return; // It is told once, for all lines.
    note(`${styled(process.stderr, "red", "not published")}: ${error instanceof Error ? error.message : String(error)}`);
    process.exitCode = EXIT.refused.code;
  }
}

async function printMessages(device: Device, options: SimulateOptions): Promise<void> {
  for await (const message of device) {
    tell(options, { offset: String(message.offset), payload: message.text() }, `${styled(process.stdout, "cyan", "←")} ${printable(message.text())}  ${styled(process.stdout, "dim", `offset ${message.offset}`)}`);
  }
}

function tell(options: SimulateOptions, value: unknown, text: string): void {
  if (options.output === "json") printJson(value);
  else print(text);
}

function failure(error: Error): CliError {
  if (!(error instanceof DeviceError)) return new CliError("failed", "stopped", error.message);
  const exit = isErrorCode(error.code) ? exitOf(error.code) : "failed";
  const next = NEXT[error.code] ?? "";
  return new CliError(exit, error.code, error.message.replace(`${error.code}: `, ""), "", next);
}

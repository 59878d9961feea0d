// bellhop publish: a message from a backend to a device's stream.

import { randomUUID } from "node:crypto";
import { createInterface } from "node:readline";
import { text } from "node:stream/consumers";

import { Command } from "commander";

import { call } from "./call.ts";
import { CliError } from "./exit.ts";
import { devicePath, withAt, withExamples, type AtOption } from "./options.ts";
import { note, printJson, printResult, Progress } from "./output.ts";

interface PublishOptions extends AtOption {
  readonly key?: string;
  readonly type?: string;
  readonly lines?: true;
}

export function publishCommand(): Command {
  const command = withAt(new Command("publish"))
    .description("publish one message to a device, stored on disk when this returns")
    .argument("<device>", "id of the device")
    .argument("[text]", "the message; - or nothing: read from standard input")
    .option("--key <key>", "idempotency key: the same key again stores nothing twice (default: a fresh one)")
    .option("--lines", "each line of standard input is a message, stored in order; with --key KEY their keys are KEY-1, KEY-2 …")
    .option("--type <content-type>", "content type (default: application/json where the text is JSON, else text/plain)");
  withExamples(command, ["bellhop publish lamp-1 on", `bellhop publish lamp-1 '{"brightness": 80}' --key order-7731`, "date | bellhop publish lamp-1 -", "bellhop publish lamp-1 --lines --key import-7 < messages.txt"]);
  return command.action(publish);
}

interface Stored {
  readonly device: string;
  readonly offset: string;
  readonly duplicate: boolean;
}

async function publish(device: string, given: string | undefined, options: PublishOptions): Promise<void> {
  if (options.lines === true) {
    if (given !== undefined && given !== "-") throw new CliError("usage", "bad_usage", "With --lines the messages come from standard input.", "", `bellhop publish ${device} --lines < FILE`);
    return publishLines(device, options);
  }
  const message = given === undefined || given === "-" ? await text(process.stdin) : given;
  const stored = await publishOne(device, message, options.key ?? randomUUID(), options);
  printResult(options.output, stored, () => inWords(stored));
  // Before anything else in its stream a device that connects is told as present.
  if (stored.offset === "1" && !stored.duplicate && options.output === "text") note(`${device} has never connected: it gets this when it does. Where that id is mistaken: bellhop device remove ${device}`);
}

/** One after the other, for they are to be stored in order. A line that is refused for good is told, and the next one follows; what may work later ends the command. */
async function publishLines(device: string, options: PublishOptions): Promise<void> {
  const key = options.key ?? randomUUID();
  const progress = new Progress("stored");
  let number = 0;
  let refused = 0;
  for await (const line of createInterface({ input: process.stdin })) {
    number += 1;
    if (line === "") continue;
    try {
      const stored = await publishOne(device, line, `${key}-${number}`, options);
      if (options.output === "json") printJson({ line: number, ...stored });
      progress.step();
    } catch (error) {
      progress.clear();
      if (!(error instanceof CliError)) throw error;
      if (error.exit !== "refused") {
        throw new CliError(error.exit, error.code, `${error.message} Lines up to ${number - 1} are stored.`, error.why, `run the same command again with --key ${key}: what is stored is not stored twice`);
      }
      refused += 1;
      note(`line ${number} is refused: ${error.code}: ${error.message}`);
    }
  }
  progress.end();
  if (refused > 0) throw new CliError("refused", "lines_refused", `${refused} of ${number} lines were refused.`);
}

async function publishOne(device: string, message: string, key: string, options: PublishOptions): Promise<Stored> {
  const headers = { "content-type": options.type ?? typeOf(message), "idempotency-key": key };
  return (await call(options.at, { method: "POST", path: devicePath(device, "/messages"), headers, body: message })).body as Stored;
}

function inWords({ device, offset, duplicate }: Stored): string {
  return `${duplicate ? "had already been stored" : "stored"} at offset ${offset} of ${device}`;
}

function typeOf(message: string): string {
  try {
    JSON.parse(message);
    return "application/json";
  } catch {
    return "text/plain; charset=utf-8";
  }
}

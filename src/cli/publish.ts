// bellhop publish: a message from a backend to a device's stream.

import { randomUUID } from "node:crypto";
import { text } from "node:stream/consumers";

import { Command } from "commander";

import { call } from "./call.ts";
import { devicePath, withAt, withExamples, type AtOption } from "./options.ts";
import { printResult } from "./output.ts";

interface PublishOptions extends AtOption {
  readonly key?: string;
  readonly type?: string;
}

export function publishCommand(): Command {
  const command = withAt(new Command("publish"))
    .description("publish one message to a device, stored on disk when this returns")
    .argument("<device>", "id of the device")
    .argument("[text]", "the message; - or nothing: read from standard input")
    .option("--key <key>", "idempotency key: the same key again stores nothing twice (default: a fresh one)")
    .option("--type <content-type>", "content type (default: application/json where the text is JSON, else text/plain)");
  withExamples(command, ["bellhop publish lamp-1 on", `bellhop publish lamp-1 '{"brightness": 80}' --key order-7731`, "date | bellhop publish lamp-1 -"]);
  return command.action(publish);
}

interface Stored {
  readonly device: string;
  readonly offset: string;
  readonly duplicate: boolean;
}

async function publish(device: string, given: string | undefined, options: PublishOptions): Promise<void> {
  const message = given === undefined || given === "-" ? await text(process.stdin) : given;
  const answer = await call(options.at, {
    method: "POST",
    path: devicePath(device, "/messages"),
    headers: { "content-type": options.type ?? typeOf(message), "idempotency-key": options.key ?? randomUUID() },
    body: message,
  });
  const stored = answer.body as Stored;
  printResult(options.output, stored, () => `${stored.duplicate ? "had already been stored" : "stored"} at offset ${stored.offset} of ${stored.device}`);
}

function typeOf(message: string): string {
  try {
    JSON.parse(message);
    return "application/json";
  } catch {
    return "text/plain; charset=utf-8";
  }
}

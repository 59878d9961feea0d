// bellhop follow: a device's stream as it grows, resumed by itself when the connection breaks or the broker ends it for now.

import { setTimeout as sleep } from "node:timers/promises";

import { Command, InvalidArgumentError } from "commander";

import { nearest } from "../base/near.ts";
import { call, jitter, open, problem, retryAfter, unreachable } from "./call.ts";
import { entryLine, type ShownEntry } from "./entry.ts";
import type { CliError } from "./exit.ts";
import { devicePath, withAt, withExamples, whole, type AtOption } from "./options.ts";
import { note, print, printJson } from "./output.ts";
import { serverEvents, type ServerEvent } from "./sse.ts";

interface FollowOptions extends AtOption {
  readonly after?: number;
  readonly types?: string;
  readonly count?: number;
}

/** Tries in a row that reach no broker before it gives up. What a broker says it cannot do now, it is asked for until it can. */
const TRIES = 8;

export function followCommand(): Command {
  const command = withAt(new Command("follow"))
    .description("print a device's stream as it grows, until Ctrl-C")
    .argument("<device>", "id of the device")
    .option("--after <offset>", "begin after this offset; 0: from the start (default: what comes from now on)", whole(0))
    .option("--types <list>", "only these, by comma: uplink,downlink,presence,state", types)
    .option("--count <n>", "end after so many entries", whole(1));
  withExamples(command, ["bellhop follow lamp-1", "bellhop follow lamp-1 --after 0 --types uplink", "bellhop follow lamp-1 -o json | jq .payload"]);
  return command.action(follow);
}

const TYPES = ["uplink", "downlink", "presence", "state"];

/** Refused here, before anything is waited for. */
function types(list: string): string {
  for (const type of list.split(",")) {
    if (TYPES.includes(type)) continue;
    const near = nearest(type, TYPES);
    throw new InvalidArgumentError(`There is no type ${JSON.stringify(type)}. ${near === undefined ? `The types are ${TYPES.join(", ")}.` : `Did you mean ${near}?`}`);
  }
  return list;
}

async function follow(device: string, options: FollowOptions): Promise<void> {
  let last = options.after === undefined ? await endOf(device, options.at) : String(options.after);
  let left = options.count ?? Infinity;
  let told = "";
  for (let failures = 0; ; failures += 1) {
    const query = new URLSearchParams({ after: last, ...(options.types === undefined ? {} : { type: options.types }) });
    let failure;
    let retryAfterMs = 0;
    try {
      const response = await open(options.at, { path: devicePath(device, `/stream?${query.toString()}`), headers: { accept: "text/event-stream" } });
      if (response.ok && response.body !== null) {
        for await (const event of serverEvents(response.body)) {
          if (event.event === "error") throw problem(200, parsed(event.data));
          failures = 0;
          told = "";
          if (event.id !== "") last = event.id;
          if (show(event, options)) left -= 1;
          if (left === 0) return void (await response.body.cancel().catch(() => undefined));
        }
        failure = await unreachable(options.at, new Error("the broker ended the stream"));
      } else {
        const text = await response.text();
        failure = problem(response.status, parsed(text));
        retryAfterMs = retryAfter(response.headers);
      }
    } catch (error) {
      failure = await unreachable(options.at, error);
    }
    const isGivenUp = failure.exit === "unreachable" ? failures + 1 >= TRIES : failure.exit !== "later";
    if (isGivenUp) throw failure;
    const words = inWords(failure);
    if (words !== told) note(`The stream broke (${words}); it goes on after offset ${last} when the broker answers.`);
    told = words;
    await sleep(Math.max(retryAfterMs, jitter(failures + 2)));
  }
}

function inWords({ exit, code, message, why }: CliError): string {
  return exit === "unreachable" ? why || message : [`${code}:`, message, why].join(" ").trimEnd();
}

/** Where the stream ends now: from here on nothing is missed, even if the first connection breaks before an event came. */
async function endOf(device: string, at: string): Promise<string> {
  const answer = await call(at, { path: devicePath(device), accept: [404] });
  return answer.status === 404 ? "0" : (answer.body as { end: string }).end;
}

/** True where it was an entry. */
function show(event: ServerEvent, options: FollowOptions): boolean {
  if (event.event === "gap") {
    note(`gap: ${event.data}`);
    return false;
  }
  const entry = JSON.parse(event.data) as ShownEntry;
  if (options.output === "json") printJson(entry);
  else print(entryLine(entry));
  return true;
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return text;
  }
}

// bellhop check: publishes to a running cluster, whatever happens to it meanwhile, and then proves that nothing answered was lost, doubled or reordered.

import { setTimeout as sleep } from "node:timers/promises";

import { Command, InvalidArgumentError } from "commander";

import { AskFailed } from "../check/nodes.ts";
import { Check, type CheckReport } from "../check/run.ts";
import { call, open } from "./call.ts";
import { CliError } from "./exit.ts";
import { authorities, withAt, withExamples, whole, type AtOption } from "./options.ts";
import { facts, note, print, printJson, styled } from "./output.ts";

interface CheckCommandOptions extends AtOption {
  readonly seconds: number;
  readonly devices: number;
  readonly inFlight: number;
  readonly publishers: number;
  readonly rate: number;
  readonly least: number;
  readonly tokens?: true;
  readonly keep?: true;
}

const PROGRESS_MS = 5000;

export function checkCommand(): Command {
  const command = withAt(new Command("check"))
    .description("publish through all nodes for a time, kill and cut what you like meanwhile, then hold every stream on every node against what was answered")
    .option("--seconds <seconds>", "how long it publishes; Ctrl-C ends it sooner, and judges", seconds, 30)
    .option("--devices <n>", "devices over TCP", whole(1, 1000), 12)
    .option("--in-flight <n>", "most messages of a device without an answer", whole(1, 256), 32)
    .option("--publishers <n>", "publishers over HTTP, one message at a time under a key each", whole(0, 1000), 6)
    .option("--rate <n>", "most messages a second of all devices", whole(1, 100_000), 1000)
    .option("--least <n>", "answers a second below which the check fails", whole(0), 1)
    .option("--tokens", "make a token for each device; needs an administrator's key")
    .option("--keep", "leave the devices and their streams there");
  withExamples(command, ["bellhop check", "bellhop check --at 127.0.0.1:4801 --seconds 600", "bellhop check --rate 5000 --least 1000 -o json"]);
  return command.action(check);
}

function seconds(text: string): number {
  const value = Number(text);
  if (!(value > 0 && value <= 86_400)) throw new InvalidArgumentError("A number of seconds up to 86400 is wanted.");
  return value;
}

async function check(options: CheckCommandOptions): Promise<void> {
  await call(options.at, { path: "/v1/status" }); // No broker: said in the usual words.
  const run = `check-${Date.now().toString(36)}`;
  const tokens = new Map<string, string>();
  if (options.tokens === true) for (let i = 0; i < options.devices; i += 1) tokens.set(`${run}-${i}`, await newToken(options.at, `${run}-${i}`));
  const ca = authorities();
  const { devices, publishers, inFlight, rate } = options;
  const running = await Check.start({
    at: [options.at], run, devices, publishers, inFlight, rate, ask: open, tokenOf: (device) => tokens.get(device), tls: ca === undefined ? undefined : { ca },
  }).catch((error: unknown) => {
    throw error instanceof AskFailed ? new CliError("unreachable", "unreachable", "The cluster's nodes are not known.", error.message) : error;
  });
  await loaded(running, options.seconds);
  note("The load has ended; reading everything back through every node.");
  const report = await running.finish();
  if (report.violationCount === 0 && options.keep !== true) await running.clean();
  const found = options.least > report.perSecond ? [`${report.perSecond.toFixed(1)} answers a second are fewer than --least ${options.least}`] : [];
  show(report, found, options);
  const count = report.violationCount + found.length;
  if (count > 0) throw new CliError("failed", "violations", `The check found ${count} ${count === 1 ? "thing that is wrong" : "things that are wrong"}.`, "", options.keep === true || report.violationCount > 0 ? `the streams are still there: bellhop follow ${run}-0 --after 0` : "");
}

/** Until the time is over, or Ctrl-C. */
async function loaded({ history, nodes }: Check, forSeconds: number): Promise<void> {
  note(`Publishing through ${nodes.map(({ node }) => node).join(", ")} for ${forSeconds} s. Kill and cut what you like; Ctrl-C judges now.`);
  const ended = new AbortController();
  const end = (): void => ended.abort();
  process.once("SIGINT", end).once("SIGTERM", end);
  let before = 0;
  const progress = setInterval(() => {
    note(`${history.answers.toLocaleString("en")} answered, ${Math.round((history.answers - before) / (PROGRESS_MS / 1000)).toLocaleString("en")} a second, ${history.unanswered} under way, ${history.violationCount} violations`);
    before = history.answers;
  }, PROGRESS_MS);
  await sleep(forSeconds * 1000, undefined, { signal: ended.signal }).catch(() => undefined);
  clearInterval(progress);
  process.off("SIGINT", end).off("SIGTERM", end);
}

async function newToken(at: string, device: string): Promise<string> {
  const { body } = await call(at, { method: "POST", path: `/v1/devices/${device}/credentials`, once: true });
  return (body as { token: string }).token;
}

function show(report: CheckReport, found: readonly string[], options: CheckCommandOptions): void {
  const violations = [...report.violations, ...found];
  const all = { ...report, violationCount: report.violationCount + found.length, violations };
  if (options.output === "json") return printJson(all);
  for (const violation of violations) print(`${styled(process.stdout, "red", "violation")} ${violation}`);
  const { answered, entries, copies, perSecond, longestPauseMs } = report;
  print(
    facts([
      ["answered", `${answered.devices.toLocaleString("en")} to devices, ${answered.publishers.toLocaleString("en")} to HTTP publishers, ${perSecond.toFixed(0)} a second`],
      ["longest pause", `${(longestPauseMs / 1000).toFixed(2)} s without any answer`],
      ["read back", `${entries.toLocaleString("en")} entries through ${report.nodes.join(", ")}; ${copies} copies compared`],
      ["violations", String(all.violationCount)],
    ]),
  );
}

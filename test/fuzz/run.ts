// Attacks a real broker's doors for some minutes: `npm run fuzz -- --minutes 2 [--door device|http] [--attack NAME] [--seed N]`.
// It fails when the broker ends, answers that it failed itself, takes more memory than it may, or when a device beside the attacks is disturbed:
// its connection ends, its publishes stand still, or its stream is not what it was told.

import { readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { Prng } from "../../src/base/prng.ts";
import { TYPE } from "../../src/wire/device.ts";
import { FRAME_HEADER_BYTES, frameLength } from "../../src/wire/frame.ts";
import { NodeProcess, testFolder } from "../faults/node.ts";
import { type Attack, pause } from "./attack.ts";
import { deviceAttacks } from "./device-attacks.ts";
import { httpAttacks } from "./http-attacks.ts";
import { Innocent } from "./innocent.ts";

const MiB = 1024 * 1024;
/** Attacks of a door at once. */
const AT_ONCE = 8;
/** An attack's connection is cut after one of these. */
const HOLDS_MS = [300, 300, 300, 1000, 3000];
const CHECK_MS = 2000;
/** The innocent device's publishes may stand still for so long: the machine has other work too. */
const STILL_MS = 15_000;
/** Anonymous memory that the broker may take beyond what it had before the first attack. */
const MOST_BYTES = 512 * MiB;
/** What the broker may hold of the past, so that hours of attacks need no more memory or disk than minutes; and what one address may ask, for asking alone takes a broker's time. */
const BOUNDED = ["--http-requests-per-address", "500", "--state-cache-devices", "10000", "--retain-bytes", "512MiB", "--tail-cache-bytes", "16MiB"];

export const DOORS: Readonly<Record<string, readonly Attack[]>> = { device: deviceAttacks, http: httpAttacks };

export interface FuzzResult {
  readonly violations: readonly string[];
  /** Connections by attack, and by what the broker answered to them. */
  readonly attacks: ReadonlyMap<string, number>;
  readonly answers: ReadonlyMap<string, number>;
  readonly stored: number;
  readonly slowestMs: number;
  readonly mostBytes: number;
}

/** @param doors what is done to each. @param progress called at each look at the broker. */
export async function fuzz(doors: Readonly<Record<string, readonly Attack[]>>, ms: number, seed: number, progress: (line: string) => void): Promise<FuzzResult> {
  const folder = testFolder("fuzz");
  const node = await NodeProcess.start(join(folder.path, "data"), { flags: BOUNDED });
  const attacks = new Map<string, number>();
  const answers = new Map<string, number>();
  const violations: string[] = [];
  const innocent = new Innocent(node);
  let isOver = false;
  let mostBytes = 0;
  try {
    await innocent.first();
    const before = anonymousBytes(node);
    const answered = (door: string) => (attack: string, sent: readonly Buffer[], answer: Buffer): void => {
      count(attacks, `${door}: ${attack}`);
      for (const code of codesOf(door, answer)) {
        count(answers, `${door}: ${code}`);
        if (code === "500" || code === "internal") violations.push(`The broker failed at "${attack}": ${answer.toString("latin1").slice(-600)}\n  sent ${keep(seed, sent)}`);
      }
    };
    const random = new Prng(seed);
    const attackers = Object.entries(doors).flatMap(([door, ways]) => Array.from({ length: AT_ONCE }, async () => {
      const own = random.fork();
      const target = { address: door === "http" ? node.http : node.device, answered: answered(door) };
      while (!isOver) await own.pick(ways).run({ ...target, holdMs: own.pick(HOLDS_MS) }, own);
    }));
    const end = performance.now() + ms;
    for (let stored = 0, movedAt = performance.now(); violations.length === 0 && performance.now() < end; ) {
      await pause(CHECK_MS);
      if (node.child.exitCode !== null || node.child.signalCode !== null) {
        violations.push(`The broker ended with ${node.child.exitCode ?? node.child.signalCode}: ${node.said}`);
        break;
      }
      const bytes = anonymousBytes(node) - before;
      mostBytes = Math.max(mostBytes, bytes);
      if (bytes > MOST_BYTES) violations.push(`The broker took ${Math.round(bytes / MiB)} MiB more.`);
      if (innocent.stored !== stored) movedAt = performance.now();
      else if (performance.now() - movedAt > STILL_MS) violations.push(`The innocent device's publishes stand still at ${stored}.`);
      stored = innocent.stored;
      violations.push(...(await innocent.check().catch((error: unknown) => [`The broker does not answer: ${String(error)}`])));
      progress(`${sum(attacks)} connections, ${stored} publishes beside them, ${Math.round(bytes / MiB)} MiB more`);
    }
    isOver = true;
    await Promise.all(attackers);
    await innocent.end();
    if (violations.length === 0) violations.push(...(await innocent.check()));
    if (node.child.exitCode === null && (await node.stop()).code !== 0) violations.push(`The broker did not end in order: ${node.said}`);
    for (const [door, ways] of Object.entries(doors)) for (const { name } of ways) if (!attacks.has(`${door}: ${name}`)) violations.push(`No attack "${name}" was made: the run is too short to say anything.`);
    return { violations, attacks, answers, stored: innocent.stored, slowestMs: innocent.slowestMs, mostBytes };
  } finally {
    isOver = true;
    node.child.kill("SIGKILL");
    rmSync(folder.path, { recursive: true, force: true });
  }
}

/** Statuses on the HTTP port; on the device port WELCOME and the code of CLOSE. "nothing" where none came. */
function codesOf(door: string, answer: Buffer): readonly string[] {
  const found = door === "http" ? [...answer.toString("latin1").matchAll(/HTTP\/1\.1 (\d{3})/g)].map((match) => match[1]!) : namesOf(answer);
  return found.length === 0 ? ["nothing"] : found;
}

function namesOf(answer: Buffer): readonly string[] {
  const names: string[] = [];
  for (let at = 0; at + FRAME_HEADER_BYTES <= answer.length; ) {
    const end = at + FRAME_HEADER_BYTES + frameLength(answer, at);
    if (end > answer.length) break; // more came than is kept
    const type = answer[at + FRAME_HEADER_BYTES + 1];
    if (type === TYPE.welcome) names.push("WELCOME");
    if (type === TYPE.close) names.push(answer.subarray(at + FRAME_HEADER_BYTES + 3, end).toString("latin1").match(/^[a-z_]+/)?.[0] ?? "CLOSE");
    at = end;
  }
  return names;
}

/** Memory that is the process's own: pages of the mapped state are the system's cache. */
function anonymousBytes(node: NodeProcess): number {
  return Number(/^RssAnon:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${node.child.pid}/status`, "latin1"))![1]) * 1024;
}

/** Writes what was sent to a file, and answers its name. */
function keep(seed: number, sent: readonly Buffer[]): string {
  const path = `fuzz-${seed}-${Date.now()}.bin`;
  writeFileSync(path, Buffer.concat(sent));
  return path;
}

function count(counts: Map<string, number>, name: string): void {
  counts.set(name, (counts.get(name) ?? 0) + 1);
}

function sum(counts: ReadonlyMap<string, number>): number {
  return [...counts.values()].reduce((all, one) => all + one, 0);
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const { values } = parseArgs({ options: { minutes: { type: "string", default: "2" }, door: { type: "string" }, attack: { type: "string" }, seed: { type: "string", default: String(Date.now() % 1e6) } } });
  const wanted = ([door, ways]: [string, readonly Attack[]]): [string, readonly Attack[]] =>
    [door, ways.filter(({ name }) => (values.door ?? door) === door && (values.attack ?? name) === name)];
  const doors = Object.fromEntries(Object.entries(DOORS).map(wanted).filter(([, ways]) => ways.length > 0));
  if (Object.keys(doors).length === 0 || !(Number(values.minutes) > 0)) {
    process.stderr.write(`--door is ${Object.keys(DOORS).join(" or ")}, --attack one of its attacks, --minutes a number above 0.\n`);
    process.exit(2);
  }
  process.stdout.write(`seed ${values.seed}\n`);
  let told = 0;
  const result = await fuzz(doors, Number(values.minutes) * 60_000, Number(values.seed), (line) => {
    if (performance.now() - told < 10_000) return;
    told = performance.now();
    process.stdout.write(`${line}\n`);
  });
  for (const [title, counts] of [["connections", result.attacks], ["answers", result.answers]] as const) {
    process.stdout.write(`${title}:\n${[...counts].sort().map(([name, times]) => `  ${String(times).padStart(8)}  ${name}\n`).join("")}`);
  }
  for (const violation of result.violations.slice(0, 20)) process.stdout.write(`VIOLATION ${violation}\n`);
  process.stdout.write(
    `${sum(result.attacks)} hostile connections; beside them ${result.stored} publishes of a device, each stored once, the slowest after ${Math.round(result.slowestMs)} ms; ` +
      `at most ${Math.round(result.mostBytes / MiB)} MiB more: ${result.violations.length} violations\n`,
  );
  process.exitCode = result.violations.length === 0 ? 0 : 1;
}

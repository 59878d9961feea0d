// npm run bench:failover: the gap in acknowledgements when a node is killed or frozen, of Bellhop and of its peers in one run, as tables for bench/README.md.
// `npm run bench:failover -- --rounds 10 --only leader-killed,leader-frozen --against nats,rabbitmq`; `--only load --burners 8`: beside processes that take the processor.

import { rmSync } from "node:fs";
import { loadavg } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { note, print } from "../../src/cli/output.ts";
import { packageFolder } from "../../src/observe/version.ts";
import { thousands } from "../figures.ts";
import { Machine } from "../machine.ts";
import { findNats } from "../peers/nats-servers.ts";
import { findRabbit } from "../peers/rabbitmq-servers.ts";
import { endChildrenWithThis } from "../processes.ts";
import { BELLHOP_SETTINGS, HARMS, startBellhopTrial } from "./bellhop.ts";
import { measureFullLoad } from "./full-load.ts";
import { LEADER_SIGNALS, startNatsTrial, startRabbitTrial, type LeaderSignal } from "./peers.ts";
import { measureSlowRate, slowDisks } from "./slow-disk.ts";
import { measure, type Outcome, type Trial } from "./trial.ts";

const CACHE = join(packageFolder(), ".cache");
const DATA = join(CACHE, "failover");
const PEERS = ["nats", "rabbitmq"];

interface Fault {
  readonly what: string;
  /** Milliseconds that are asked of Bellhop on a quiet machine; the median is held against it. */
  readonly asked: number | "no gap";
}

const FAULTS = {
  "leader-killed": { what: "leader, kill -9", asked: 400 },
  "leader-frozen": { what: "leader frozen", asked: 1200 },
  "follower-killed": { what: "follower, kill -9", asked: 1000 },
  "follower-frozen": { what: "follower frozen", asked: 1200 },
  "follower-slow": { what: "each sync of a follower's disk 200 ms longer", asked: 1200 },
  "etcd-killed": { what: "etcd's leader, kill -9", asked: "no gap" },
  "etcd-frozen": { what: "etcd's leader frozen", asked: "no gap" },
} satisfies Record<string, Fault>;
type FaultName = keyof typeof FAULTS;
/** Measured once each, behind the table. */
const BESIDES = ["slow-rate", "load"];

/** One that takes part in the rounds of a fault, in turns with the others. */
interface Contender {
  readonly name: string;
  readonly start: () => Promise<Trial>;
}

const { values } = parseArgs({
  options: {
    rounds: { type: "string", default: "5" },
    burners: { type: "string", default: "0" },
    only: { type: "string", default: [...Object.keys(FAULTS), ...BESIDES].join(",") },
    against: { type: "string", default: PEERS.join(",") },
    nats: { type: "string" },
  },
});
const only = chosen("--only", values.only, [...Object.keys(FAULTS), ...BESIDES]);
const against = chosen("--against", values.against, PEERS);

endChildrenWithThis();
rmSync(DATA, { recursive: true, force: true }); // of a run that was ended
const machine = new Machine();
print(machine.described());
print(`Bellhop: ${BELLHOP_SETTINGS}; a device publishes every 5 ms and an HTTP publisher one message after another, both through a node that nothing happens to.`);
const nats = against.includes("nats") ? findNats(values.nats, CACHE) : undefined;
const rabbit = against.includes("rabbitmq") ? findRabbit(CACHE) : undefined;
print(nats === undefined ? "NATS JetStream: not compared with." : `NATS ${nats.version}: JetStream on files, one stream of three copies, its defaults; a publisher every 5 ms, through a server that does not lead the stream.`);
print(rabbit === undefined ? "RabbitMQ: not compared with." : `RabbitMQ ${rabbit.version}: one quorum queue of three copies, its defaults; a publisher with confirms every 5 ms, through a node that does not lead the queue.`);
const disks = only.some((name) => name === "follower-slow" || name === "slow-rate") ? slowDisks(join(DATA, "disks")) : undefined;
print(`Each round on a fresh cluster of three, the contenders in turns; ${values.rounds} rounds, median (least–greatest), in ms.\n`);
try {
  await table();
  if (only.includes("slow-rate")) await slowRate();
  if (only.includes("load")) print(await measureFullLoad(Number(values.burners)));
} finally {
  rmSync(DATA, { recursive: true, force: true });
}
print(`\n${machine.noise()}`);

async function table(): Promise<void> {
  print("| what happens | | device, or publisher of a peer | HTTP publisher | the worst of them before | asked | answered and lost | load |\n|---|---|---|---|---|---|---|---|");
  for (const name of Object.keys(FAULTS) as FaultName[]) {
    if (!only.includes(name)) continue;
    const rows = new Map(contendersOf(name).map((contender) => [contender, [] as Outcome[]]));
    for (let round = 1; round <= Number(values.rounds); round += 1) {
      for (const [{ name: who, start }, done] of rows) {
        done.push(await measure(start));
        note(`${FAULTS[name].what}, round ${round} of ${values.rounds}: ${who} ${done.at(-1)!.after.map(Math.round).join(", ")} ms`);
      }
    }
    for (const [{ name: who }, done] of rows) print(row(name, who, done));
  }
}

function contendersOf(name: FaultName): Contender[] {
  if (name === "follower-slow") {
    if (disks === undefined) print(`| ${FAULTS[name].what} | not measured: it needs a C compiler (cc) | | | | | | |`);
    return disks === undefined ? [] : [{ name: "Bellhop", start: () => startBellhopTrial(disks.harm, disks.environment) }];
  }
  const contenders: Contender[] = [{ name: "Bellhop", start: () => startBellhopTrial(HARMS[name]) }];
  const signal: LeaderSignal | undefined = LEADER_SIGNALS[name as keyof typeof LEADER_SIGNALS];
  if (signal === undefined) return contenders;
  if (nats !== undefined) contenders.push({ name: "NATS", start: () => startNatsTrial(nats, join(DATA, "NATS"), signal) });
  if (rabbit !== undefined) contenders.push({ name: "RabbitMQ", start: () => startRabbitTrial(rabbit, join(DATA, "RabbitMQ"), signal) });
  return contenders;
}

function row(name: FaultName, who: string, done: readonly Outcome[]): string {
  const http = done.map(({ after }) => after[1]).filter((gap) => gap !== undefined);
  const lost = done.map((outcome) => outcome.lost);
  const cells = [
    FAULTS[name].what, who, spread(done.map(({ after }) => after[0]!)), http.length === 0 ? "" : spread(http), spread(done.map(({ before }) => before)),
    who === "Bellhop" ? FAULTS[name].asked : "", lost.includes(undefined) ? "no answer to ask for them" : lost.reduce((sum, one) => sum! + one!, 0), loadavg()[0]!.toFixed(1),
  ];
  return `| ${cells.join(" | ")} |`;
}

async function slowRate(): Promise<void> {
  if (disks === undefined) return print("\nThe rate beside a slow follower was not measured: it needs a C compiler (cc).");
  const { before, meanwhile, after } = await measureSlowRate(disks);
  print(`\nDevices that publish as fast as they are answered: ${thousands(before)} messages/s; in the first 10 s after a follower's disk became slow ${thousands(meanwhile)},`);
  print(`in the 20 s after those ${thousands(after)}: ${((100 * after) / before).toFixed(0)} % (asked: 80 %); medians of seconds. Every answered message was found on both other nodes.`);
}

function spread(values: readonly number[]): string {
  const sorted = values.toSorted((a, b) => a - b);
  const [least, middle, most] = [0, Math.floor(sorted.length / 2), sorted.length - 1].map((place) => Math.round(sorted[place]!));
  return `${middle} (${least}–${most})`;
}

function chosen(option: string, words: string, known: readonly string[]): readonly string[] {
  const names = words.split(",").filter((word) => word !== "" && word !== "none");
  for (const name of names) if (!known.includes(name)) throw new Error(`${option} takes ${known.join(", ")}; "${name}" is none of them.`);
  return names;
}

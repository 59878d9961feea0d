// Kills a real broker under load, again and again, and some of the devices' processes too; then holds the streams against what was answered.
// `npx tsx test/e2e/kill/run.ts --rounds 50` runs it on its own.

import { fork, spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { check, type Verdict } from "./check.ts";

const ROOT = fileURLToPath(new URL("../../../", import.meta.url));
const GROUPS = 3;
const DEVICES_IN_GROUP = 5;
const IN_FLIGHT = 120;
const BACKENDS = 8;
/** At every kill, so that it hits publishes on all their ways. */
export const LEAST_UNANSWERED = 1000;
const DEVICES = GROUPS * DEVICES_IN_GROUP;

export interface KillResult extends Verdict {
  /** Publishes unanswered when the broker was killed, in each round. */
  readonly unanswered: readonly number[];
  readonly deviceProcessesKilled: number;
}

/** @param seed of the moments and of who is killed */
export async function killRounds(rounds: number, seed: number, progress: (line: string) => void): Promise<KillResult> {
  const folder = mkdtempSync(join(tmpdir(), "bellhop-kill-"));
  const journals = join(folder, "journals");
  mkdirSync(journals);
  const random = randomFrom(seed);
  const [http, device] = [`127.0.0.1:${await freePort()}`, `127.0.0.1:${await freePort()}`];
  const startBroker = (): Promise<ChildProcess> => start(["start", "--data", join(folder, "data"), "--http", http, "--device", device, "--log-level", "error", "--checkpoint-seconds", "2"]);
  const startGroup = (group: number): Promise<ChildProcess> => startClient("devices.ts", [device, journals, String(group * DEVICES_IN_GROUP), String(DEVICES_IN_GROUP), String(IN_FLIGHT)]);
  const unanswered: number[] = [];
  const killed = new Set<string>();
  let deviceProcessesKilled = 0;
  const children = new Set<ChildProcess>();
  const own = async (starting: Promise<ChildProcess>): Promise<ChildProcess> => {
    const child = await starting;
    children.add(child);
    return child;
  };
  try {
    let broker = await own(startBroker());
    const groups: ChildProcess[] = [];
    for (let group = 0; group < GROUPS; group += 1) groups.push(await own(startGroup(group)));
    const backends = await own(startClient("backends.ts", [http, journals, String(BACKENDS), String(DEVICES)]));
    for (let round = 1; round <= rounds; round += 1) {
      await flowing(http);
      await pause(50 + random() * 700);
      const victim = random() < 0.3 ? Math.floor(random() * GROUPS) : -1;
      const before = await enoughUnanswered([...groups, backends]);
      broker.kill("SIGKILL");
      const killedGroup = victim >= 0 ? groups[victim]! : undefined;
      killedGroup?.kill("SIGKILL");
      await Promise.all([once(broker, "exit"), killedGroup === undefined ? undefined : once(killedGroup, "exit")]);
      unanswered.push(before);
      if (victim >= 0) {
        deviceProcessesKilled += 1;
        for (let i = 0; i < DEVICES_IN_GROUP; i += 1) killed.add(`device-${victim * DEVICES_IN_GROUP + i}`);
        groups[victim] = await own(startGroup(victim));
      }
      broker = await own(startBroker());
      progress(`round ${round}: ${before} publishes were unanswered at the kill${victim >= 0 ? "; a process of devices was killed too" : ""}`);
    }
    await Promise.all([...groups, backends].map(stopClient));
    const verdict = await check(http, journals, killed);
    broker.kill("SIGTERM");
    await once(broker, "exit");
    return { ...verdict, unanswered, deviceProcessesKilled };
  } finally {
    for (const child of children) if (child.exitCode === null && child.signalCode === null) child.kill("SIGKILL");
    if (process.env["KILL_TRACE"] === undefined) rmSync(folder, { recursive: true, force: true });
    else progress(`kept: ${folder}`);
  }
}

/** The command line as built; resolves when it says that it is ready. */
async function start(args: readonly string[]): Promise<ChildProcess> {
  const child = spawn(process.execPath, [join(ROOT, "bin/bellhop.js"), ...args], { cwd: ROOT, stdio: ["ignore", "ignore", "pipe"] });
  let said = "";
  await new Promise<void>((resolve, reject) => {
    child.stderr.setEncoding("utf8").on("data", (chunk: string) => {
      said += chunk;
      if (said.includes("is ready")) resolve();
    });
    child.once("exit", (code) => reject(new Error(`The broker ended with ${code} instead of starting:\n${said}`)));
  });
  return child;
}

async function startClient(file: string, args: readonly string[]): Promise<ChildProcess> {
  const child = fork(fileURLToPath(new URL(file, import.meta.url)), args, { execArgv: ["--import", "tsx"] });
  await once(child, "message");
  return child;
}

/** Counts until at least LEAST_UNANSWERED publishes wait: a count may fall between a batch of answers and the publishes that follow it. */
async function enoughUnanswered(clients: readonly ChildProcess[]): Promise<number> {
  for (let tries = 1; ; tries += 1) {
    const unanswered = await count(clients);
    if (unanswered >= LEAST_UNANSWERED || tries === 1000) return unanswered;
  }
}

/** Publishes that no answer has come for, now. */
async function count(clients: readonly ChildProcess[]): Promise<number> {
  const answers = await Promise.all(
    clients.map(async (client) => {
      client.send("count");
      const [answer] = (await once(client, "message")) as [{ unanswered: number }];
      return answer.unanswered;
    }),
  );
  return answers.reduce((sum, unanswered) => sum + unanswered, 0);
}

async function stopClient(client: ChildProcess): Promise<void> {
  client.send("stop");
  await once(client, "exit");
}

/** Every device is connected, and entries come. */
async function flowing(http: string): Promise<void> {
  const deadline = Date.now() + 60_000;
  let before = -1;
  for (;;) {
    const status = (await (await fetch(`http://${http}/v1/status`)).json()) as { devices: { connected: number }; numbers: Record<string, number> };
    const entries = status.numbers["entries_total"] ?? 0;
    if (status.devices.connected === DEVICES && before >= 0 && entries > before + 100) return;
    before = entries;
    if (Date.now() > deadline) throw new Error(`Not all devices came back within a minute: ${JSON.stringify(status)}`);
    await pause(20);
  }
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => {
    setTimeout(resolve, ms);
  });
}

/** A free port below 32768. */
async function freePort(): Promise<number> {
  for (;;) {
    const port = 20_000 + Math.floor(Math.random() * 12_000);
    const server = createServer();
    const free = await new Promise<boolean>((resolve) => {
      server.once("error", () => resolve(false));
      server.listen(port, "127.0.0.1", () => resolve(true));
    });
    if (!free) continue;
    await new Promise((resolve) => server.close(resolve));
    return port;
  }
}

/** mulberry32 */
function randomFrom(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const { values } = parseArgs({ options: { rounds: { type: "string", default: "50" }, seed: { type: "string", default: String(Date.now() % 1e6) } } });
  process.stdout.write(`seed ${values.seed}\n`);
  const result = await killRounds(Number(values.rounds), Number(values.seed), (line) => process.stdout.write(`${line}\n`));
  const { violations, unanswered, answeredByDevices, answeredByBackends, entries, deviceProcessesKilled } = result;
  for (const violation of violations.slice(0, 50)) process.stdout.write(`VIOLATION ${violation}\n`);
  process.stdout.write(
    `${unanswered.length} kills of the broker, ${deviceProcessesKilled} of device processes; unanswered at a kill: least ${Math.min(...unanswered)}, greatest ${Math.max(...unanswered)}\n` +
      `${answeredByDevices} answers to devices and ${answeredByBackends} to backends checked against ${entries} entries: ${violations.length} violations\n`,
  );
  process.exitCode = violations.length === 0 && Math.min(...unanswered) >= LEAST_UNANSWERED ? 0 : 1;
}

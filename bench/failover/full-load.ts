// Fail-overs that nobody provoked: nodes that are departed while devices publish as fast as they are answered.

import { spawn, type ChildProcess } from "node:child_process";
import { loadavg } from "node:os";
import { setTimeout as sleep } from "node:timers/promises";
import { Check } from "../../src/check/run.ts";
import type { Cluster } from "../cluster.ts";
import { startCluster } from "./bellhop.ts";

const LOADED_SECONDS = 60;
/** A burner ends by itself after this, in ms, whatever becomes of its parent. */
const BURN_MS = 300_000;

/** In one line; what was found wrong in lines behind it. @param burning processes that take the processor beside it */
export async function measureFullLoad(burning: number): Promise<string> {
  const cluster = await startCluster();
  const burners = startBurners(burning);
  try {
    const before = await departures(cluster);
    const check = await Check.start({
      at: cluster.nodes.map(({ http }) => http), run: `load-${Date.now().toString(36)}`, devices: 30, inFlight: 64, publishers: 4, rate: 1e6,
      ask: (at, { path, ...request }, signal) => fetch(`http://${at}${path}`, { ...request, signal }), tokenOf: () => undefined, tls: undefined,
    });
    await sleep(LOADED_SECONDS * 1000);
    const { perSecond, violationCount, violations, longestPauseMs } = await check.finish();
    const departed = (await departures(cluster)) - before;
    const beside = burning === 0 ? "" : ` beside ${burning} processes that take the processor`;
    const line = `${departed} departures by mistake in ${LOADED_SECONDS} s under full load${beside}, load of the machine ${loadavg()[0]!.toFixed(1)}: ${Math.round(perSecond)} answers a second, longest pause ${Math.round(longestPauseMs)} ms, ${violationCount} violations`;
    return [line, ...violations].join("\n  ");
  } finally {
    for (const burner of burners) burner.kill("SIGKILL");
    await cluster.stop();
  }
}

/** Processes that do nothing but count, a little behind all others: the nodes wait for their turns as on a machine that is shared. */
function startBurners(count: number): ChildProcess[] {
  const program = `require("node:os").setPriority(5); for (const end = Date.now() + ${BURN_MS}; Date.now() < end;);`;
  return Array.from({ length: count }, () => spawn(process.execPath, ["-e", program], { stdio: "ignore" }));
}

/** Departures in the control log so far. */
async function departures(cluster: Cluster): Promise<number> {
  let count = 0;
  for (let after = "0"; ; ) {
    const page = (await cluster.nodes[0]!.get(`/v1/control-log?after=${after}&limit=1000`)) as { entries: { commands: { type: string }[] }[]; next: string } | undefined;
    if (page === undefined) throw new Error("The control log cannot be read.");
    count += page.entries.flatMap(({ commands }) => commands).filter(({ type }) => type === "depart").length;
    if (page.entries.length === 0 || page.next === after) return count;
    after = page.next;
  }
}

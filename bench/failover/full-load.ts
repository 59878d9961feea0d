// Fail-overs that nobody provoked: nodes that are departed while devices publish as fast as they are answered.

import { setTimeout as sleep } from "node:timers/promises";
import { Check } from "../../src/check/run.ts";
import type { Cluster } from "../cluster.ts";
import { startCluster } from "./bellhop.ts";

const LOADED_SECONDS = 30;

/** In one line. */
export async function measureFullLoad(): Promise<string> {
  const cluster = await startCluster();
  try {
    const before = await departures(cluster);
    const check = await Check.start({
      at: cluster.nodes.map(({ http }) => http), run: `load-${Date.now().toString(36)}`, devices: 30, inFlight: 64, publishers: 4, rate: 1e6,
      ask: (at, { path, ...request }, signal) => fetch(`http://${at}${path}`, { ...request, signal }), tokenOf: () => undefined, tls: undefined,
    });
    await sleep(LOADED_SECONDS * 1000);
    const { perSecond, violationCount, longestPauseMs } = await check.finish();
    const departed = (await departures(cluster)) - before;
    return `${departed} nodes were departed by mistake in ${LOADED_SECONDS} s under full load: ${Math.round(perSecond)} answers a second, longest pause ${Math.round(longestPauseMs)} ms, ${violationCount} violations`;
  } finally {
    await cluster.stop();
  }
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

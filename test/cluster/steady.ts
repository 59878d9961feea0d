// Asking nodes as a real client does. On a loaded machine a node may be departed by the others for being slow, and begins a new incarnation: what is open is cut, and for a
// moment it says 503. A test whose subject that is not rides it out, and is not passed by it either: what fails without a departure fails.

import { setTimeout as sleep } from "node:timers/promises";
import { EXIT } from "../../src/cli/exit.ts";
import type { Ended } from "../cli/command.ts";
import { NodeProcess, type NodeOptions } from "../faults/node.ts";
import { call, type Call, type Reply } from "../http/broker.ts";
import { PATIENCE_MS } from "./eventually.ts";

/** For nodes whose fail-over is not timed: so slow must one be before the others go on without it. */
export const PATIENT = { BELLHOP_SUSPICION_MILLISECONDS: "3000" };
export const PATIENT_FLAGS: readonly string[] = ["--suspicion-milliseconds", PATIENT.BELLHOP_SUSPICION_MILLISECONDS];

const AGAIN_MS = 100;
/** Tries of a start or of a test's step, in all. */
const TRIES = 5;

/** Asks until there is an answer that is not "try again": a connection that is refused or cut, 429 and 503 are asked again. Give what must not happen twice a key. */
export async function ask(address: string, method: string, path: string, options: Call = {}): Promise<Reply> {
  const until = Date.now() + PATIENCE_MS;
  for (;;) {
    const reply = await call(address, method, path, options).catch((error: Error) => error);
    const isAnswer = !(reply instanceof Error) && reply.status !== 429 && reply.status !== 503;
    if (isAnswer) return reply;
    if (Date.now() > until) throw new Error(`${method} ${path} at ${address} got no answer: ${reply instanceof Error ? reply.message : `${reply.status} ${reply.text}`}`);
    await sleep(AGAIN_MS);
  }
}

/** Resolves when the node is ready; started again, as a service manager does it, where it ended because etcd did not answer in time. */
export async function startNode(data: string, options: NodeOptions): Promise<NodeProcess> {
  for (let tries = 1, inPlaceOf = options.inPlaceOf; ; tries += 1) {
    const node = await NodeProcess.launch(data, inPlaceOf === undefined ? options : { ...options, inPlaceOf });
    try {
      await node.ready();
      return node;
    } catch (error) {
      if (tries === TRIES || node.child.exitCode !== EXIT.later.code) throw error;
      inPlaceOf = node;
    }
  }
}

/** How a command ended; it is run again where the control log or the broker did not answer in time. */
export async function inTime(run: () => Promise<Ended>): Promise<Ended> {
  for (let tries = 1; ; tries += 1) {
    const ended = await run();
    if (ended.code !== EXIT.later.code || tries === TRIES) return ended;
  }
}

/** Runs it; where it fails, and one of these nodes has begun a new incarnation meanwhile, once more, with the number of the try: names that must be new are made of it. */
export async function unlessDeparted<T>(address: string, ids: readonly string[], run: (attempt: number) => Promise<T>): Promise<T> {
  for (let attempt = 1; ; attempt += 1) {
    const before = await incarnations(address, ids);
    try {
      return await run(attempt);
    } catch (error) {
      if (attempt === TRIES || (await incarnations(address, ids)) === before) throw error;
    }
  }
}

/** Of these nodes, as the table at this address shows them; a departed one counts as another. */
export async function incarnations(address: string, ids: readonly string[]): Promise<string> {
  const { json } = await ask(address, "GET", "/v1/cluster");
  const nodes = json.nodes as { readonly node: string; readonly incarnation: number; readonly state: string }[];
  return nodes.filter(({ node }) => ids.includes(node)).map(({ node, incarnation, state }) => `${node} ${incarnation} ${state === "departed"}`).sort().join(", ");
}

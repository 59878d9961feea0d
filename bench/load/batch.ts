// Batches over HTTP: connections that send one batch of NDJSON after the other, over many devices in turn; every result line is looked at, and what is refused for now is sent again.

import { Agent, request } from "node:http";
import { setTimeout as sleep } from "node:timers/promises";
import { chooser, type KnownDevices } from "./devices.ts";

export interface BatchPlan {
  /** HOST:PORT of the broker's HTTP. */
  readonly at: string;
  readonly connections: number;
  /** Messages of one batch. */
  readonly lines: number;
  readonly payloadBytes: number;
  /** New devices in turn; or devices that are known, picked at random. */
  readonly devices: number | KnownDevices;
  readonly seconds: number;
}

export interface BatchResult {
  /** Messages, in all and per second. */
  readonly stored: number;
  readonly perSecond: number;
  /** Lines that were refused for now, each time they were; they were stored later. */
  readonly refused: number;
}

/** A client that heard a refusal waits so long, in milliseconds. */
const PAUSE_MS = 1000;
const STORED = '"status":201,';

/** @throws when a line was refused for good, or answered as a duplicate although its key was never stored before */
export async function runBatchLoad(plan: BatchPlan): Promise<BatchResult> {
  const run = `batch-${Date.now().toString(36)}`;
  const payload = "x".repeat(plan.payloadBytes);
  const agent = new Agent({ keepAlive: true, maxSockets: plan.connections });
  const started = performance.now();
  const end = started + plan.seconds * 1000;
  const device = chooser(run, plan.devices);
  let sent = 0;
  let stored = 0;
  let refused = 0;
  const connection = async (): Promise<void> => {
    let again: string[] = [];
    while (performance.now() < end || again.length > 0) {
      const lines = again;
      while (lines.length < plan.lines && performance.now() < end) {
        sent += 1;
        lines.push(`{"device":"${device(sent)}","payload":"${payload}","key":"${run}-${sent}"}`);
      }
      again = refusedOf(lines, await sendBatch(plan.at, agent, `${lines.join("\n")}\n`));
      stored += lines.length - again.length;
      refused += again.length;
      if (again.length > 0) await sleep(PAUSE_MS);
    }
  };
  try {
    await Promise.all(Array.from({ length: plan.connections }, connection));
    return { stored, perSecond: (stored * 1000) / (performance.now() - started), refused };
  } finally {
    agent.destroy();
  }
}

/** The lines whose result says that they may be sent again. */
function refusedOf(lines: readonly string[], answer: string): string[] {
  const results = answer.split("\n").slice(0, -1);
  if (results.length !== lines.length) throw new Error(`${lines.length} lines were answered with ${results.length}. The answer begins: ${answer.slice(0, 300)}`);
  return lines.filter((_, place) => {
    const result = results[place]!;
    if (result.includes(STORED)) return false;
    if ((JSON.parse(result) as { readonly retryable?: boolean }).retryable === true) return true;
    throw new Error(`A line was not stored as the first of its key: ${result}`);
  });
}

/** The result lines. */
export function sendBatch(at: string, agent: Agent, body: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const outgoing = request(`http://${at}/v1/messages`, { method: "POST", agent, headers: { "content-type": "application/x-ndjson" } }, (response) => {
      let text = "";
      response.setEncoding("latin1").on("data", (some: string) => (text += some));
      response.on("error", reject).on("end", () => (response.statusCode === 200 ? resolve(text) : reject(new Error(`The broker answered ${response.statusCode}: ${text}`))));
    });
    outgoing.on("error", reject).end(body);
  });
}

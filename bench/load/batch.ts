// Batches over HTTP: connections that send one batch of NDJSON after the other, over many devices in turn; every result line is looked at.

import { Agent, request } from "node:http";

export interface BatchPlan {
  /** HOST:PORT of the broker's HTTP. */
  readonly at: string;
  readonly connections: number;
  /** Messages of one batch. */
  readonly lines: number;
  readonly payloadBytes: number;
  readonly devices: number;
  readonly seconds: number;
}

/** Messages stored per second. @throws when a line was not stored */
export async function runBatchLoad(plan: BatchPlan): Promise<number> {
  const run = `batch-${Date.now().toString(36)}`;
  const payload = "x".repeat(plan.payloadBytes);
  const agent = new Agent({ keepAlive: true, maxSockets: plan.connections });
  const started = performance.now();
  const end = started + plan.seconds * 1000;
  let sent = 0;
  const connection = async (): Promise<number> => {
    let stored = 0;
    while (performance.now() < end) {
      let body = "";
      for (let line = 0; line < plan.lines; line += 1) {
        sent += 1;
        body += `{"device":"${run}-${sent % plan.devices}","payload":"${payload}","key":"${run}-${sent}"}\n`;
      }
      const results = await sendBatch(plan.at, agent, body);
      const good = results.split(`"status":201`).length - 1;
      if (good !== plan.lines) throw new Error(`Of ${plan.lines} lines ${good} were stored. The answer begins: ${results.slice(0, 300)}`);
      stored += good;
    }
    return stored;
  };
  try {
    const stored = await Promise.all(Array.from({ length: plan.connections }, connection));
    return (stored.reduce((sum, some) => sum + some, 0) * 1000) / (performance.now() - started);
  } finally {
    agent.destroy();
  }
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

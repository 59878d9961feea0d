// Backends over HTTP, by autocannon: publishes with an idempotency key each, over many devices in turn; then what was answered is looked for in the streams.

import type autocannon from "autocannon";
import { chooser, type KnownDevices } from "./devices.ts";

export interface HttpPlan {
  /** HOST:PORT of the broker's HTTP. */
  readonly at: string;
  readonly connections: number;
  readonly payloadBytes: number;
  /** New devices in turn; or devices that are known, picked at random, whose streams hold more than this run's. */
  readonly devices: number | KnownDevices;
  readonly seconds: number;
  /** The floor of HTTP stores nothing: nothing is looked for afterwards. */
  readonly stores: boolean;
}

export interface HttpResult {
  readonly perSecond: number;
  /** Milliseconds. */
  readonly latency: { readonly p50: number; readonly p99: number; readonly max: number };
  /** Answered 2xx, answered otherwise, not answered. */
  readonly answered: number;
  readonly refused: number;
  readonly failed: number;
  /** Messages in the streams afterwards: all that were answered, and at most one more for each connection that the end cut off. */
  readonly found: number;
}

const ASKED_AT_ONCE = 50;

/** @param answered called when the last publish was answered, before they are looked for */
export async function runHttpLoad(plan: HttpPlan, { answered: told }: { readonly answered?: () => void } = {}): Promise<HttpResult> {
  const { default: cannon } = await import("autocannon"); // here, where it is used: every command of the command line would load it
  const run = `http-${Date.now().toString(36)}`;
  const device = chooser(run, plan.devices);
  let sent = 0;
  const options: autocannon.Options = {
    url: `http://${plan.at}`,
    connections: plan.connections,
    duration: plan.seconds,
    requests: [
      {
        method: "POST",
        headers: { "content-type": "application/json" },
        body: JSON.stringify("x".repeat(plan.payloadBytes - 2)),
        setupRequest(request) {
          sent += 1;
          return { ...request, path: `/v1/devices/${device(sent)}/messages`, headers: { ...request.headers, "idempotency-key": `${run}-${sent}` } };
        },
      },
    ],
  };
  const result = await new Promise<autocannon.Result>((resolve, reject) => {
    const instance = cannon(options, (error: Error | null, end) => (error === null ? resolve(end) : reject(error)));
    if (process.stderr.isTTY) showProgress(instance, plan.seconds, () => sent);
  });
  told?.();

  const answered = result["2xx"];
  const found = plan.stores && typeof plan.devices === "number" ? await countStored(plan.at, run, plan.devices) : answered;
  if (found < answered || found > answered + result.errors + plan.connections) throw new Error(`${answered} publishes were answered and ${found} are stored.`);
  return {
    perSecond: answered / result.duration,
    latency: { p50: result.latency.p50, p99: result.latency.p99, max: result.latency.max },
    answered,
    refused: result.non2xx,
    failed: result.errors,
    found,
  };
}

/** Ends of all streams of the run: nothing else is written to them. */
async function countStored(at: string, run: string, devices: number): Promise<number> {
  let found = 0;
  for (let first = 0; first < devices; first += ASKED_AT_ONCE) {
    const some = Array.from({ length: Math.min(ASKED_AT_ONCE, devices - first) }, (_, place) => endOf(at, `${run}-${first + place}`));
    for (const end of await Promise.all(some)) found += end;
  }
  return found;
}

/** 0 for a device that no publish has reached. */
async function endOf(at: string, device: string): Promise<number> {
  const response = await fetch(`http://${at}/v1/devices/${device}`);
  const answer = (await response.json()) as { end: string };
  if (!response.ok && response.status !== 404) throw new Error(`The broker answered ${response.status}: ${JSON.stringify(answer)}`);
  return response.ok ? Number(answer.end) : 0;
}

function showProgress(instance: autocannon.Instance, seconds: number, sent: () => number): void {
  let second = 0;
  let before = 0;
  instance.on("tick", () => {
    second += 1;
    process.stderr.write(`\r\x1b[Kmeasuring: ${(sent() - before).toLocaleString("en")} publishes in the last second, ${Math.max(0, seconds - second)} s left`);
    before = sent();
  });
  instance.on("done", () => process.stderr.write("\r\x1b[K"));
}

// Followers over server-sent events: so many connections, each following a stream, while batches publish at a fixed rate. Each must see every entry, in order.

import { Agent, request, type IncomingMessage } from "node:http";
import { setTimeout as sleep } from "node:timers/promises";

import { sendBatch } from "./batch.ts";
import { Histogram } from "./histogram.ts";

export interface SsePlan {
  /** HOST:PORT of the broker's HTTP. */
  readonly at: string;
  readonly followers: number;
  /** Streams that are followed, each by as many followers. */
  readonly devices: number;
  /** Events a second over all followers. */
  readonly eventsPerSecond: number;
  readonly seconds: number;
}

export interface SseResult {
  /** Events that the followers were to see, and saw within the time for the last ones. */
  readonly due: number;
  readonly seen: number;
  /** Milliseconds from the time an entry was due to be published until a follower had it. */
  readonly latency: { readonly p50: number; readonly p99: number; readonly max: number };
}

const TICK_MS = 50;
const CONNECTED_AT_ONCE = 50;
/** The last events have this long to come. */
const LAST_EVENTS_MS = 10_000;

/** @throws when a follower misses an entry or gets one out of order */
export async function runSseLoad(plan: SsePlan): Promise<SseResult> {
  const run = `sse-${Date.now().toString(36)}`;
  const latency = new Histogram();
  let seen = 0;
  const follow = followAt(plan.at, (sentAt) => {
    seen += 1;
    latency.record(performance.timeOrigin + performance.now() - sentAt);
  });
  const followers: IncomingMessage[] = [];
  for (let first = 0; first < plan.followers; first += CONNECTED_AT_ONCE) {
    const some = Array.from({ length: Math.min(CONNECTED_AT_ONCE, plan.followers - first) }, (_, i) => follow(`${run}-${(first + i) % plan.devices}`));
    followers.push(...(await Promise.all(some)));
  }

  const perDevice = plan.followers / plan.devices;
  const agent = new Agent({ keepAlive: true });
  const started = performance.now();
  let published = 0;
  let stored = 0;
  const batches: Promise<void>[] = [];
  let failure: Error | undefined;
  const publish = async (body: string): Promise<void> => {
    const results = await sendBatch(plan.at, agent, body);
    stored += results.split('"status":201,').length - 1;
  };
  for (let tick = 1; tick * TICK_MS <= plan.seconds * 1000; tick += 1) {
    await sleep(Math.max(0, started + tick * TICK_MS - performance.now()));
    const due = Math.floor((tick * TICK_MS * plan.eventsPerSecond) / perDevice / 1000);
    let body = "";
    for (; published < due; published += 1) body += `{"device":"${run}-${published % plan.devices}","payload":"${performance.timeOrigin + started + tick * TICK_MS}"}\n`;
    if (body !== "") batches.push(publish(body).catch((error: Error) => void (failure = error)));
    if (failure !== undefined) throw failure;
  }
  await Promise.all(batches);
  if (stored !== published) throw new Error(`Of ${published} entries ${published - stored} were refused.`);
  const due = published * perDevice;
  for (let waited = 0; seen < due && waited < LAST_EVENTS_MS; waited += 20) await sleep(20);
  for (const follower of followers) follower.destroy();
  agent.destroy();
  const { p50, p99, max } = latency.percentiles();
  return { due, seen, latency: { p50, p99, max } };
}

function followAt(at: string, event: (sentAt: number) => void): (device: string) => Promise<IncomingMessage> {
  const agent = new Agent({ maxSockets: Infinity });
  return (device) =>
    new Promise((resolve, reject) => {
      const outgoing = request(`http://${at}/v1/devices/${device}/stream`, { agent, headers: { accept: "text/event-stream" } }, (response) => {
        if (response.statusCode !== 200) return reject(new Error(`A follower was answered ${response.statusCode}.`));
        let rest = "";
        let offset = 0;
        response.setEncoding("latin1").on("error", () => undefined); // destroyed at the end
        response.on("data", (text: string) => {
          const blocks = (rest + text).split("\n\n");
          rest = blocks.pop()!;
          for (const block of blocks) {
            const id = /^id: (\d+)\ndata: .*"payload":"([\d.]+)"/.exec(block);
            if (id === null) continue; // a comment, or the time to come back
            offset += 1;
            if (Number(id[1]) !== offset) throw new Error(`A follower of ${device} got ${id[1]} where ${offset} was the next.`);
            event(Number(id[2]));
          }
        });
        resolve(response);
      });
      outgoing.on("error", reject).end();
    });
}

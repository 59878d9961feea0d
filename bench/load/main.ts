// The generator's own process: takes a plan as its argument, shows progress on stderr, sends the result to its parent.

import { bellhopDriver } from "./bellhop.ts";
import type { Driver } from "./driver.ts";
import { generate, type Progress } from "./generator.ts";
import { ANSWERED, type LoadPlan } from "./plan.ts";
import { natsDriver } from "../peers/nats.ts";
import { rabbitDriver } from "../peers/rabbitmq.ts";
import { redisDriver } from "../peers/redis.ts";

const DRIVERS = { bellhop: bellhopDriver, redis: redisDriver, nats: natsDriver, rabbitmq: rabbitDriver } satisfies Record<LoadPlan["peer"], (plan: LoadPlan) => Driver>;

/** Without a terminal, a line of progress in so many reports (seconds). */
const PLAIN_EVERY = 10;

let reports = 0;

function show(progress: Progress): void {
  reports += 1;
  const line =
    progress.phase === "verifying"
      ? `verifying: ${progress.unanswered} streams left`
      : `${progress.phase}: ${Math.round(progress.perSecond).toLocaleString("en")} messages/s, p99 ${progress.p99.toFixed(1)} ms, ` +
        `${progress.unanswered} unanswered, ${Math.ceil(progress.secondsLeft)} s left`;
  if (process.stderr.isTTY) process.stderr.write(`\r\x1b[K${line}`);
  else if (reports % PLAIN_EVERY === 0) process.stderr.write(`${line}\n`);
}

const plan = JSON.parse(process.argv[2] ?? "") as LoadPlan;
try {
  const result = await generate(plan, DRIVERS[plan.peer](plan), show, () => process.send!(ANSWERED));
  process.send!({ result });
} catch (error) {
  process.send!({ failed: error instanceof Error ? error.message : String(error) });
}
if (process.stderr.isTTY) process.stderr.write("\r\x1b[K");
process.disconnect();

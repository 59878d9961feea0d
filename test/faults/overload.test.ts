// A node behind a disk that hangs: publishes over HTTP are refused early and in words, devices wait, and all is well again afterwards.

import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, afterEach, expect, test } from "vitest";
import { connect } from "../../clients/device/src/index.ts";
import type { Reply } from "../http/broker.ts";
import { end, NodeProcess, testFolder } from "./node.ts";
import { delaying } from "./strace.ts";

const HANG_SECONDS = 3;
const folder = testFolder("overload");
let node: NodeProcess | undefined;
afterEach(() => end(node));
afterAll(() => folder.remove());

test("while the disk hangs new publishes get 503 at once; afterwards they are taken, and what was answered is stored once", { timeout: 90_000 }, async () => {
  // One write of each thread hangs, once the node has started.
  const through = delaying({ calls: "pwrite64", when: "40", seconds: HANG_SECONDS });
  node = await NodeProcess.start(join(folder.path, "hangs"), { through, flags: ["--overload-seconds", "1"] });
  const device = connect({ brokers: node.device, device: "waits" });
  const replies: { readonly reply: Reply; readonly ms: number; readonly key: string }[] = [];
  const open: Promise<unknown>[] = [];
  /** Sent at its time, whatever is answered. */
  const publish = async (key: string): Promise<void> => {
    const started = performance.now();
    const reply = await node!.publish("d", key, key);
    replies.push({ reply, key, ms: performance.now() - started });
  };
  const isRefused = ({ reply }: { readonly reply: Reply }): boolean => reply.status === 503;
  let sent = 0;
  const go = async (until: () => boolean): Promise<void> => {
    for (; !until(); sent += 1) {
      open.push(publish(`k${sent}`), ...(sent % 10 === 0 ? [device.publish("x")] : []));
      await sleep(10);
    }
  };
  await go(() => replies.some(isRefused));
  const refused = replies.filter(isRefused);
  for (const { reply } of refused) expect([reply.json.code, reply.json.retryable, reply.headers["retry-after"]]).toEqual(["overloaded", true, "1"]);
  expect(Math.min(...refused.map(({ ms }) => ms))).toBeLessThan(1000);
  // Back to normal: the last hundred were all taken.
  await go(() => replies.length > 100 && !replies.slice(-100).some(isRefused));
  await Promise.all(open);
  await device.close();
  const stored = (await node.stream("d")).map(({ payload }) => payload);
  expect(new Set(stored).size).toBe(stored.length);
  const answered = replies.filter(({ reply }) => reply.status < 300).map(({ key }) => key);
  expect(answered.filter((key) => !stored.includes(key))).toEqual([]);
});

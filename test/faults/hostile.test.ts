// Hostile TCP on a real node: silent and slow connections and devices that never read cost little memory, and another device's publishes
// go on.
// Hostile frames cost no more than a valid one of their size (absolute figures: bench/micro/hostile.ts).

import { afterAll, afterEach, expect, test } from "vitest";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { bytesTaken, decode, fastestMs } from "../../bench/micro/hostile.ts";
import { hostileFrames, validFrames } from "../../bench/micro/hostile-frames.ts";
import { HELLO, MinimalDevice, WELCOME, Wire } from "../device/minimal-client.ts";
import { end, NodeProcess, testFolder } from "./node.ts";

const MiB = 1024 * 1024;
const SILENT = 500;
const SLOW = 200;
const DEAF = 20;
const MESSAGE = "x".repeat(50_000);
const MESSAGES = 20;
/** All of them together: what sockets and the collector hold beside the connections, not a figure for each. */
const MOST_BYTES = 128 * MiB;

const folder = testFolder("hostile");
let node: NodeProcess | undefined;
afterEach(() => end(node));
afterAll(() => folder.remove());

test("silent, slow and deaf connections: memory stays bounded, and another device is acknowledged all the while", { timeout: 60_000 }, async () => {
  node = await NodeProcess.start(join(folder.path, "data"), { flags: ["--hello-timeout-seconds", "60"] });
  const other = new MinimalDevice("other");
  await other.connect(node.device);
  await other.publish(Array.from({ length: 1000 }, (_one, i) => `${i}`));
  const before = node.residentBytes;

  const silent = Array.from({ length: SILENT }, () => new Wire(node!.device));
  const slow = Array.from({ length: SLOW }, () => new Wire(node!.device));
  const deaf = Array.from({ length: DEAF }, () => new Wire(node!.device));
  for (const [i, wire] of deaf.entries()) {
    wire.send([HELLO, 1, `deaf-${i}`, "", 0, 1n, 1, 1]);
    await wire.await(WELCOME);
    wire.socket.pause();
  }
  let greatest = 0;
  for (let i = 0; i < MESSAGES; i += 1) {
    for (const wire of slow) wire.socket.write(i === 0 ? Buffer.from("000000ff", "hex") : Buffer.of(0x91)); // a HELLO, a byte at a time
    await Promise.all(deaf.map((_wire, at) => node!.publish(`deaf-${at}`, MESSAGE)));
    await other.publish([`beside ${i}`]);
    greatest = Math.max(greatest, node.residentBytes);
  }
  await sleep(0);
  expect(other.acked).toBe(1000 + MESSAGES);
  expect(greatest - before).toBeLessThan(MOST_BYTES);
  for (const wire of [...silent, ...slow, ...deaf]) wire.end();
  await expect.poll(async () => (await node!.call("GET", "/v1/status")).json.devices.connected, { timeout: 20_000 }).toBe(1);
  other.wire.end();
});

test("a hostile frame of 64 KiB costs no more than ten times a valid one of that size, and less than 1 MiB", () => {
  for (const [name, frame] of Object.entries(validFrames)) expect(decode(frame), name).toBe("taken");
  const valid = Math.max(...Object.values(validFrames).map((frame) => fastestMs(frame)));
  for (const [name, frame] of Object.entries(hostileFrames)) {
    expect(decode(frame), name).not.toBe("taken");
    expect(fastestMs(frame) / valid, name).toBeLessThan(10);
    expect(bytesTaken(frame), name).toBeLessThan(MiB);
  }
});

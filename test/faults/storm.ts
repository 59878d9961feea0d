// A storm of reconnects: the node is killed under many devices and started again; all come back, what each held is stored once, and memory stays bounded.

import { once } from "node:events";
import { join } from "node:path";
import { expect } from "vitest";
import { needOpenFiles } from "../../bench/machine.ts";
import { connect, type Device } from "../../clients/device/src/index.ts";
import { NodeProcess } from "./node.ts";

/** Connected one after the other in such groups: the storm is what comes after the kill. */
const AT_ONCE = 200;
/** What the node's process may take for each device beside what it takes alone. */
const BYTES_PER_DEVICE = 64 * 1024;
const ALONE_BYTES = 400 * 1024 * 1024;
/** They come back together, and not in the half minute that they would spread over by themselves. */
const MOST_BACKOFF_SECONDS = 2;

/** @param hellosPerSecond what the node admits: below the number of devices most are refused at first, and given a slot. @returns what it took, in milliseconds */
export async function storm(folder: string, count: number, hellosPerSecond: number): Promise<{ readonly refusals: number; readonly backMs: number }> {
  needOpenFiles(count + 200);
  const flags = ["--hellos-per-second", String(hellosPerSecond), "--max-connections", String(count + 100)];
  let node = await NodeProcess.start(join(folder, `storm-${count}`), { flags });
  const devices: Device[] = [];
  try {
    while (devices.length < count) {
      const some = Array.from({ length: Math.min(AT_ONCE, count - devices.length) }, (_one, i) => connect({ brokers: node.device, device: `d${devices.length + i}`, maxBackoff: MOST_BACKOFF_SECONDS }));
      devices.push(...some);
      await Promise.all(some.map((device) => device.publish("before")));
    }
    let refusals = 0;
    let stopped = 0;
    for (const device of devices) {
      device.on("connection", ({ state, error }) => {
        if (state === "waiting" && (error as { code?: string } | undefined)?.code === "overloaded") refusals += 1;
        if (state === "stopped") stopped += 1;
      });
    }
    node.child.kill("SIGKILL");
    await once(node.child, "close");
    const held = devices.map((device) => device.publish("held"));
    node = await NodeProcess.start(node.data, { flags, inPlaceOf: node });
    const started = performance.now();
    await Promise.all(held);
    const backMs = performance.now() - started;
    expect(stopped).toBe(0);
    expect(devices.every(({ connection }) => connection === "connected")).toBe(true);
    expect(node.residentBytes).toBeLessThan(ALONE_BYTES + count * BYTES_PER_DEVICE);
    for (const { id } of devices.filter((_one, i) => i % Math.ceil(count / 50) === 0)) {
      const uplink = (await node.stream(id)).filter(({ type }) => type === "uplink");
      expect(uplink.map(({ payload }) => payload)).toEqual(["before", "held"]);
    }
    return { refusals, backMs };
  } finally {
    await Promise.all(devices.map((device) => device.close()));
    node.child.kill("SIGKILL");
  }
}

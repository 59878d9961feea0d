// R26: no message is sent before it is on the device's own disk. The sync is held back here (it is the real one all the same), and the message with it.

import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test, vi } from "vitest";
import { connect } from "../../../clients/device/src/index.ts";
import { writeAck } from "../../../src/wire/device.ts";
import { ScriptedBroker } from "./scripted-broker.ts";

const disk = vi.hoisted(() => ({ held: [] as (() => void)[], isSlow: false }));
vi.mock("node:fs", async (original) => {
  const fs = await original<typeof import("node:fs")>();
  const fdatasync = (fd: number, done: (error: Error | null) => void): void => {
    if (disk.isSlow) disk.held.push(() => fs.fdatasync(fd, done));
    else fs.fdatasync(fd, done);
  };
  return { ...fs, fdatasync };
});

test("a message waits for the sync of its outbox, and those that came meanwhile share the next one", async () => {
  const folder = mkdtempSync(join(tmpdir(), "bellhop-durable-"));
  const broker = await ScriptedBroker.start();
  const device = connect({ brokers: broker.address, device: "d1", outbox: join(folder, "outbox") });
  const peer = await broker.peer();
  await peer.greeting();
  peer.welcome();
  const first = device.publish("m1");
  expect(await peer.publishes(1)).toEqual(["1:m1"]);
  peer.send((to) => writeAck(to, 1));
  await first;

  disk.isSlow = true;
  const rest = [device.publish("m2")];
  await expect.poll(() => disk.held.length).toBe(1);
  rest.push(device.publish("m3"), device.publish("m4"));
  device.state.get().catch(() => undefined);
  expect((await peer.next()).type).toBe("state"); // sent behind the publishes, and yet before them
  disk.held[0]!();
  expect(await peer.publishes(1)).toEqual(["2:m2"]);
  await expect.poll(() => disk.held.length).toBe(2);
  disk.isSlow = false;
  disk.held[1]!();
  expect(await peer.publishes(2)).toEqual(["3:m3", "4:m4"]);
  peer.send((to) => writeAck(to, 4));
  await Promise.all(rest);
  await device.close();
  broker.stop();
  rmSync(folder, { recursive: true });
});

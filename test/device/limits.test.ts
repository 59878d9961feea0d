// The device server's own limits, made small, on a real node: a device that never reads, a storm of handshakes, a line that is full.

import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { connect as dial } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import { connect } from "../../clients/device/src/index.ts";
import { type Broker, startBroker } from "../../src/broker.ts";
import { type Settings, settingsWith } from "../../src/config.ts";
import { type DeviceLimits, deviceLimits } from "../../src/device/limits.ts";
import { DevicePort } from "../../src/device/port.ts";
import { TcpServer } from "../../src/device/server.ts";
import { readCertificates } from "../../src/doors/certificates.ts";
import { createLog } from "../../src/observe/log.ts";
import { Writer } from "../../src/wire/msgpack.ts";
import { HELLO_DEFAULTS, writeHello, writePing } from "../../src/wire/device.ts";
import { ACK, CLOSE, HELLO, MinimalDevice, Wire } from "./minimal-client.ts";

let folder: string;
let settings: Settings;
let broker: Broker;
let server: TcpServer;
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "bellhop-limits-"));
  settings = settingsWith({ data: folder, http: "127.0.0.1:0", device: "127.0.0.1:0", bucketCount: 4, logLevel: "fatal", minFreeBytes: 0 });
  broker = await startBroker(settings);
});
afterEach(() => server.close());
afterAll(async () => {
  await broker.close();
  rmSync(folder, { recursive: true });
});

async function listen(limits: Partial<DeviceLimits>): Promise<string> {
  const port = new DevicePort("127.0.0.1:0", false);
  server = new TcpServer(broker.node, { ...deviceLimits(settings), ...limits }, createLog("fatal", "n1"), port, readCertificates(settings));
  await server.open();
  return port.address;
}

test("a device that never reads is closed, and what it can make the broker take is bounded", async () => {
  // The other bounds are out of reach, so that this one alone can be what ends it.
  const address = await listen({ unreadMs: 500, helloMs: 600_000, mostWaitingBytes: 1 << 30 });
  const socket = dial({ host: "127.0.0.1", port: Number(address.split(":")[1]) });
  socket.on("error", () => undefined);
  await once(socket, "connect");
  const out = new Writer();
  writeHello(out, { protocol: 1, device: "deaf", token: "", session: 0, nonce: 1n, oldest: 1, next: 1, ...HELLO_DEFAULTS });
  socket.write(Buffer.from(out.written));
  await once(socket, "data"); // WELCOME
  socket.pause();
  out.clear();
  for (let i = 0; i < 20_000; i += 1) writePing(out);
  // Each PING is answered, and no answer is read: the broker stops reading, and so the writing stops too.
  const pings = Buffer.from(out.written);
  const more = (): void => {
    while (!socket.destroyed && socket.write(pings));
  };
  socket.on("drain", more);
  more();
  await expect.poll(() => server.connections, { timeout: 10_000 }).toBe(0);
  expect(socket.bytesWritten - socket.writableLength).toBeLessThan(64 * 1024 * 1024);
  socket.destroy();
});

test("a storm of handshakes: as many as the rate allows get in, the others get slots, and all are in at last", async () => {
  const address = await listen({ hellosPerSecond: 5, hellosAtOnce: 5 });
  const wires = Array.from({ length: 20 }, (_one, i) => {
    const wire = new Wire(address);
    wire.send([HELLO, 1, `storm${i}`, "", 0, BigInt(Date.now()) << 20n, 1, 1]);
    return wire;
  });
  const first = await Promise.all(wires.map((wire) => wire.next()));
  const slots = first.filter((frame) => frame?.[0] === CLOSE).map((frame) => frame![3] as number);
  expect(slots.length).toBeGreaterThan(5);
  expect(slots.length).toBeLessThan(16);
  expect(new Set(slots).size).toBe(slots.length); // a slot for each
  wires.forEach((wire) => wire.end());

  const devices = Array.from({ length: 20 }, (_one, i) => connect({ brokers: address, device: `storm${i}` }));
  await Promise.all(devices.map((device) => device.publish("in")));
  await Promise.all(devices.map((device) => device.close()));
});

test("a line over its bytes is not read on until it has been acknowledged, and nothing is lost by that", async () => {
  const address = await listen({ pauseReadingBytes: 1 });
  const device = new MinimalDevice("full");
  await device.connect(address);
  await device.publish(Array.from({ length: 3000 }, (_one, i) => `m${i}`));
  expect(device.acked).toBe(3000);
  device.wire.send(device.frame(3000, Buffer.from("m2999")));
  expect((await device.wire.await(ACK))[1]).toBe(3000);
  device.wire.end();
});

test("one address has no more connections than its share", async () => {
  const address = await listen({ connectionsPerAddress: 3 });
  const wires = Array.from({ length: 3 }, () => new Wire(address));
  await expect.poll(() => server.connections).toBe(3);
  const fourth = new Wire(address);
  expect((await fourth.next())?.[1]).toBe("overloaded");
  wires.forEach((wire) => wire.end());
  await expect.poll(() => server.connections).toBe(0);
  const fifth = new MinimalDevice("fifth");
  await fifth.connect(address);
  fifth.wire.end();
});

test("a device that publishes faster than its rate is read more slowly, nothing is refused, and another one does not wait", async () => {
  const address = await listen({ messagesPerDevice: 20 });
  const [fast, other] = [new MinimalDevice("fast"), new MinimalDevice("other")];
  await Promise.all([fast.connect(address), other.connect(address)]);
  expect(fast.window).toBe(20);
  const started = performance.now();
  const slow = fast.publish(Array.from({ length: 80 }, (_one, i) => `m${i}`));
  await other.publish(["at once"]);
  expect(fast.acked).toBeLessThan(80);
  await slow;
  expect(performance.now() - started).toBeGreaterThan(1000); // 80 at 20/s, of which a second's share may come at once
  [fast, other].forEach(({ wire }) => wire.end());
});

test("bytes have a rate too, and a single large message does not stop a device for long", async () => {
  const address = await listen({ bytesPerDevice: 50_000 });
  const device = new MinimalDevice("large");
  await device.connect(address);
  const started = performance.now();
  await device.publish(Array.from({ length: 4 }, () => "x".repeat(40_000)));
  await device.publish(["after"]);
  expect(performance.now() - started).toBeGreaterThan(1000);
  device.wire.end();
});

test("when all lines together hold too much they are read in turns, and nothing is lost or left behind", async () => {
  const address = await listen({ backlogBytes: 1 });
  const devices = Array.from({ length: 5 }, (_one, i) => new MinimalDevice(`turn${i}`));
  for (const device of devices) await device.connect(address);
  await Promise.all(devices.map((device) => device.publish(Array.from({ length: 500 }, (_one, i) => `m${i}`))));
  expect(devices.map(({ acked }) => acked)).toEqual(devices.map(() => 500));
  devices.forEach(({ wire }) => wire.end());
});

test("HELLOs of one address have a rate: too_many_requests tells when to come back, and all are in at last", async () => {
  const address = await listen({ hellosPerAddress: 3 });
  const wires = Array.from({ length: 12 }, (_one, i) => {
    const wire = new Wire(address);
    wire.send([HELLO, 1, `rate${i}`, "", 0, BigInt(Date.now()) << 20n, 1, 1]);
    return wire;
  });
  const refused = (await Promise.all(wires.map((wire) => wire.next()))).filter((frame) => frame?.[0] === CLOSE);
  expect(refused.length).toBeGreaterThan(0);
  expect(refused.every((frame) => frame?.[1] === "too_many_requests" && (frame[3] as number) > 0 && frame[4] === true)).toBe(true);
  wires.forEach((wire) => wire.end());
  const devices = Array.from({ length: 6 }, (_one, i) => connect({ brokers: address, device: `rate${i}` }));
  await Promise.all(devices.map((device) => device.publish("in")));
  await Promise.all(devices.map((device) => device.close()));
});

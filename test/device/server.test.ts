// The device server on a real broker: bad input, silence, floods and slow readers end one connection with a code, and touch no other.

import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import { connect, type Device } from "../../clients/device/src/index.ts";
import { malformedFrames } from "../wire/page.ts";
import { runBroker, type RunningBroker } from "../http/broker.ts";
import { ACK, CLOSE, DELIVER, type Frame, HELLO, MinimalDevice, PING, PONG, PUBLISH, RECEIVED, WELCOME, Wire } from "./minimal-client.ts";

const MISSED = 26;
let broker: RunningBroker;
let other: Device;
beforeAll(async () => {
  broker = await runBroker({ helloTimeoutSeconds: 1, maxConnections: 50, maxFrameBytes: 262_144, maxPayloadBytes: 65_536 });
  other = connect({ brokers: broker.device, device: "other" });
  await other.publish("before");
});
// Whatever a test did: another device's connection lived through it.
afterEach(async () => {
  await other.publish("after");
  expect(other.connection).toBe("connected");
});
afterAll(async () => {
  await other.close();
  await broker.stop();
});

const hello = (device: string, ...more: (number | null)[]): Frame => [HELLO, 1, device, "", 0, BigInt(Date.now()) << 20n, 1, 1, ...more];

async function open(device: string, ...more: (number | null)[]): Promise<Wire> {
  const wire = new Wire(broker.device);
  wire.send(hello(device, ...more));
  await wire.await(WELCOME);
  return wire;
}

/** The code of the CLOSE that ends the connection. */
async function closed(wire: Wire): Promise<string> {
  let code = "no CLOSE";
  for (let frame = await wire.next(); frame !== undefined; frame = await wire.next()) if (frame[0] === CLOSE) code = frame[1] as string;
  return code;
}

test.each(malformedFrames)("a frame that is malformed ($name) is answered with CLOSE", async ({ name, frame }) => {
  const wire = name === "protocol 2" ? new Wire(broker.device) : await open("bad");
  wire.socket.write(frame);
  expect(await closed(wire)).toBe(name === "protocol 2" ? "unsupported_version" : "protocol");
});

test.each<[string, Frame]>([
  ["PUBLISH", [PUBLISH, 1, 0, ["x", null, null]]],
  ["PING", [PING]],
  ["RECEIVED", [RECEIVED, 1, 1]],
])("%s before WELCOME is out of turn", async (_name, frame) => {
  const wire = new Wire(broker.device);
  wire.send(frame);
  expect(await closed(wire)).toBe("protocol");
});

test("a second HELLO, RECEIVED of what does not exist and a series below 1 are out of turn", async () => {
  const second = await open("second");
  second.send(hello("second"));
  expect(await closed(second)).toBe("protocol");
  const ahead = await open("ahead");
  ahead.send([RECEIVED, 1_000_000, 0]);
  expect(await closed(ahead)).toBe("protocol");
  const below = await open("below", 0, 7, 16);
  below.send([PUBLISH, 12, 0, ["x", null, null]]); // 12 modulo 16 is nearest to -4
  expect(await closed(below)).toBe("protocol");
});

test("a frame over the limit is not waited for; before HELLO the limit is 2,048 bytes", async () => {
  const large = await open("large");
  large.socket.write(Buffer.from("7fffffff", "hex"));
  expect(await closed(large)).toBe("too_large");
  const stranger = new Wire(broker.device);
  stranger.socket.write(Buffer.from("00000801", "hex"));
  expect(await closed(stranger)).toBe("too_large");
});

test("silence instead of HELLO, and a HELLO that comes a byte at a time, end with the hello time-out", async () => {
  const silent = new Wire(broker.device);
  const slow = new Wire(broker.device);
  const drip = setInterval(() => slow.socket.writable && slow.socket.write(Buffer.of(0)), 100);
  slow.socket.write(Buffer.from("000000ff", "hex"));
  expect(await closed(silent)).toBe("deadline");
  expect(await closed(slow)).toBe("deadline");
  clearInterval(drip);
});

test("a device that falls silent is closed with idle, one that pings is not", async () => {
  const silent = await open("silent", 0, 64, 0, 1);
  const pings = await open("pings", 0, 64, 0, 1);
  const timer = setInterval(() => pings.send([PING]), 300);
  expect(await closed(silent)).toBe("idle");
  clearInterval(timer);
  pings.send([PING]);
  expect((await pings.await(PONG))[0]).toBe(PONG);
  pings.end();
});

test("over the number of connections: CLOSE overloaded with a time to come back", async () => {
  const sockets = Array.from({ length: 60 }, () => new Wire(broker.device));
  const first = await Promise.race(sockets.map((wire) => wire.next().then((frame) => frame)));
  expect([first?.[0], first?.[1], first?.[4]]).toEqual([CLOSE, "overloaded", true]);
  expect(first?.[3]).toBeGreaterThan(0);
  sockets.forEach((wire) => wire.end());
});

test("the receive window bounds what is out, and RECEIVED moves it", async () => {
  const device = await open("window", 0, 64, 0, 60, 3);
  for (let i = 1; i <= 5; i += 1) {
    const { status } = await broker.call("POST", "/v1/devices/window/messages", { body: `d${i}`, headers: { "content-type": "text/plain" } });
    expect(status).toBe(201);
  }
  const offsets: number[] = [];
  for (let i = 0; i < 3; i += 1) offsets.push((await device.await(DELIVER))[1] as number);
  device.send([PING]);
  expect((await device.next())?.[0]).toBe(PONG); // and not a fourth message
  device.send([RECEIVED, offsets[2]!, offsets[1]!]);
  const texts = [await device.await(DELIVER), await device.await(DELIVER)].map((frame) => ((frame[2] as Frame)[0] as Buffer).toString());
  expect(texts).toEqual(["d4", "d5"]);
  device.end();
});

test("a message that has expired is skipped; one longer than the device takes is told as missed", async () => {
  const post = (body: string, headers: Record<string, string> = {}): Promise<{ readonly status: number; readonly json: { readonly offset: string } }> =>
    broker.call("POST", "/v1/devices/expires/messages", { body, headers: { "content-type": "text/plain", ...headers } });
  const away = await open("expires");
  away.end();
  expect((await post("late", { "bellhop-expires": new Date(Date.now() + 300).toISOString() })).status).toBe(201);
  const long = (await post("x".repeat(5000))).json.offset;
  expect((await post("good")).status).toBe(201);
  const until = Date.now() + 300;
  while (Date.now() <= until) await new Promise((resolve) => setTimeout(resolve, 20));
  const device = new Wire(broker.device);
  device.send(hello("expires", 0, 64, 0, 60, 64, 4096));
  await device.await(WELCOME);
  const frames = [await device.next(), await device.next()];
  expect(frames[0]).toEqual([MISSED, Number(long), Number(long), "too_large"]);
  expect([frames[1]?.[0], ((frames[1]?.[2] as Frame)[0] as Buffer).toString()]).toEqual([DELIVER, "good"]);
  device.end();
});

test("a message over the limit is voided with its code, and the next number is stored", async () => {
  const device = await open("voids");
  const frame = Buffer.concat([Buffer.from("000186b5940201 0093c6000186a0".replace(" ", ""), "hex"), Buffer.alloc(100_000), Buffer.from("c0c0", "hex")]);
  frame.writeUInt32BE(frame.length - 4);
  device.socket.write(frame);
  device.send([PUBLISH, 2, 0, [Buffer.from("small"), null, null]]);
  const voids: unknown[] = [];
  for (let last = 0; last < 2; ) {
    const ack = await device.await(ACK);
    last = ack[1] as number;
    voids.push(...((ack[2] as unknown[] | undefined) ?? []));
  }
  expect(voids).toEqual([[1, "too_large"]]);
  const { json } = await broker.call("GET", "/v1/devices/voids/stream?type=uplink");
  expect(json.entries.map((entry: { payload: unknown }) => entry.payload)).toHaveLength(1);
  device.end();
});

test("a resume is told in WELCOME what was voided, for its ACK may be lost", async () => {
  const device = new Wire(broker.device);
  device.send(hello("resumes"));
  const session = (await device.await(WELCOME))[2] as number;
  device.send([PUBLISH, 1, 1, [Buffer.from("no object"), null, null]], [PUBLISH, 2, 0, [Buffer.from("m2"), null, null]]);
  while ((await device.await(ACK))[1] !== 2);
  device.end();
  const again = new Wire(broker.device);
  again.send([HELLO, 1, "resumes", "", session, (BigInt(Date.now()) << 20n) + 9n, 1, 3]);
  const welcome = await again.await(WELCOME);
  expect([welcome[3], welcome[14]]).toEqual([2, [[1, "bad_document"]]]);
  again.end();
});

test("a stopping broker tells its devices when to come back", async () => {
  const stopping = await runBroker();
  const device = new MinimalDevice("leaves");
  await device.connect(stopping.device);
  const [, close] = await Promise.all([stopping.stop(), device.wire.next()]);
  expect([close?.[0], close?.[1], close?.[4]]).toEqual([CLOSE, "stopping", true]);
  expect(close?.[3]).toBeGreaterThan(0);
});

// The page proved: a client written from docs/device-protocol.md alone, against the real broker.

import { afterAll, beforeAll, expect, test } from "vitest";
import { runBroker, type RunningBroker } from "../http/broker.ts";
import { ACK, BROKEN, CLOSE, DELIVER, DOCUMENT, type Frame, GOODBYE, HELLO, MinimalDevice, PING, PONG, PUBLISH, RECEIVED, REFUSE, STATE, WELCOME, Wire } from "./minimal-client.ts";

let broker: RunningBroker;
beforeAll(async () => {
  broker = await runBroker();
});
afterAll(() => broker.stop());

/** Payloads of the device's uplinks as the broker stored them, in order. */
async function stored(device: string): Promise<string[]> {
  const payloads: string[] = [];
  for (let after = "0"; ; ) {
    const { json } = await broker.call("GET", `/v1/devices/${device}/stream?after=${after}&limit=1000&type=uplink`);
    for (const entry of json.entries) payloads.push(entry.encoding === "base64" ? Buffer.from(entry.payload, "base64").toString() : String(entry.payload));
    if (json.next === after) return payloads;
    after = json.next;
  }
}

const numbered = (from: number, to: number): string[] => Array.from({ length: to - from + 1 }, (_one, i) => `m${from + i}`);

test("numbers of 16 bits cross the wrap", { timeout: 60_000 }, async () => {
  const device = new MinimalDevice("wraps");
  await device.connect(broker.device);
  await device.publish(numbered(1, 66_000));
  expect(device.acked).toBe(66_000);
  expect(await stored("wraps")).toEqual(numbered(1, 66_000));
  device.wire.end();
});

test("a wrap of 16 is crossed again and again, with the window that it allows", async () => {
  const device = new MinimalDevice("wraps16", 16);
  await device.connect(broker.device);
  expect(device.window).toBe(7);
  await device.publish(numbered(1, 100));
  expect(await stored("wraps16")).toEqual(numbered(1, 100));
  device.wire.end();
});

test("a duplicate is acknowledged again and not stored again", async () => {
  const device = new MinimalDevice("twice");
  await device.connect(broker.device);
  await device.publish(["m1", "m2"]);
  device.wire.send(device.frame(2, Buffer.from("m2")), device.frame(1, Buffer.from("m1")));
  expect(await device.wire.await(ACK)).toEqual([ACK, 2]);
  await device.publish(["m3"]);
  expect(await stored("twice")).toEqual(["m1", "m2", "m3"]);
  device.wire.end();
});

test("a gap is refused, and what follows it is dropped until the expected one comes", async () => {
  const device = new MinimalDevice("gap");
  await device.connect(broker.device);
  device.wire.send(device.frame(2, Buffer.from("m2")), device.frame(3, Buffer.from("m3")));
  expect(await device.wire.await(REFUSE)).toEqual([REFUSE, 1, "gap", true]);
  await device.publish(["m1", "m2", "m3"]);
  expect(await stored("gap")).toEqual(["m1", "m2", "m3"]);
  device.wire.end();
});

test("a connection lost with messages in flight is resumed: each is stored once, in order", async () => {
  const device = new MinimalDevice("resumes");
  await device.connect(broker.device);
  await device.publish(numbered(1, 500));
  for (const payload of numbered(501, 1200)) device.hold(payload);
  device.sendWithinWindow();
  device.wire.end();
  const session = device.session;
  await device.connect(broker.device);
  expect(device.session).toBe(session);
  await device.settle();
  expect(await stored("resumes")).toEqual(numbered(1, 1200));
  device.wire.end();
});

test("a session that does not join on is BROKEN; the one opened in its place, on the same connection, tells where it stood", async () => {
  const device = new MinimalDevice("breaks");
  await device.connect(broker.device);
  await device.publish(["m1", "m2"]);
  device.wire.end();
  const wire = new Wire(broker.device);
  wire.send([HELLO, 1, "breaks", "", device.session, BigInt(Date.now() + 1) << 20n, 6, 6]); // as if 3, 4 and 5 had been acknowledged
  const [, , last, nonce] = await wire.await(BROKEN);
  expect([last, nonce]).toEqual([2, 0]);
  wire.send([PUBLISH, 6, 0, [Buffer.from("sent before it knew"), null, null]], [PING]);
  wire.send([HELLO, 1, "breaks", "", 0, BigInt(Date.now() + 2) << 20n, 1, 1, device.session]);
  const welcome = await wire.await(WELCOME);
  expect([welcome[2] === device.session, welcome[3], welcome[4]]).toEqual([false, 0, 2]);
  wire.end();
});

test("a nonce that is behind is answered with the one to exceed; the same nonce again gives the same session", async () => {
  const open = async (nonce: bigint): Promise<{ readonly wire: Wire; readonly answer: Frame }> => {
    const wire = new Wire(broker.device);
    wire.send([HELLO, 1, "clock", "", 0, nonce, 1, 1]);
    const answer = await wire.next();
    return { wire, answer: answer ?? [] };
  };
  const first = await open(1_000_000n);
  first.wire.end();
  const again = await open(1_000_000n);
  expect(again.answer.slice(0, 3)).toEqual(first.answer.slice(0, 3));
  again.wire.end();
  const behind = await open(999_999n);
  expect([behind.answer[0], behind.answer[3]]).toEqual([BROKEN, 1_000_000]);
  behind.wire.send([HELLO, 1, "clock", "", 0, 1_000_001n, 1, 1]);
  expect((await behind.wire.await(WELCOME))[3]).toBe(0);
  behind.wire.end();
});

test("a message to the device is delivered, and not again once handled", async () => {
  const device = new MinimalDevice("hears");
  await device.connect(broker.device);
  const call = { body: "open", headers: { "content-type": "text/plain", "idempotency-key": "k1" } };
  const answer = await broker.call("POST", "/v1/devices/hears/messages", call);
  expect(answer.status).toBe(201);
  const [, offset, body, time] = await device.wire.await(DELIVER);
  expect(String(offset as number)).toBe(answer.json.offset);
  expect((body as unknown[])[0]?.toString()).toBe("open");
  expect(Math.abs(Number(time) - Date.now())).toBeLessThan(60_000);
  device.wire.send([RECEIVED, offset as number, offset as number], [PING]);
  await device.wire.await(PONG);

  device.wire.end();
  const second = await broker.call("POST", "/v1/devices/hears/messages", { ...call, body: "shut", headers: { ...call.headers, "idempotency-key": "k2" } });
  const welcome = await device.connect(broker.device);
  expect([welcome[11], welcome[12]]).toEqual([offset, offset]);
  expect(String((await device.wire.await(DELIVER))[1] as number)).toBe(second.json.offset);
  device.wire.end();
});

test("state: a patch is stored in order, asked for, and a change of `desired` is pushed", async () => {
  const device = new MinimalDevice("state");
  await device.connect(broker.device);
  device.wire.send([PUBLISH, 1, 1, [`{"valve":"shut"}`, null, null]], [PUBLISH, 2, 1, [`[1]`, null, null]]);
  const acks = [];
  for (let last = 0; last < 2; ) {
    const ack = await device.wire.await(ACK);
    acks.push(...((ack[2] as [number, string][] | undefined) ?? []));
    last = ack[1] as number;
  }
  expect(acks).toEqual([[2, "bad_document"]]);
  device.wire.send([STATE, 7]);
  const document = await device.wire.await(DOCUMENT);
  expect([document[1], document[2], document[4], (document[5] as Buffer).toString()]).toEqual([7, 0, 1, `{"valve":"shut"}`]);
  await broker.call("PATCH", "/v1/devices/state/state", { body: `{"valve":"open"}`, headers: { "content-type": "application/merge-patch+json" } });
  const push = await device.wire.await(DOCUMENT);
  expect([push[1], push[2], (push[3] as Buffer).toString(), push.length]).toEqual([0, 1, `{"valve":"open"}`, 4]);
  device.wire.send([GOODBYE]);
  expect(await device.wire.next()).toBeUndefined();
});

test("a newer session takes over, and the older connection is told", async () => {
  const first = new MinimalDevice("moves");
  await first.connect(broker.device);
  const second = new MinimalDevice("moves");
  const welcome = await second.connect(broker.device);
  expect(welcome[0]).toBe(WELCOME);
  const close = await first.wire.next();
  expect([close?.[0], close?.[1], close?.[4]]).toEqual([CLOSE, "taken_over", false]);
  expect(await first.wire.next()).toBeUndefined();
  second.wire.end();
});

// The device client against a scripted broker: what it does when it is refused, paused, broken, sent away, and when its outbox is full.

import { afterEach, beforeEach, expect, test } from "vitest";
import { connect, type Broken, type ConnectionChange, type Device, type DeviceOptions } from "../../../clients/device/src/index.ts";
import { encodeBody } from "../../../src/wire/body.ts";
import { writeAck, writeBroken, writeClose, writeCredit, writeDeliver, writeDocument, writeMissed, writeRefuse } from "../../../src/wire/device.ts";
import { type Peer, ScriptedBroker } from "./scripted-broker.ts";

let broker: ScriptedBroker;
let device: Device | undefined;
beforeEach(async () => {
  broker = await ScriptedBroker.start();
});
afterEach(async () => {
  await device?.close();
  broker.stop();
});

function start(options: Partial<DeviceOptions> = {}): Device {
  device = connect({ brokers: broker.address, device: "d1", ...options });
  return device;
}

async function welcomed(window = 64): Promise<Peer> {
  const peer = await broker.peer();
  await peer.greeting();
  peer.welcome({ window });
  return peer;
}

const codeOf = (error: { readonly code?: string }): string => error.code ?? "?";
/** Publishes, and leaves the answer be. */
const offer = (text: string): void => void device!.publish(text).catch(codeOf);
const event = <T>(from: Device, name: string): Promise<T> => new Promise((resolve) => from.once(name as "broken", (one) => resolve(one as T)));

test("publishes go out in order within the window, and settle by the ACK that covers them", async () => {
  const settled: number[] = [];
  start();
  for (let i = 1; i <= 5; i += 1) device!.publish(`m${i}`).then(() => settled.push(i), codeOf);
  const peer = await welcomed(3);
  expect(await peer.publishes(3)).toEqual(["1:m1", "2:m2", "3:m3"]);
  peer.send((to) => writeAck(to, 2));
  expect(await peer.publishes(2)).toEqual(["4:m4", "5:m5"]);
  expect(settled).toEqual([1, 2]);
  expect(device!.waiting).toBe(3);
});

test("REFUSE gap: it goes back to the expected number, once for all the frames of before", async () => {
  start();
  for (let i = 1; i <= 4; i += 1) offer(`m${i}`);
  const peer = await welcomed();
  await peer.publishes(4);
  peer.send((to) => writeRefuse(to, 2, "gap", true));
  expect(await peer.publishes(3)).toEqual(["2:m2", "3:m3", "4:m4"]);
  peer.send((to) => writeRefuse(to, 2, "gap", true), (to) => writeMissed(to, 1, 2, "forgotten")); // for a frame of before the way back
  await event(device!, "missed");
  const last = device!.publish("m5");
  expect(await peer.publishes(1)).toEqual(["5:m5"]);
  peer.send((to) => writeAck(to, 5));
  await last;
});

test("REFUSE for now: it sends again after a while, and not while the window is 0", async () => {
  start();
  const one = device!.publish("m1");
  const peer = await welcomed();
  await peer.publishes(1);
  peer.send((to) => writeCredit(to, 0), (to) => writeRefuse(to, 1, "storage_full", true));
  peer.send((to) => writeMissed(to, 1, 2, "forgotten"));
  await event(device!, "missed"); // both were read
  peer.send((to) => writeCredit(to, 64));
  expect(await peer.publishes(1)).toEqual(["1:m1"]);
  peer.send((to) => writeAck(to, 1));
  await one;
});

test("REFUSE for good: the message is rejected and its number spent on nothing", async () => {
  start();
  const first = device!.publish("m1").catch(codeOf);
  const second = device!.publish("m2");
  const peer = await welcomed();
  await peer.publishes(2);
  peer.send((to) => writeRefuse(to, 1, "too_large", false));
  expect(await peer.publishes(2)).toEqual(["1:", "2:m2"]);
  expect(await first).toBe("too_large");
  peer.send((to) => writeAck(to, 2));
  await second;
});

test("a voided number rejects its message alone", async () => {
  start();
  const results = Promise.allSettled(["a", "b", "c"].map((text) => device!.publish(text)));
  const peer = await welcomed();
  await peer.publishes(3);
  peer.send((to) => writeAck(to, 3, [{ series: 2, code: "bad_document" }]));
  expect((await results).map((one) => (one.status === "rejected" ? codeOf(one.reason as { code: string }) : "stored"))).toEqual(["stored", "bad_document", "stored"]);
});

test("CREDIT 0 pauses and CREDIT resumes", async () => {
  start();
  const peer = await welcomed();
  peer.send((to) => writeCredit(to, 0), (to) => writeMissed(to, 1, 2, "forgotten"));
  await event(device!, "missed");
  offer("m1");
  const asked = device!.state.get();
  expect((await peer.next()).type).toBe("state"); // sent after the publish was offered
  peer.send((to) => writeCredit(to, 64), (to) => writeDocument(to, 1, { version: 0, json: Buffer.from("{}") }, { version: 2, json: Buffer.from(`{"a":1}`) }));
  expect(await peer.publishes(1)).toEqual(["1:m1"]);
  expect((await asked).reported).toEqual({ version: 2, document: { a: 1 } });
});

test("a connection lost is resumed: it drops what was taken and sends the rest again", async () => {
  start();
  const results = [1, 2, 3].map((i) => device!.publish(`m${i}`));
  const first = await welcomed();
  await first.publishes(3);
  first.socket.destroy();
  const second = await broker.peer();
  const hello = await second.greeting();
  expect([hello.session, hello.oldest, hello.next]).toEqual([7, 1, 4]);
  second.welcome({ last: 2 });
  expect(await second.publishes(1)).toEqual(["3:m3"]);
  await results[0];
  await results[1];
  second.send((to) => writeAck(to, 3));
  await results[2];
});

test("an OPEN whose answer was lost is asked again; the nonce rises with every HELLO, also of a resume", async () => {
  start();
  const first = await broker.peer();
  const { nonce } = await first.greeting();
  first.socket.destroy();
  const second = await broker.peer();
  const again = await second.greeting();
  expect([again.session, again.nonce > nonce]).toEqual([0, true]);
  second.welcome();
  second.socket.destroy();
  const third = await broker.peer();
  const resume = await third.greeting();
  expect([resume.session, resume.nonce > again.nonce]).toEqual([7, true]);
});

test("BROKEN: it tells what may be missing, leaves the session, and renumbers what was not stored", async () => {
  start();
  const stored = device!.publish("m1");
  const first = await welcomed();
  await first.publishes(1);
  first.send((to) => writeAck(to, 1));
  await stored;
  const rest = ["m2", "m3"].map((text) => device!.publish(text));
  await first.publishes(2);
  first.socket.destroy();
  const second = await broker.peer();
  const { nonce } = await second.greeting();
  const told = event<Broken>(device!, "broken");
  second.send((to) => writeBroken(to, 2, 0, 0n)); // the broker lacks 1
  expect(await told).toEqual({ session: 7, generation: 2, missing: { from: 1, to: 1 }, doubled: false });
  const hello = await second.greeting();
  expect([hello.session, hello.leaves, hello.nonce > nonce]).toEqual([0, 7, true]);
  second.welcome({ session: 9, leftAt: 2 }); // m2 had come all the same
  expect(await second.publishes(1)).toEqual(["1:m3"]);
  await rest[0];
  second.send((to) => writeAck(to, 1));
  await rest[1];
});

test("a nonce that is behind is raised above the one the broker names", async () => {
  start();
  const peer = await broker.peer();
  await peer.greeting();
  peer.send((to) => writeBroken(to, 1, 0, 2n ** 63n));
  expect((await peer.greeting()).nonce).toBe(2n ** 63n + 1n);
  peer.welcome();
  peer.socket.destroy();
  const second = await broker.peer();
  expect(await second.greeting()).toMatchObject({ session: 7, nonce: 2n ** 63n + 2n });
  second.send((to) => writeBroken(to, 1, 0, 2n ** 63n + 9n));
  expect(await second.greeting()).toMatchObject({ session: 7, nonce: 2n ** 63n + 10n }); // it goes on with its session
});

test("CLOSE with a slot: it comes back, not before its slot", async () => {
  start();
  const changes: ConnectionChange[] = [];
  device!.on("connection", (change) => changes.push(change));
  const peer = await broker.peer();
  await peer.greeting();
  peer.send((to) => writeClose(to, "overloaded", "", 40, true));
  await broker.peer();
  const waiting = changes.find((change) => change.state === "waiting");
  expect(waiting?.retryInMs).toBeGreaterThanOrEqual(40);
  expect(waiting?.error).toMatchObject({ code: "overloaded" });
});

test("taken over: it stops instead of fighting, and says so to everyone who waits", async () => {
  start();
  const publishing = device!.publish("m1").catch(codeOf);
  const looping = device![Symbol.asyncIterator]().next().catch(codeOf);
  const peer = await welcomed();
  await peer.publishes(1);
  peer.send((to) => writeClose(to, "taken_over", "", 0, false));
  expect(await publishing).toBe("taken_over");
  expect(device!.connection).toBe("stopped");
  expect(await device!.publish("m2").catch(codeOf)).toBe("taken_over");
  expect(await looping).toBe("taken_over");
  await expect(device![Symbol.asyncIterator]().next()).rejects.toThrow(/^taken_over: A newer session/);
  await device!.close();
  expect(await device![Symbol.asyncIterator]().next()).toEqual({ done: true, value: undefined }); // its own wish
});

test("the outbox's limit: publish rejects with outbox_full, and room() waits", async () => {
  start({ outboxMessages: 2 });
  const first = device!.publish("m1");
  offer("m2");
  expect(await device!.publish("m3").catch(codeOf)).toBe("outbox_full");
  const room = device!.room();
  const peer = await welcomed();
  await peer.publishes(2);
  peer.send((to) => writeAck(to, 1));
  await first;
  await room;
  offer("m3");
  expect(await peer.publishes(1)).toEqual(["3:m3"]);
});

test("what expired before it was sent, or is longer than the broker takes, becomes a void; the rest goes its way", async () => {
  start();
  const expired = device!.publish("late", { expires: 1 }).catch(codeOf);
  const large = device!.publish("x".repeat(70_000)).catch(codeOf);
  const good = device!.publish("good", { expires: new Date(Date.now() + 3_600_000) });
  const peer = await welcomed();
  expect(await peer.publishes(3)).toEqual(["1:", "2:", "3:good"]);
  expect([await expired, await large]).toEqual(["expired", "too_large"]);
  peer.send((to) => writeAck(to, 3));
  await good;
});

test("messages come in order and once; asking for the next says that the one before is handled", async () => {
  start();
  const first = await welcomed();
  const deliver = (offset: number) => (to: Parameters<typeof writeDeliver>[0]): void => writeDeliver(to, offset, encodeBody(`d${offset}`, { n: String(offset) }), 1000 + offset);
  first.send(deliver(3), deliver(5), deliver(8));
  const messages = device![Symbol.asyncIterator]();
  const one = (await messages.next()).value!;
  expect([one.offset, one.text(), one.headers["n"], one.time]).toEqual([3, "d3", "3", 1003]);
  let received = await first.next();
  while (received.type === "received" && received.delivered < 8) received = await first.next();
  expect(received).toEqual({ type: "received", delivered: 8, handled: 0 });
  await messages.next();
  expect(await first.next()).toEqual({ type: "received", delivered: 8, handled: 3 });

  // Lost with 8 not taken yet: it says what it has, and takes nothing twice.
  first.socket.destroy();
  const second = await broker.peer();
  expect((await second.greeting()).after).toBe(5);
  second.welcome({ delivered: 8, handled: 3, end: 20 });
  second.send(deliver(5), deliver(8), deliver(9));
  expect([(await messages.next()).value?.offset, (await messages.next()).value?.offset]).toEqual([8, 9]);
});

test("a pushed `desired` is an event, and only the newer one counts", async () => {
  start();
  const peer = await welcomed();
  const told = event(device!, "desired");
  peer.send((to) => writeDocument(to, 0, { version: 2, json: Buffer.from(`{"a":2}`) }, undefined), (to) => writeDocument(to, 0, { version: 1, json: Buffer.from(`{"a":1}`) }, undefined));
  await told;
  expect(device!.state.desired).toEqual({ version: 2, document: { a: 2 } });
});

test("a frame that is none ends the connection, not the device", async () => {
  start();
  const first = await welcomed();
  first.socket.write(Buffer.from("0000000163", "hex"));
  expect((await first.next()).type).toBe("end");
  expect((await (await broker.peer()).greeting()).session).toBe(7);
});

test("close says goodbye, and what is not stored rejects", async () => {
  start();
  const publishing = device!.publish("m1").catch(codeOf);
  const peer = await welcomed();
  await peer.publishes(1);
  const looping = device![Symbol.asyncIterator]().next();
  await device!.close();
  expect(await looping).toEqual({ done: true, value: undefined });
  expect((await peer.next()).type).toBe("goodbye");
  expect(await publishing).toBe("closed");
});

test("a resume whose ACK was lost: what was voided rejects with its code, the rest resolves", async () => {
  start();
  const results = Promise.allSettled(["a", "b", "c", "d"].map((text) => device!.publish(text)));
  const first = await welcomed();
  await first.publishes(4);
  first.socket.destroy();
  const second = await broker.peer();
  await second.greeting();
  second.welcome({ last: 4, voids: [{ series: 2, code: "bad_document" }, { series: 4, code: "too_large" }] });
  expect((await results).map((one) => (one.status === "rejected" ? codeOf(one.reason as { code: string }) : "stored"))).toEqual(["stored", "bad_document", "stored", "too_large"]);
});

test("a broker that stops, or has too many devices, gives a slot; the next try is at the other broker, and not before the slot", async () => {
  const other = await ScriptedBroker.start();
  start({ brokers: [broker.address, other.address] });
  const changes: ConnectionChange[] = [];
  device!.on("connection", (change) => changes.push(change));
  for (const code of ["stopping", "overloaded", "stopping"]) {
    const peer = await Promise.race([broker.peer(), other.peer()]);
    await peer.greeting();
    peer.send((to) => writeClose(to, code, "", 30, true));
    await peer.next(); // it has gone
  }
  await expect.poll(() => changes.filter(({ state }) => state === "connecting").length).toBe(4);
  const tried = changes.filter(({ state }) => state === "connecting").map((change) => change.broker);
  expect(new Set(tried.slice(0, 2))).toEqual(new Set([broker.address, other.address]));
  expect(tried.slice(2)).toEqual(tried.slice(0, 2));
  const waits = changes.filter(({ state }) => state === "waiting");
  expect(waits.map(({ error }) => codeOf(error as { code?: string }))).toEqual(["stopping", "overloaded", "stopping"]);
  for (const { retryInMs } of waits) expect(retryInMs).toBeGreaterThanOrEqual(30);
  await device!.close();
  other.stop();
});

test("asleep it has no connection; what is published meanwhile waits, and what was sent to it comes when it wakes", async () => {
  start();
  const states: string[] = [];
  device!.on("connection", ({ state }) => states.push(state));
  const first = await welcomed();
  const before = device!.publish("m1");
  await first.publishes(1);
  first.send((to) => writeAck(to, 1));
  await before;
  device!.sleep();
  expect([(await first.next()).type, (await first.next()).type]).toEqual(["goodbye", "end"]);
  const asleep = device!.publish("m2");
  expect([device!.connection, device!.waiting]).toEqual(["sleeping", 1]);
  device!.wake();
  const second = await broker.peer();
  expect(await second.greeting()).toMatchObject({ session: 7, oldest: 2, next: 3 });
  second.welcome({ last: 1, end: 9 });
  expect(await second.publishes(1)).toEqual(["2:m2"]);
  second.send((to) => writeAck(to, 2), (to) => writeDeliver(to, 9, encodeBody("queued"), 1));
  await asleep;
  expect((await device![Symbol.asyncIterator]().next()).value?.text()).toBe("queued");
  expect(states).toEqual(["connecting", "connected", "sleeping", "connecting", "connected"]);
});

test("asleep before it ever connected it stays so, and closes from there", async () => {
  start();
  device!.sleep();
  const publishing = device!.publish("m1").catch(codeOf);
  expect(device!.connection).toBe("sleeping");
  await device!.close();
  expect(await publishing).toBe("closed");
  device!.wake();
  expect(device!.connection).toBe("closed");
});

test("a sign of life goes out in time", { timeout: 20_000 }, async () => {
  start({ keepAlive: 1 });
  const peer = await broker.peer();
  expect((await peer.greeting()).keepAlive).toBe(1);
  peer.welcome({ keepAlive: 1 });
  await expect.poll(() => peer.pings, { timeout: 10_000 }).toBe(1);
});

test("woken on a connection that is half open: it asks, hears nothing, and makes a new one", { timeout: 30_000 }, async () => {
  start({ keepAlive: 40_000 });
  const first = await broker.peer();
  expect((await first.greeting()).keepAlive).toBe(40_000);
  first.welcome({ keepAlive: 40_000 });
  await expect.poll(() => device!.connection).toBe("connected");
  device!.wake();
  await expect.poll(() => first.pings).toBe(1);
  const second = await broker.peer();
  expect((await second.greeting()).session).toBe(7);
});

test("an HTTP port, or one that speaks TLS: it says so, and tries again", async () => {
  start();
  for (const [answer, said] of [["HTTP/1.1 400 Bad Request\r\n\r\n", "protocol: HTTP was answered"], [Buffer.from("15030100020246", "hex"), "protocol: The other side speaks TLS"]] as const) {
    const peer = await broker.peer();
    await peer.greeting();
    const waiting = new Promise<Error | undefined>((resolve) => device!.on("connection", ({ state, error }) => state === "waiting" && resolve(error)));
    peer.socket.write(answer);
    expect((await waiting)?.message).toContain(said);
  }
});

test("white space around a token, as a file has it, is not sent", async () => {
  start({ token: "secret\n" });
  const peer = await broker.peer();
  expect((await peer.greeting()).token).toBe("secret");
});

test("what the broker refuses for good says why: the code's own words, and what is too much", async () => {
  start();
  const results = Promise.allSettled([device!.publish("a"), device!.state.patch({}), device!.publish("b"), device!.publish("c")]);
  const peer = await welcomed();
  await peer.publishes(4);
  peer.send((to) => writeAck(to, 4, [{ series: 1, code: "too_large" }, { series: 2, code: "bad_document" }, { series: 3, code: "expired" }, { series: 4, code: "one_of_tomorrow" }]));
  expect((await results).map((one) => (one.status === "rejected" ? (one.reason as Error).message : "stored"))).toEqual([
    expect.stringContaining("no message of 5 bytes"), expect.stringContaining("more than 65536 bytes"), "expired: The message had expired before it could be stored.", "one_of_tomorrow",
  ]);
});


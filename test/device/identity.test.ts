// Device A cannot act as B by any frame tried, on the real broker with credentials required; what is revoked ends (F2, F4).

import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import { connect } from "../../clients/device/src/index.ts";
import { runBroker, type Reply, type RunningBroker } from "../http/broker.ts";
import { ACK, BROKEN, CLOSE, HELLO, PUBLISH, RECEIVED, REFUSE, WELCOME, Wire, type Frame } from "./minimal-client.ts";

const ADMIN = "an-administrators-key-of-this-test";
const ADMINISTRATOR = { authorization: `Bearer ${ADMIN}` };

let broker: RunningBroker;
const wires: Wire[] = [];
beforeAll(async () => {
  broker = await runBroker({ auth: "required", adminKey: ADMIN, sessionsPerDevice: 4 });
});
afterEach(() => {
  for (const wire of wires.splice(0)) wire.end();
});
afterAll(() => broker.stop());

function admin(method: string, path: string, body?: string): Promise<Reply> {
  return broker.call(method, path, { headers: ADMINISTRATOR, ...(body === undefined ? {} : { body }) });
}

async function tokenOf(device: string, name = "default"): Promise<string> {
  const reply = await admin("POST", `/v1/devices/${encodeURIComponent(device)}/credentials`, JSON.stringify({ name }));
  expect(reply.status).toBe(201);
  return (reply.json as { token: string }).token;
}

function dial(): Wire {
  const wire = new Wire(broker.device);
  wires.push(wire);
  return wire;
}

let clock = BigInt(Date.now()) << 20n;

/** HELLO of a device, for a new session or to resume one. */
function hello(device: string, token: string, session = 0, next = 1): Frame {
  clock += 1n;
  return [HELLO, 1, device, token, session, clock, 1, next, 0, 10];
}

/** The first frame that answers a HELLO; CLOSE as its code. */
async function answerTo(frame: Frame): Promise<string> {
  const wire = dial();
  wire.send(frame);
  const answer = await wire.next();
  if (answer?.[0] === WELCOME) return "WELCOME";
  if (answer?.[0] === BROKEN) return "BROKEN";
  expect(answer?.[0]).toBe(CLOSE);
  expect(await wire.next()).toBeUndefined();
  return answer![1] as string;
}

async function welcomed(device: string, token: string): Promise<{ readonly wire: Wire; readonly session: number }> {
  const wire = dial();
  wire.send(hello(device, token));
  const welcome = await wire.await(WELCOME);
  return { wire, session: welcome[2] as number };
}

const body = (text: string): Frame => [Buffer.from(text), null, null];

async function streamOf(device: string): Promise<{ type: string; publisher: string; payload: unknown }[]> {
  const reply = await admin("GET", `/v1/devices/${encodeURIComponent(device)}/stream`);
  return (reply.json as { entries: { type: string; publisher: string; payload: unknown }[] }).entries;
}

test("a token opens its own device's session, and no token, a wrong one and another device's open none: all three look the same", async () => {
  const [a, b] = [await tokenOf("a1"), await tokenOf("b1")];
  expect(await answerTo(hello("a1", a))).toBe("WELCOME");
  for (const [device, token] of [["b1", a], ["nobody-knows-it", a], ["b1x", b], ["B1", b], ["b1 ", b], ["ｂ1", b], ["b1/", b], ["x/../b1", b]]) {
    expect([device, await answerTo(hello(device!, token!))]).toEqual([device, "unauthenticated"]);
  }
  expect(await answerTo(hello("c1", ""))).toBe("unauthenticated");
  expect((await admin("GET", "/v1/devices/nobody-knows-it")).status).toBe(404);
  expect(await streamOf("b1")).toEqual([]);
});

test.each(["", " ", "bhd_", "x".repeat(1024)])("what is no token of b2 opens nothing: %j", async (token) => {
  await admin("POST", "/v1/devices/b2/credentials", `{"name":"own"}`);
  expect(["unauthenticated", "too_many_requests"]).toContain(await answerTo(hello("b2", token)));
  expect(await streamOf("b2")).toEqual([]);
});

test("a token that is cut, longer, in other case, or the digest that is stored is not the token", async () => {
  const token = await tokenOf("b3");
  const { createHash } = await import("node:crypto");
  const digest = createHash("sha256").update(token).digest("hex");
  let first = true;
  for (const wrong of [token.slice(0, -1), `${token}0`, token.toLowerCase(), token.replace("bhd", "bhk"), digest, `${token}\u0000`, ` ${token}`]) {
    const said = await answerTo(hello("b3", wrong));
    expect([wrong, said]).toEqual([wrong, first ? "unauthenticated" : "too_many_requests"]); // after a failure the next is not even looked at
    first = false;
  }
});

test("B's session is not resumed with A's token, whatever number is guessed, and B's connection is not disturbed", async () => {
  const [a, b] = [await tokenOf("a4"), await tokenOf("b4")];
  const { wire, session } = await welcomed("b4", b);
  expect(await answerTo(hello("b4", a, session))).toBe("unauthenticated");
  // A as A, with B's number or any near it: its own series is broken, B's is not touched.
  for (const guessed of [session, session - 1, session + 1, 1, 2 ** 40]) expect([guessed, await answerTo(hello("a4", a, guessed))]).toEqual([guessed, "BROKEN"]);
  wire.send([PUBLISH, 1, 0, body("still here")]);
  expect(await wire.await(ACK)).toMatchObject([ACK, 1]);
  const entries = await streamOf("b4");
  expect(entries.filter(({ type }) => type === "uplink").map(({ payload }) => Buffer.from(String(payload), "base64").toString())).toEqual(["still here"]);
  expect(entries.filter(({ type }) => type === "presence")).toHaveLength(1);
});

test("what A publishes is A's, whatever it names in its frames and headers", async () => {
  const [a] = [await tokenOf("a5"), await tokenOf("b5")];
  const { wire } = await welcomed("a5", a);
  const headers = new Map([["device", "b5"], ["publisher", "b5"], ["x-device", "b5"], ["authorization", `Bearer ${ADMIN}`]]);
  wire.send([PUBLISH, 1, 0, [Buffer.from("mine"), headers, null], "b5"], [PUBLISH, 2, 1, body(`{"device":"b5"}`), "b5"], [RECEIVED, 1, 1, "b5"]);
  await wire.await(ACK);
  expect((await streamOf("a5")).filter(({ type }) => type === "uplink")).toHaveLength(1);
  expect(await streamOf("b5")).toEqual([]);
});

test("a connection is one device's: a second HELLO for another closes it", async () => {
  const [a, b] = [await tokenOf("a6"), await tokenOf("b6")];
  const { wire } = await welcomed("a6", a);
  wire.send(hello("b6", b));
  expect((await wire.next())?.slice(0, 2)).toEqual([CLOSE, "protocol"]);
  // After BROKEN a connection may say HELLO again: for another device it needs that one's token.
  const broken = dial();
  broken.send(hello("a6", a, 2 ** 40));
  await broken.await(BROKEN);
  broken.send(hello("b6", a));
  expect((await broken.next())?.slice(0, 2)).toEqual([CLOSE, "unauthenticated"]);
});

test("a publisher's name over HTTP is never the device's own", async () => {
  const token = await tokenOf("b7");
  const { wire } = await welcomed("b7", token);
  const sent = await admin("POST", "/v1/devices/b7/messages", "down");
  expect(sent.status).toBe(201);
  for (const headers of [{ "bellhop-publisher": "" }, { "x-device": "b7" }, { "bellhop-session": "1" }]) {
    await broker.call("POST", "/v1/devices/b7/messages", { headers: { ...ADMINISTRATOR, ...headers }, body: "down" });
  }
  expect((await streamOf("b7")).filter(({ type }) => type !== "presence").map(({ type, publisher }) => [type, publisher === ""])).toEqual(Array.from({ length: 4 }, () => ["downlink", false]));
  wire.send([PUBLISH, 1, 0, body("up")]);
  expect(await wire.await(ACK)).toMatchObject([ACK, 1]);
});

test("two tokens are valid at once; revoking one ends the connection that came by it, with its presence, and not the other's device", async () => {
  const [before, after, other] = [await tokenOf("b8", "before"), await tokenOf("b8", "after"), await tokenOf("c8")];
  const { wire } = await welcomed("b8", before);
  const { wire: bystander } = await welcomed("c8", other);
  expect((await admin("DELETE", "/v1/devices/b8/credentials/after")).status).toBe(204);
  wire.send([PUBLISH, 1, 0, body("by the first")]);
  expect(await wire.await(ACK)).toMatchObject([ACK, 1]);
  expect((await admin("DELETE", "/v1/devices/b8/credentials/before")).status).toBe(204);
  expect((await wire.next())?.slice(0, 2)).toEqual([CLOSE, "unauthenticated"]);
  await expect.poll(async () => ((await admin("GET", "/v1/devices/b8")).json as { connected: boolean }).connected).toBe(false);
  expect(await answerTo(hello("b8", after))).not.toBe("WELCOME");
  bystander.send([PUBLISH, 1, 0, body("still here")]);
  expect((await bystander.next())?.[0]).toBe(ACK);
});

test("a deleted credential's name may be given again: the old token stays out", async () => {
  const old = await tokenOf("b9", "factory");
  await admin("DELETE", "/v1/devices/b9/credentials/factory");
  const fresh = await tokenOf("b9", "factory");
  expect(await answerTo(hello("b9", fresh))).toBe("WELCOME");
  expect(await answerTo(hello("b9", old))).toBe("unauthenticated");
});

test("the client is told that its token is wrong, and does not come again", async () => {
  await tokenOf("b10");
  const device = connect({ brokers: broker.device, device: "b10", token: "bhd_wrong" });
  const states: string[] = [];
  const stopped = new Promise<Error | undefined>((resolve) => {
    device.on("connection", ({ state, error }) => {
      states.push(state);
      if (state === "stopped") resolve(error);
    });
  });
  const published = device.publish("x").catch((error: unknown) => error);
  expect(await stopped).toMatchObject({ code: "unauthenticated", retryable: false });
  expect(await published).toMatchObject({ code: "unauthenticated" });
  expect(states.filter((state) => state === "connecting").length).toBeLessThanOrEqual(1);
  await device.close();
  expect((await stopped)?.message).toBe("unauthenticated: The token is not one of this device.");
});

test("a REFUSE or ACK of B's series never reaches A", async () => {
  const [a, b] = [await tokenOf("a11"), await tokenOf("b11")];
  const [first, second] = [await welcomed("a11", a), await welcomed("b11", b)];
  second.wire.send([PUBLISH, 5, 0, body("a gap")]);
  expect((await second.wire.await(REFUSE))[1]).toBe(1);
  first.wire.send([PUBLISH, 1, 0, body("one")]);
  expect(await first.wire.next()).toMatchObject([ACK, 1]);
});

test("from off to required on one directory: without a token a device is refused, with one it goes on where it was", async () => {
  const data = mkdtempSync(join(tmpdir(), "bellhop-required-"));
  let own = await runBroker({ data });
  const outbox = join(data, "..", `${basename(data)}.outbox`);
  const before = connect({ brokers: own.device, device: "d", outbox });
  await before.publish("one");
  const { token } = (await own.call("POST", "/v1/devices/d/credentials")).json as { token: string };
  await before.publish("two");
  await before.close();
  await own.stop();
  own = await runBroker({ data, auth: "required", adminKey: ADMIN });
  const without = connect({ brokers: own.device, device: "d" });
  await expect(without.publish("never")).rejects.toMatchObject({ code: "unauthenticated" });
  await without.close();
  const after = connect({ brokers: own.device, device: "d", token, outbox });
  await after.publish("three");
  const { entries } = (await own.call("GET", "/v1/devices/d/stream?type=uplink", { headers: ADMINISTRATOR })).json as { entries: { payload: string; session: string }[] };
  expect(entries.map(({ payload }) => payload)).toEqual(["one", "two", "three"]);
  expect(new Set(entries.map(({ session }) => session)).size).toBe(1);
  await after.close();
  await own.stop();
  rmSync(data, { recursive: true });
  rmSync(outbox, { recursive: true, force: true });
});

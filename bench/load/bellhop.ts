// Bellhop as a peer of the load generator: devices over TCP, device protocol 1. Frames are encoded once; a publish writes two numbers into them.

import { createConnection } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";

import { hostAndPort } from "../../src/base/address.ts";
import { encodeBody } from "../../src/wire/body.ts";
import { PROTOCOL, readFromBroker, writeHello, writePublish, type FromBroker, type WelcomeFrame } from "../../src/wire/device.ts";
import { Deframer } from "../../src/wire/frame.ts";
import { Writer } from "../../src/wire/msgpack.ts";
import type { Connection, Driver, LaneEvents } from "./driver.ts";
import type { LoadPlan } from "./plan.ts";

const MAX_FRAME = 65_536;
/** Seconds: a lane that waits for its next turn sends nothing, PING neither. */
const KEEP_ALIVE = 65_535;
/** The series stands behind the length, the array's head, the type and the head of a u32. */
const SERIES_AT = 7;
/** Any number from here on is written as a u32, which every lower one then replaces. */
const SERIES_OF_FOUR_BYTES = 0x10000;
const PAGE = 1000;
/** A follower hears of the last commit this long after its leader at most, in milliseconds. */
const FOLLOWED_MS = 10_000;

export function bellhopDriver(plan: LoadPlan): Driver {
  const connect = (lane: number, events: LaneEvents): Promise<Connection> => connectLane(plan, lane, events);
  if (plan.httpAt === "") return { connect };
  return { connect, stored: (lane, published) => storedOnEach(plan, lane, published) };
}

function connectLane(plan: LoadPlan, lane: number, events: LaneEvents): Promise<Connection> {
  return new Promise((resolve, reject) => {
    const brokers = plan.at.split(",");
    const socket = createConnection({ ...hostAndPort(brokers[lane % brokers.length]!), noDelay: true });
    const deframer = new Deframer(MAX_FRAME);
    const frames = encodeFrames(plan);
    const frameBytes = frames.length / plan.inFlight;
    let published = 0;
    let answered = 0;
    let newlyAnswered = 0;
    // Messages given to publish and not written yet, because the broker's credit is used up.
    let held = 0;
    let credit = 0;
    let closing = false;

    const fail = (why: string): void => {
      if (closing) return;
      reject(new Error(why));
      events.failed(why);
      socket.destroy();
    };

    /** A slot is written again only after its last message was answered, so the socket never holds bytes that change. */
    const write = (count: number): void => {
      const first = published % plan.inFlight;
      for (let i = 0; i < count; i += 1) stamp(frames, ((first + i) % plan.inFlight) * frameBytes, frameBytes - plan.payloadBytes, published + i + 1);
      published += count;
      const end = first + count;
      if (end <= plan.inFlight) {
        socket.write(frames.subarray(first * frameBytes, end * frameBytes));
        return;
      }
      socket.cork();
      socket.write(frames.subarray(first * frameBytes));
      socket.write(frames.subarray(0, (end - plan.inFlight) * frameBytes));
      socket.uncork();
    };
    const writeHeld = (): void => {
      const count = Math.min(held, credit - (published - answered));
      if (count <= 0) return;
      held -= count;
      write(count);
    };
    const connection: Connection = {
      publish(count) {
        held += count;
        writeHeld();
      },
      close() {
        closing = true;
        socket.destroy();
      },
    };

    const fromBroker: FromBroker = {
      welcome(welcome: WelcomeFrame) {
        if (welcome.window < plan.inFlight) return fail(`The broker grants a window of ${welcome.window}, less than ${plan.inFlight} in flight.`);
        credit = welcome.window;
        resolve(connection);
      },
      ack(series, voids) {
        if (voids.length > 0) return fail(`The broker stored nothing for number ${voids[0]!.series}: ${voids[0]!.code}.`);
        newlyAnswered += series - answered;
        answered = series;
      },
      refuse: (expected, code) => fail(`The broker refused number ${expected}: ${code}.`),
      credit(window) {
        credit = window;
        writeHeld();
      },
      close: (code, detail) => fail(`The broker closed the connection: ${code} ${detail}`),
      broken: () => fail("The broker says the session is broken."),
      deliver: () => undefined,
      document: () => undefined,
      missed: () => undefined,
      pong: () => undefined,
    };
    const sink = {
      frame(bytes: Uint8Array, start: number, end: number): boolean {
        readFromBroker(bytes, start, end, fromBroker);
        return true;
      },
    };

    socket.on("connect", () => socket.write(hello(plan, lane)));
    socket.on("data", (chunk) => {
      newlyAnswered = 0;
      try {
        deframer.push(chunk, sink);
      } catch (error) {
        return fail(`The broker's frame is not understood: ${String(error)}`);
      }
      if (newlyAnswered > 0) events.answered(newlyAnswered);
    });
    socket.on("error", (error) => fail(error.message));
    socket.on("close", () => fail("The broker closed the connection without a word."));
  });
}

function hello(plan: LoadPlan, lane: number): Uint8Array {
  const writer = new Writer();
  writeHello(writer, {
    protocol: PROTOCOL,
    device: `${plan.run}-${lane}`,
    token: "",
    session: 0,
    nonce: (BigInt(Date.now()) << 22n) | BigInt(Math.floor(Math.random() * 2 ** 22)),
    oldest: 1,
    next: 1,
    leaves: 0,
    window: plan.inFlight,
    wrap: 0,
    keepAlive: KEEP_ALIVE,
    receiveWindow: 0,
    maxFrame: MAX_FRAME,
    after: 0,
    desired: 0,
  });
  return writer.written;
}

/** One PUBLISH for each message in flight; the series and the first bytes of the payload are written at each use. */
function encodeFrames(plan: LoadPlan): Uint8Array {
  const body = encodeBody(new Uint8Array(plan.payloadBytes).fill(0x78));
  const writer = new Writer();
  for (let slot = 0; slot < plan.inFlight; slot += 1) writePublish(writer, SERIES_OF_FOUR_BYTES, 0, body);
  return writer.written.slice();
}

/** The series in the frame, and again in the payload, so that reading back shows which message is stored where. The body ends with nil, nil. */
function stamp(frames: Uint8Array, frame: number, overhead: number, series: number): void {
  const inPayload = frame + overhead - 2;
  for (let i = 0; i < 4; i += 1) {
    const byte = (series >>> (24 - 8 * i)) & 0xff;
    frames[frame + SERIES_AT + i] = byte;
    frames[inPayload + i] = byte;
  }
}

/** What each node's own copy holds; the same on all, or it throws. */
async function storedOnEach(plan: LoadPlan, lane: number, published: number): Promise<number> {
  const counts: number[] = [];
  for (const at of plan.httpAt.split(",")) {
    for (let waited = 0; (await lastSeries(plan, at, lane)) < published && waited < FOLLOWED_MS; waited += 20) await sleep(20);
    counts.push(plan.readBack ? await readBack(plan, at, lane) : await lastSeries(plan, at, lane));
  }
  if (new Set(counts).size > 1) throw new Error(`The nodes hold ${counts.join(", ")} messages of ${plan.run}-${lane}.`);
  return counts[0]!;
}

/** What the node's state says: greatest number taken of the device's session; 0 where it does not know the device yet. */
async function lastSeries(plan: LoadPlan, at: string, lane: number): Promise<number> {
  const device = await get(at, `${plan.run}-${lane}/explain`, 404);
  return Number(device?.["lastSeries"] ?? 0);
}

/** Every message of the stream: each number once, in order, with the payload that was sent under it. */
async function readBack(plan: LoadPlan, at: string, lane: number): Promise<number> {
  let after = "0";
  let found = 0;
  while (true) {
    const page = (await get(at, `${plan.run}-${lane}/stream?after=${after}&limit=${PAGE}`))!;
    const entries = page["entries"] as { type: string; series?: string; payload: string; offset: string }[];
    for (const entry of entries) {
      if (entry.type !== "uplink") continue;
      found += 1;
      const payload = Buffer.from(entry.payload, "base64");
      if (Number(entry.series) !== found || payload.length !== plan.payloadBytes || payload.readUInt32BE(0) !== found) {
        throw new Error(`${plan.run}-${lane} at offset ${entry.offset}: number ${entry.series} with the payload of ${payload.readUInt32BE(0)}, where ${found} was expected.`);
      }
    }
    if (entries.length === 0) return found;
    after = page["next"] as string;
  }
}

/** Undefined for the `absent` status. */
async function get(at: string, path: string, absent?: number): Promise<Record<string, unknown> | undefined> {
  const response = await fetch(`http://${at}/v1/devices/${path}`);
  if (response.status === absent) return undefined;
  if (!response.ok) throw new Error(`The broker answered ${response.status}: ${await response.text()}`);
  return (await response.json()) as Record<string, unknown>;
}

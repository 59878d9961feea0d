// Attacks on the device port: conversations that are valid up to what is wrong with them, hostile frames, silence, deafness, cuts.

import { Packr } from "msgpackr";
import { hostileFrames } from "../../bench/micro/hostile-frames.ts";
import type { Prng } from "../../src/base/prng.ts";
import { encodeBody, type Kind, VOID_BODY } from "../../src/wire/body.ts";
import { HELLO_DEFAULTS, writeGoodbye, writeHello, writePing, writePublish, writeReceived, writeStateRequest } from "../../src/wire/device.ts";
import { Writer } from "../../src/wire/msgpack.ts";
import { malformedFrames, vectors } from "../wire/page.ts";
import { type Attack, Hostile, mangle, pause, randomBytes } from "./attack.ts";

const DEVICES = 50;
const packr = new Packr({ useRecords: false, variableMapSize: true });

const NASTY: readonly unknown[] = [
  null, true, -1, 0, 1, 15, 16, 65_535, 65_536, 2 ** 32, 2 ** 53 - 1, 2 ** 53, 1.5, NaN, Infinity, 2n ** 64n - 1n, -(2n ** 63n), "", "fuzz-1", "\u0000", "x".repeat(200), "ü".repeat(64),
  Buffer.alloc(40, 0xff), [], [[[[[[[[[[1]]]]]]]]]], {}, { a: "1" }, { constructor: "x" }, Array.from({ length: 400 }, () => 0),
];

/** The frame that these bytes are the content of. */
function framed(content: Uint8Array): Buffer {
  const frame = Buffer.alloc(4 + content.length);
  frame.writeUInt32BE(content.length);
  frame.set(content, 4);
  return frame;
}

function written(write: (to: Writer) => void): Buffer {
  const to = new Writer();
  write(to);
  return Buffer.from(to.written);
}

/** A new session, or one that may or may not be there. */
function hello(random: Prng, device = `fuzz-${random.below(DEVICES)}`): Buffer {
  const session = random.chance(0.7) ? 0 : random.below(5000);
  const oldest = session === 0 ? 1 : random.pick([1, 2, 100, 2 ** 40]);
  const window = random.pick([1, 64, 65_535]);
  const wrap = random.pick([0, 0, 16, 65_536]);
  const nonce = (BigInt(Date.now()) << 20n) + BigInt(random.below(1 << 20)) - (random.chance(0.1) ? 1n << 40n : 0n);
  const maxFrame = random.pick([HELLO_DEFAULTS.maxFrame, 1024]);
  const own = { device, token: "", session, nonce, oldest, next: oldest + random.below(100), leaves: random.chance(0.1) ? random.below(5000) : 0, window, wrap, maxFrame };
  return written((to) => writeHello(to, { ...HELLO_DEFAULTS, protocol: 1, ...own, receiveWindow: random.pick([0, 1, 64]), after: random.pick([0, 0, 5, 2 ** 50]) }));
}

function publish(random: Prng, series: number): Buffer {
  const kind = random.pick<Kind>([0, 0, 0, 0, 1, 2]);
  const payload = random.pick<string | Uint8Array>(["x", "", `{"a":${random.below(9)}}`, "[".repeat(3000), "x".repeat(random.below(5000)), randomBytes(random, random.below(50))]);
  const body = kind === 2 ? VOID_BODY : encodeBody(payload, random.chance(0.2) ? { a: "b" } : undefined, random.chance(0.1) ? random.pick([1, Date.now() + 1000]) : 0);
  return written((to) => writePublish(to, series, kind, body));
}

function anyFrame(random: Prng, series: number): Buffer {
  const which = random.below(12);
  if (which < 6) return publish(random, series);
  if (which === 6) return written((to) => writeReceived(to, random.below(100), 0));
  if (which === 7) return written((to) => writeStateRequest(to, random.between(1, 1000)));
  if (which === 8) return written(writePing);
  if (which === 9) return random.pick(vectors).frame;
  return random.chance(0.2) ? written(writeGoodbye) : publish(random, random.pick([0, 1, series + 2, 2 ** 40, 2 ** 53 - 1]));
}

/** HELLO, its answer, and frames whose numbers go up from 1. */
async function conversation(name: string, target: Parameters<Attack["run"]>[0], random: Prng, spoil: (frames: Buffer[]) => Buffer): Promise<void> {
  await Hostile.during(name, target, async (hostile) => {
    await hostile.write(hello(random), random);
    if (random.chance(0.8)) await hostile.answer();
    const frames = Array.from({ length: random.between(1, 30) }, (_one, i) => anyFrame(random, i + 1));
    await hostile.write(spoil(frames), random);
    if (random.chance(0.5)) await hostile.answer();
    hostile.leave(random);
  });
}

export const deviceAttacks: readonly Attack[] = [
  { name: "frames in any order", run: (target, random) => conversation("frames in any order", target, random, (frames) => Buffer.concat(frames)) },
  { name: "bytes mangled", run: (target, random) => conversation("bytes mangled", target, random, (frames) => mangle(Buffer.concat(frames), random)) },
  {
    name: "elements changed",
    run: (target, random) => conversation("elements changed", target, random, (frames) => {
      const content = [...(random.pick(vectors).content as unknown[])];
      const at = random.below(content.length + 1);
      content.splice(at, random.below(2), random.pick(NASTY));
      return Buffer.concat([...frames.slice(0, random.below(frames.length)), framed(packr.pack(content)), ...frames]);
    }),
  },
  {
    name: "lengths that lie",
    run: (target, random) => conversation("lengths that lie", target, random, (frames) => {
      const frame = random.pick(frames);
      frame.writeUInt32BE(random.pick([0, 1, frame.length, frame.length - 5, 2 ** 24, 2 ** 31, 2 ** 32 - 1]));
      return Buffer.concat(frames);
    }),
  },
  {
    name: "hostile frames",
    run: (target, random) => conversation("hostile frames", target, random, () => framed(random.pick(Object.values(hostileFrames)))),
  },
  {
    name: "HELLO spoiled",
    run: (target, random) => Hostile.during("HELLO spoiled", target, async (hostile) => {
      const first = random.below(4);
      if (first === 0) await hostile.write(mangle(hello(random), random), random);
      else if (first === 1) await hostile.write(random.pick(malformedFrames).frame, random);
      else if (first === 2) await hostile.write(randomBytes(random, random.between(1, 3000)), random);
      else await hostile.write(Buffer.concat([hello(random), hello(random), publish(random, 1)]), random);
      if (random.chance(0.5)) await hostile.answer();
      hostile.leave(random);
    }),
  },
  {
    name: "more than the window",
    run: (target, random) => Hostile.during("more than the window", target, async (hostile) => {
      await hostile.write(hello(random), random);
      await hostile.answer();
      const from = random.pick([1, 1, 2, 1000]);
      await hostile.write(Buffer.concat(Array.from({ length: 3000 }, (_one, i) => written((to) => writePublish(to, from + i, 0, encodeBody("x".repeat(100)))))), random);
      hostile.leave(random);
    }),
  },
  {
    name: "two of one device",
    run: async (target, random) => {
      const device = `fuzz-${random.below(3)}`;
      await Promise.all([0, 1].map(() => Hostile.during("two of one device", target, async (hostile) => {
        await hostile.write(hello(random, device), random);
        await hostile.write(Buffer.concat([publish(random, 1), publish(random, 2)]), random);
        hostile.leave(random);
      })));
    },
  },
  {
    name: "deaf",
    run: (target, random) => Hostile.during("deaf", target, async (hostile) => {
      await hostile.write(hello(random), random);
      await hostile.answer();
      hostile.socket.pause();
      const asks = Buffer.concat(Array.from({ length: 2000 }, (_one, i) => written(i % 2 === 0 ? writePing : (to) => writeStateRequest(to, i))));
      for (let i = 0; i < 20 && hostile.isOpen; i += 1) await Promise.race([hostile.write(asks, random), pause(100)]);
    }),
  },
  {
    name: "silent, or a byte at a time",
    run: (target, random) => Hostile.during("silent, or a byte at a time", target, async (hostile) => {
      const bytes = Buffer.concat([hello(random), publish(random, 1)]);
      for (let i = 0; i < bytes.length && hostile.isOpen && random.chance(0.98); i += 1) {
        await hostile.write(bytes.subarray(i, i + 1), random);
        await pause(random.below(10));
      }
    }),
  },
  {
    name: "half open",
    run: (target, random) => Hostile.during("half open", target, async (hostile) => {
      const bytes = Buffer.concat([hello(random), publish(random, 1), publish(random, 2)]);
      await hostile.write(bytes.subarray(0, random.below(bytes.length)), random);
      hostile.socket.end();
      if (random.chance(0.5)) hostile.socket.pause();
    }),
  },
];

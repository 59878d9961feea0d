// How long the codec of devices takes per frame: `npx tsx bench/micro/wire.ts`. Each figure is the best of five runs, so that the machine's noise counts least.

import { encodeBody } from "../../src/wire/body.ts";
import { type FromBroker, type FromDevice, readFromBroker, readFromDevice, writeAck, writePublish } from "../../src/wire/device.ts";
import { Deframer } from "../../src/wire/frame.ts";
import { Writer } from "../../src/wire/msgpack.ts";

const FRAMES = 300_000;
const CHUNK_BYTES = 65_536;

function measure(name: string, frames: number, work: () => number): void {
  let best = Infinity;
  for (let i = 0; i < 5; i += 1) {
    const start = process.hrtime.bigint();
    const done = work();
    if (done !== frames) throw new Error(`${name}: ${done} frames, not ${frames}`);
    best = Math.min(best, Number(process.hrtime.bigint() - start) / frames);
  }
  console.log(`${name.padEnd(56)} ${best.toFixed(1).padStart(8)} ns a frame`);
}

let seen = 0;
const unexpected = (): never => {
  throw new Error("not this frame");
};
const device: FromDevice = { publish: () => void (seen += 1), hello: unexpected, received: unexpected, state: unexpected, ping: unexpected, goodbye: unexpected };
const broker: FromBroker = {
  ack: () => void (seen += 1), welcome: unexpected, refuse: unexpected, deliver: unexpected, document: unexpected,
  credit: unexpected, broken: unexpected, pong: unexpected, close: unexpected, missed: unexpected,
};

for (const size of [16, 128, 1024]) {
  const body = encodeBody(new Uint8Array(size).fill(0x61));
  const writer = new Writer(FRAMES * (body.length + 16));
  measure(`encode PUBLISH of ${size} bytes`, FRAMES, () => {
    writer.clear();
    for (let i = 1; i <= FRAMES; i += 1) writePublish(writer, i, 0, body);
    return FRAMES;
  });
  const stream = writer.written;
  const chunks: Uint8Array[] = [];
  for (let at = 0; at < stream.length; at += CHUNK_BYTES) chunks.push(stream.subarray(at, at + CHUNK_BYTES));
  measure(`de-frame PUBLISH of ${size} bytes, chunks of 64 KiB`, FRAMES, () => {
    const deframer = new Deframer(CHUNK_BYTES);
    let count = 0;
    for (const chunk of chunks) deframer.push(chunk, { frame: () => (count += 1) > 0 });
    return count;
  });
  const sink = { frame: (bytes: Uint8Array, start: number, end: number): boolean => (readFromDevice(bytes, start, end, device), true) };
  measure(`de-frame, check and decode PUBLISH of ${size} bytes`, FRAMES, () => {
    const deframer = new Deframer(CHUNK_BYTES);
    seen = 0;
    for (const chunk of chunks) deframer.push(chunk, sink);
    return seen;
  });
}

const rich = encodeBody("21.5 °C", { "content-type": "text/plain", unit: "celsius" }, 1_795_185_720_000);
const one = new Writer();
writePublish(one, 300, 0, rich);
measure("decode PUBLISH with text, two headers and expiry", FRAMES, () => {
  seen = 0;
  for (let i = 0; i < FRAMES; i += 1) readFromDevice(one.bytes, 4, one.at, device);
  return seen;
});
const acks = new Writer();
measure("encode ACK", FRAMES, () => {
  for (let i = 0; i < FRAMES; i += 1) {
    acks.clear();
    writeAck(acks, i);
  }
  return FRAMES;
});
measure("decode ACK", FRAMES, () => {
  seen = 0;
  for (let i = 0; i < FRAMES; i += 1) readFromBroker(acks.bytes, 4, acks.at, broker);
  return seen;
});

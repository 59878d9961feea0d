// Time and memory that one hostile frame of 64 KiB costs: `npx tsx --expose-gc bench/micro/hostile.ts`. Time: the best of many runs;
// memory: the most of some.

import { BellhopError } from "../../src/base/errors.ts";
import { type FromDevice, readFromDevice } from "../../src/wire/device.ts";
import { hostileFrames, validFrames } from "./hostile-frames.ts";

const RUNS = 200;
const nothing = (): void => undefined;
const sink: FromDevice = { publish: nothing, hello: nothing, received: nothing, state: nothing, ping: nothing, goodbye: nothing };

/** The code that the frame was refused with; "taken" when it was not. */
export function decode(frame: Uint8Array): string {
  try {
    readFromDevice(frame, 0, frame.length, sink);
    return "taken";
  } catch (error) {
    if (error instanceof BellhopError) return error.code;
    throw error;
  }
}

/** Milliseconds of the fastest of many decodings. */
export function fastestMs(frame: Uint8Array, runs = RUNS): number {
  let best = Infinity;
  for (let run = 0; run < runs; run += 1) {
    const start = performance.now();
    decode(frame);
    best = Math.min(best, performance.now() - start);
  }
  return best;
}

/** Bytes of heap and buffers that a decoding takes, the most of some. */
export function bytesTaken(frame: Uint8Array, runs = 20): number {
  let most = 0;
  for (let run = 0; run < runs; run += 1) {
    const before = process.memoryUsage();
    decode(frame);
    const after = process.memoryUsage();
    most = Math.max(most, after.heapUsed + after.arrayBuffers - before.heapUsed - before.arrayBuffers);
  }
  return most;
}

if (process.argv[1] === import.meta.filename) {
  for (const [name, frame] of [...Object.entries(validFrames), ...Object.entries(hostileFrames)]) {
    const ms = fastestMs(frame);
    console.log(`${name.padEnd(48)} ${decode(frame).padEnd(10)} ${ms.toFixed(4).padStart(8)} ms ${(bytesTaken(frame) / 1024).toFixed(0).padStart(6)} KiB`);
  }
}

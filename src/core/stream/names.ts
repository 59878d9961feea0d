// Names of the records in the state store. A device's records carry its hash with the bits reversed in front, so that the half of a bucket that splits off is a range of each kind (R39).

import { murmur3 } from "../hash.ts";

/** The bucket's own record: time, floor, counters. */
export const BUCKET_NAME = "b";
/** What gateways may send again. */
export const RESENDS_NAME = "n";
export const DEVICES = "d/";
export const ATTACHED = "a/";
/** Devices whose entries are forgotten by their age. */
export const AGING = "t/";
/** Devices that were removed, by the log index of their removal. */
export const REMOVED = "r/";

export const deviceName = (device: string): string => `${DEVICES}${place(device)}/${device}`;
export const chunkName = (device: string, since: number, chunk: number): string => `x/${place(device)}/${device}/${fixed(since)}/${fixed(chunk)}`;
export const documentName = (device: string, which: "reported" | "desired"): string => `s/${place(device)}/${device}/${which === "reported" ? "r" : "d"}`;
/** The length in between keeps ("a/b", "c") and ("a", "b/c") apart. */
export const keysName = (device: string): string => `k/${place(device)}/${device.length}/${device}/`;
export const keyName = (device: string, key: string): string => `${keysName(device)}${key}`;
export const queueName = (sequence: number): string => `q/${fixed(sequence)}`;
export const agingName = (device: string): string => `${AGING}${place(device)}/${device}`;
export const removedName = (index: number): string => `${REMOVED}${fixed(index)}`;
export const attachedName = (session: number): string => `${ATTACHED}${fixed(session)}`;

/** Hexadecimal of fixed width, so that names sort as the numbers do. */
function fixed(number: number): string {
  return number.toString(16).padStart(14, "0");
}

function place(device: string): string {
  return reversed(murmur3(device)).toString(16).padStart(8, "0");
}

/** The bits of an unsigned 32-bit integer in the opposite order. */
export function reversed(bits: number): number {
  let b = bits;
  b = ((b >>> 1) & 0x55555555) | ((b & 0x55555555) << 1);
  b = ((b >>> 2) & 0x33333333) | ((b & 0x33333333) << 2);
  b = ((b >>> 4) & 0x0f0f0f0f) | ((b & 0x0f0f0f0f) << 4);
  b = ((b >>> 8) & 0x00ff00ff) | ((b & 0x00ff00ff) << 8);
  return ((b >>> 16) | (b << 16)) >>> 0;
}

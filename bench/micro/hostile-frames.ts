// Frames of 64 KiB that mean harm, and valid ones of the same size beside them.

import { encodeBody } from "../../src/wire/body.ts";
import { writePublish } from "../../src/wire/device.ts";
import { Writer } from "../../src/wire/msgpack.ts";

export const FRAME_BYTES = 65_536;

/** A frame's content that begins with `head` and goes on with `unit` again and again. */
function repeated(head: string, unit: string): Uint8Array {
  const bytes = Buffer.alloc(FRAME_BYTES, Buffer.from(unit, "hex"));
  Buffer.from(head, "hex").copy(bytes);
  return bytes;
}

function valid(payload: string): Uint8Array {
  const out = new Writer();
  writePublish(out, 1, 0, encodeBody(payload));
  return out.written.slice(4); // without its length
}

export const validFrames: Readonly<Record<string, Uint8Array>> = {
  "ASCII text": valid("x".repeat(FRAME_BYTES - 20)),
  "text of two bytes a letter": valid("é".repeat(FRAME_BYTES / 2 - 10)),
};

export const hostileFrames: Readonly<Record<string, Uint8Array>> = {
  "arrays nested 65,536 deep": repeated("", "91"),
  "maps nested 65,536 deep": repeated("", "81"),
  "PUBLISH, body nested": repeated("94020100", "91"),
  "PUBLISH, headers nested": repeated("9402010093c0", "81c0"),
  "PUBLISH, unknown elements behind it": repeated("dcffff02010093a178c0c0", "c0"),
  "PUBLISH, unknown elements of many nils": repeated("df00000000dcffff02010093a178c0c0", "dcffffc0"),
  "PUBLISH, 20,000 headers": repeated("9402010093a178de4e20", "a161a162"),
  "PUBLISH, one header name 16,000 times": repeated("9402010093a178de3e80", "a0a0"),
  "PUBLISH, a text that is longer than the frame": repeated("9402010093dbffffffff", "78"),
  "PUBLISH, an array of 4,294,967,295": repeated("9402010093ddffffffff", "c0"),
  "PUBLISH, broken UTF-8 at the very end": Buffer.concat([validFrames["ASCII text"]!.subarray(0, -3), Buffer.from("ffc0c0", "hex")]),
  "HELLO, strings of one byte": repeated("dcffff01", "a161"),
  "RECEIVED, numbers of nine bytes": repeated("dcffff03", "cfffffffffffffffff"),
};

// Reads the test vectors from docs/device-protocol.md.

import { readFileSync } from "node:fs";
import { join } from "node:path";

const page = readFileSync(join(import.meta.dirname, "../../docs/device-protocol.md"), "utf8");

export interface Vector {
  readonly name: string;
  /** The message with `Buffer` for binary and `bigint` for a u64. */
  readonly content: unknown;
  readonly frame: Buffer;
}

function revive(_key: string, value: unknown): unknown {
  if (typeof value !== "object" || value === null) return value;
  if ("bin" in value) return Buffer.from(String(value.bin), "hex");
  if ("u64" in value) return BigInt(String(value.u64));
  return value;
}

export const vectors: Vector[] = [...page.matchAll(/^\| ([^|`]+) \| `(\[.*\])` \| `([0-9a-f]+)` \|$/gm)].map((row) => ({
  name: row[1]!,
  content: JSON.parse(row[2]!, revive) as unknown,
  frame: Buffer.from(row[3]!, "hex"),
}));

export const malformedFrames = [...page.matchAll(/^\| ([^|`]+) \| `([0-9a-f]+)` \|$/gm)].map((row) => ({
  name: row[1]!,
  frame: Buffer.from(row[2]!, "hex"),
}));

// The written form of tokens and keys: `bhd_` or `bhk_`, the secret's 256 bits and a checksum, all in letters and digits.
// A scanner finds one that was left in a file, and a slip of the keyboard is told from a wrong secret.

import { assert } from "./assert.ts";
import { crc32c } from "./crc32c.ts";

/** A device's token, and an API key. */
export type SecretKind = "bhd" | "bhk";

/** Random bytes of a secret. */
export const SECRET_BYTES = 32;

const DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
/** Digits in base 62 that 256 bits take, and 32. */
const SECRET_DIGITS = 43;
const CHECK_DIGITS = 6;

/** @param random SECRET_BYTES of chance */
export function writeSecret(kind: SecretKind, random: Uint8Array): string {
  assert(random.length === SECRET_BYTES, "a secret has 256 bits");
  const digits = base62(random.reduce((number, byte) => (number << 8n) | BigInt(byte), 0n), SECRET_DIGITS);
  return `${kind}_${digits}${checksum(kind, digits)}`;
}

/** Whether the text has the form of such a secret and its checksum is right; it may still be none that is known. */
export function isSecret(kind: SecretKind, text: string): boolean {
  const digits = text.slice(kind.length + 1, -CHECK_DIGITS);
  return text.startsWith(`${kind}_`) && digits.length === SECRET_DIGITS && text.endsWith(checksum(kind, digits));
}

function checksum(kind: SecretKind, digits: string): string {
  const { buffer, byteOffset, length } = new TextEncoder().encode(`${kind}_${digits}`);
  return base62(BigInt(crc32c(new DataView(buffer, byteOffset), 0, length)), CHECK_DIGITS);
}

function base62(number: bigint, width: number): string {
  let digits = "";
  for (let rest = number; digits.length < width; rest /= 62n) digits = DIGITS[Number(rest % 62n)]! + digits;
  return digits;
}

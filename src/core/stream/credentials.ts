// The credentials of a device, as replicated state: each is a token that is known by its SHA-256 only, bound to this device's id (F2).

import { assert } from "../../base/assert.ts";
import type { Reader, Writer } from "./bytes.ts";

export interface Credential {
  /** Log index of the entry that put it: a later one of the same name is another credential. */
  readonly id: number;
  readonly name: string;
  /** SHA-256 of the token. */
  readonly digest: Uint8Array;
  /** Milliseconds since 1970, log time. */
  readonly created: number;
}

/** Credentials of one device: two are enough to rotate. The same on every node, for every copy comes to the same state. */
export const MOST_CREDENTIALS = 4;
export const DIGEST_BYTES = 32;
/** The credential of a session whose gateway vouches for the device: it asks for none, or has seen its certificate. */
export const VOUCHED = 0;

const NO_DIGEST = new Uint8Array(DIGEST_BYTES);

/**
 * Id of the credential with this digest; undefined when there is none. A device that is not known has none.
 * Every digest is compared to its end, and as many are compared whatever the device has, so that the time taken does not tell which answer is near.
 */
export function credentialOf(digest: Uint8Array, credentials: readonly Credential[]): number | undefined {
  let found: number | undefined;
  for (let i = 0; i < MOST_CREDENTIALS; i += 1) {
    const credential = credentials[i];
    const isSame = sameDigest(digest, credential?.digest ?? NO_DIGEST);
    if (isSame && credential !== undefined) found = credential.id;
  }
  return found;
}

/** Compares all bytes whatever the first ones are. */
export function sameDigest(a: Uint8Array, b: Uint8Array): boolean {
  let differ = a.length ^ b.length;
  for (let i = 0; i < DIGEST_BYTES; i += 1) differ |= (a[i] ?? 0) ^ (b[i] ?? 0);
  return differ === 0;
}

export function writeCredential(out: Writer, { id, name, digest, created }: Credential): void {
  out.integer(id).text(name).raw(digest).integer(created);
}

export function readCredential(from: Reader): Credential {
  const credential = { id: from.integer(), name: from.text(), digest: from.raw(DIGEST_BYTES).slice(), created: from.integer() };
  assert(credential.id !== VOUCHED, "a credential has the index of its entry");
  return credential;
}

// As much of DER (ITU-T X.690) as certificates and revocation lists need: elements, one after the other, each length checked before it is believed.

export interface Element {
  readonly tag: number;
  /** Head and content. */
  readonly whole: Uint8Array;
  readonly content: Uint8Array;
}

export const INTEGER = 0x02;
export const SEQUENCE = 0x30;

/** The elements that these bytes hold. @throws Error where they are not DER. */
export function elements(bytes: Uint8Array): Element[] {
  const found: Element[] = [];
  for (let at = 0; at < bytes.length; ) {
    const start = at;
    const tag = bytes[at++]!;
    let length = bytes[at++] ?? Infinity;
    if (length >= 0x80) {
      const size = length & 0x7f;
      if (size < 1 || size > 4) throw new Error("DER with a length that is not understood.");
      length = 0;
      for (let i = 0; i < size; i += 1) length = length * 256 + (bytes[at++] ?? Infinity);
    }
    if (!(at + length <= bytes.length)) throw new Error("DER that ends early.");
    found.push({ tag, whole: bytes.subarray(start, at + length), content: bytes.subarray(at, at + length) });
    at += length;
  }
  return found;
}

// The first element of a message's body: the one place where the core looks into it, to apply a device's state patch.

/**
 * The payload of `[payload, headers, expires]` in msgpack (see core/hop.ts): bytes of its first element.
 * @returns undefined when the body does not begin with an array whose first element is a whole bin or str
 */
export function payloadOf(body: Uint8Array): Uint8Array | undefined {
  const array = body[0] ?? 0;
  if (array > 0x90 && array <= 0x9f) return bytesAt(body, 1);
  if (array === 0xdc) return bytesAt(body, 3);
  return array === 0xdd ? bytesAt(body, 5) : undefined;
}

function bytesAt(body: Uint8Array, at: number): Uint8Array | undefined {
  const type = body[at] ?? 0;
  if (type >= 0xa0 && type <= 0xbf) return whole(body, at + 1, type & 0x1f);
  if (type === 0xc4 || type === 0xd9) return whole(body, at + 2, bigEndian(body, at + 1, 1));
  if (type === 0xc5 || type === 0xda) return whole(body, at + 3, bigEndian(body, at + 1, 2));
  if (type === 0xc6 || type === 0xdb) return whole(body, at + 5, bigEndian(body, at + 1, 4));
  return undefined;
}

function whole(body: Uint8Array, start: number, length: number): Uint8Array | undefined {
  return start + length <= body.length ? body.subarray(start, start + length) : undefined;
}

function bigEndian(body: Uint8Array, at: number, bytes: number): number {
  let value = 0;
  for (let i = 0; i < bytes; i += 1) value = value * 256 + (body[at + i] ?? 0);
  return value;
}

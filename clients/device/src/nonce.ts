// The nonce of a HELLO: it rises with every one of a device (section 3 of the protocol).

const TICKS_PER_MS = 1n << 20n;

/** From the clock, where that rises. */
export function nonceAbove(last: bigint): bigint {
  const fromClock = BigInt(Date.now()) * TICKS_PER_MS + BigInt(Math.floor(Math.random() * Number(TICKS_PER_MS)));
  return fromClock > last ? fromClock : last + 1n;
}

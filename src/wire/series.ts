// Series numbers on the wire: modulo the wrap settled in the handshake, widened again by the nearest number (R28, RFC 1982).

/** Greatest series number, session number and offset: 2^53 - 1. */
export const MAX_NUMBER = Number.MAX_SAFE_INTEGER;
/** A wrap is 0, for wide numbers, or lies in this range. */
export const MIN_WRAP = 16;
export const MAX_WRAP = 0x1_0000_0000;

/** The greatest window that a wrap allows: less than half of it. */
export function maxWindow(wrap: number): number {
  return wrap === 0 ? MAX_NUMBER : Math.ceil(wrap / 2) - 1;
}

export function narrow(series: number, wrap: number): number {
  return wrap === 0 ? series : series % wrap;
}

/** The number nearest to `near` that reads `wire` modulo `wrap`: from near - wrap/2 up to, and without, near + wrap/2. May be below 0. */
export function widen(wire: number, wrap: number, near: number): number {
  if (wrap === 0) return wire;
  const ahead = (((wire - near) % wrap) + wrap) % wrap;
  return ahead < wrap / 2 ? near + ahead : near + ahead - wrap;
}

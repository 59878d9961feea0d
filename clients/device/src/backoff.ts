// Reconnecting in its own time: full jitter, never before the slot the broker gave.

/** The first wait is drawn from 0 … this, doubled with every failure in a row. Milliseconds. */
export const RECONNECT_BASE_MS = 250;
/** The same after a broker whose certificate is not trusted, and the cap then. Milliseconds. */
export const RECONNECT_UNTRUSTED_BASE_MS = 60_000;
export const MOST_WAIT_UNTRUSTED_MS = 900_000;
/** The same for messages refused with "not now". Milliseconds. */
export const RESEND_BASE_MS = 100;
/** The cap where the application names none. Milliseconds. */
export const MOST_WAIT_MS = 30_000;
/** So long after a good connection was lost, its broker is probably being started again, and the cap is lower; the devices are still spread over it (A10). Milliseconds. */
const SOON_BACK_MS = 60_000;
const MOST_WAIT_SOON_BACK_MS = 5000;

/** The cap of now. @param lostForMs since a good connection was lost; Infinity: there was none */
export function mostWait(mostMs: number, lostForMs: number): number {
  return lostForMs < SOON_BACK_MS ? Math.min(mostMs, MOST_WAIT_SOON_BACK_MS) : mostMs;
}

/** random(0, min(cap, base · 2^failures)), behind `slotMs`. */
export function jitter(baseMs: number, failures: number, mostMs: number, slotMs = 0): number {
  return slotMs + Math.random() * Math.min(mostMs, baseMs * 2 ** Math.min(failures, 30));
}

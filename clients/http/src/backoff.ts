// How long to wait before the next attempt: full jitter, and never less than the broker asks for.

/** A random time up to min(mostMs, baseMs · 2^failures). Milliseconds. */
export function jitter(baseMs: number, failures: number, mostMs: number): number {
  return Math.random() * Math.min(mostMs, baseMs * 2 ** Math.min(failures, 30));
}

/** Retry-After in milliseconds from `now` (since 1970): seconds, or an HTTP date (RFC 9110, 10.2.3); 0 where it is neither. */
export function retryAfterMs(header: string | null, now: number): number {
  if (header === null) return 0;
  if (/^\d{1,9}$/.test(header.trim())) return Number(header) * 1000;
  const time = Date.parse(header);
  return Number.isNaN(time) ? 0 : Math.max(0, time - now);
}

/** Resolves after `ms`; rejects with the signal's reason when that aborts first. */
export function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    if (signal.aborted) {
      reject(signal.reason as Error);
      return;
    }
    const onAbort = (): void => {
      clearTimeout(timer);
      reject(signal.reason as Error);
    };
    const timer = setTimeout(() => {
      signal.removeEventListener("abort", onAbort);
      resolve();
    }, ms);
    signal.addEventListener("abort", onAbort, { once: true });
  });
}

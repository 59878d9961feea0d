// A signal that ends with another one or when its time is over. Its reason is always a BellhopError.

import { BellhopError, clientError } from "./errors.ts";

/** The longest time of a timer; longer ones would fire at once. Milliseconds. */
const LONGEST_TIMER_MS = 2 ** 31 - 1;

export interface Limited {
  readonly signal: AbortSignal;
  /** Ends it at once. */
  end(reason: BellhopError): void;
  /** Must be called once it is not needed any more: lets go of the timer and of the outer signal. */
  done(): void;
}

/** @param whenOver makes the reason when `ms` (Infinity for no limit) have passed. */
export function limited(outer: AbortSignal | undefined, ms: number, whenOver: () => BellhopError): Limited {
  const inner = new AbortController();
  const onAbort = (): void => inner.abort(reasonOf(outer!));
  const timer = ms === Infinity ? undefined : setTimeout(() => inner.abort(whenOver()), Math.min(ms, LONGEST_TIMER_MS));
  if (outer?.aborted === true) onAbort();
  else outer?.addEventListener("abort", onAbort, { once: true });
  return {
    signal: inner.signal,
    end: (reason) => inner.abort(reason),
    done() {
      clearTimeout(timer);
      outer?.removeEventListener("abort", onAbort);
    },
  };
}

/** What the application gave as its reason stands behind `aborted`. */
function reasonOf(signal: AbortSignal): BellhopError {
  const reason: unknown = signal.reason;
  return reason instanceof BellhopError ? reason : clientError("aborted", "", { cause: reason });
}

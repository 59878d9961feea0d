// The `traceparent` header (W3C Trace Context): taken from a request, kept with what it stores, and named in the log.

import type { FastifyRequest } from "fastify";

/** version-traceid-parentid-flags; version ff and ids of zeros only are no traces. A later version may have more fields behind. */
const TRACEPARENT = /^(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(?<rest>-[\x21-\x7e]*)?$/;
const LONGEST = 256;

/** The request's traceparent where it is a valid one; another is ignored, as the standard wants. */
export function traceOf(request: Pick<FastifyRequest, "headers">): string | undefined {
  const given = request.headers["traceparent"];
  if (typeof given !== "string" || given.length > LONGEST) return undefined;
  const found = TRACEPARENT.exec(given);
  if (found === null || (given.startsWith("00") && found.groups?.["rest"] !== undefined)) return undefined;
  return given;
}

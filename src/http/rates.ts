// Requests per second of one API key and of one address (F5): 429 above them, and RateLimit headers (draft-ietf-httpapi-ratelimit-headers) that tell what is left.

import { createHash } from "node:crypto";
import type { FastifyReply, FastifyRequest } from "fastify";
import { BellhopError } from "../base/errors.ts";
import type { Settings } from "../config.ts";
import { Buckets } from "../doors/bucket.ts";

export class RequestRates {
  #byKey!: Buckets;
  #byAddress!: Buckets;
  /** Nothing is limited: a request costs nothing here. */
  #isOff!: boolean;

  constructor(settings: Settings) {
    this.set(settings);
  }

  set(settings: Settings): void {
    this.#byKey = new Buckets(settings.httpRequestsPerKey);
    this.#byAddress = new Buckets(settings.httpRequestsPerAddress);
    this.#isOff = settings.httpRequestsPerKey === 0 && settings.httpRequestsPerAddress === 0;
  }

  /** @throws BellhopError `too_many_requests`, with Retry-After set. */
  take(request: FastifyRequest, reply: FastifyReply): void {
    if (this.#isOff) return;
    const { authorization } = request.headers;
    this.#takeFrom(this.#byAddress, "address", request.ip, reply);
    if (authorization !== undefined) this.#takeFrom(this.#byKey, "key", digestOf(authorization), reply);
  }

  #takeFrom(buckets: Buckets, name: string, key: string, reply: FastifyReply): void {
    if (buckets.perSecond === 0) return;
    const left = buckets.take(key, performance.now());
    // Full again after a second at most; without a token, as soon as there is one.
    const seconds = left < 0 ? Math.ceil(-left / 1000) : 1;
    void reply.header("ratelimit-policy", `"${name}";q=${buckets.perSecond};w=1`).header("ratelimit", `"${name}";r=${Math.max(0, left)};t=${seconds}`);
    if (left >= 0) return;
    void reply.header("retry-after", seconds);
    throw new BellhopError("too_many_requests", `One ${name} may make ${buckets.perSecond} requests in a second.`);
  }
}

/** No key is kept as it is. */
function digestOf(authorization: string): string {
  return createHash("sha256").update(authorization).digest("base64");
}

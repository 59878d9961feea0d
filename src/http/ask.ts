// A request to the bucket's leader as a promise; whatever is not an answer is thrown as the error it names.

import { BellhopError } from "../base/errors.ts";
import type { GatewayAnswer, GatewayRequest } from "../core/gateway/types.ts";
import type { NodeApi } from "../node/api.ts";

export type Answer = Exclude<GatewayAnswer, { type: "failed" }>;

/** Rejects with a BellhopError; after `deadlineMs` with `deadline`. */
export function ask(node: NodeApi, request: GatewayRequest, deadlineMs: number): Promise<Answer> {
  return new Promise((resolve, reject) => {
    node.request(request, deadlineMs, (answer) => {
      if (answer.type === "failed") reject(errorOf(answer));
      else resolve(answer);
    });
  });
}

/** What a caller hears that waits for another answer than this. */
export function errorOf(answer: GatewayAnswer): BellhopError {
  return answer.type === "failed" ? new BellhopError(answer.code, answer.detail) : new BellhopError("internal");
}

// Answers: errors as RFC 9457 problem details, with the code and `retryable` of base/errors.ts, and ready-made JSON.

import type { FastifyError, FastifyReply, FastifyRequest } from "fastify";
import { BrokenInvariant } from "../base/assert.ts";
import { BellhopError, ERRORS, type ErrorCode } from "../base/errors.ts";
import type { NodeApi } from "../node/api.ts";
import { SeldomLog, type Log } from "../observe/log.ts";
import { traceOf } from "./trace.ts";

/** Of a 503 about a device: where its leader serves HTTP, HOST:PORT. */
const LEADER_HEADER = "bellhop-leader";

export const PROBLEM_TYPE = "application/problem+json; charset=utf-8";

/** Seconds after which it is worth to try again, for the codes answered with 429 and 503, and for a lease that has to end. */
const RETRY_AFTER_SECONDS = 1;
const RETRY_AFTER_FULL_SECONDS = 5;

export interface Problem {
  /** The address of the page about this code, relative to the broker's. */
  readonly type: string;
  readonly title: string;
  readonly status: number;
  readonly detail?: string;
  readonly code: ErrorCode;
  readonly retryable: boolean;
}

export function problemOf(code: ErrorCode, detail: string): Problem {
  const { what, status, retryable } = ERRORS[code];
  return { type: `/errors/${code}`, title: what, status, ...(detail === "" ? {} : { detail }), code, retryable };
}

export function retryAfterOf(code: ErrorCode): number | undefined {
  const { status } = ERRORS[code];
  if (status !== 429 && status !== 503 && code !== "still_running") return undefined;
  return code === "storage_full" ? RETRY_AFTER_FULL_SECONDS : RETRY_AFTER_SECONDS;
}

/** `more`: members of this problem beside the common ones. */
export function sendProblem(reply: FastifyReply, code: ErrorCode, detail = "", more: Readonly<Record<string, string>> = {}): FastifyReply {
  const retryAfter = retryAfterOf(code);
  if (retryAfter !== undefined && !reply.hasHeader("retry-after")) void reply.header("retry-after", retryAfter);
  return reply.code(ERRORS[code].status).type(PROBLEM_TYPE).send(JSON.stringify({ ...problemOf(code, detail), ...more }));
}

/** Answers 200 with JSON text that is made already; the route's schema describes it. */
export function sendJson(reply: FastifyReply, text: string): FastifyReply {
  return reply.type("application/json; charset=utf-8").send(text);
}

/** Everything that a route throws, and everything that the framework refuses before a route. A broken invariant stops the node. */
export function errorHandler(log: Log, node: NodeApi) {
  const failures = new SeldomLog(log);
  return (error: FastifyError | Error, request: FastifyRequest, reply: FastifyReply): void => {
    const known = asBellhopError(error, request);
    if (known !== undefined) {
      if (ERRORS[known.code].status === 503) hintLeader(node, request, reply);
      void sendProblem(reply, known.code, known.detail);
      return;
    }
    if (error instanceof BrokenInvariant) node.fail(error);
    else failures.write("error", { code: "internal", err: error, method: request.method, url: request.url, traceparent: traceOf(request) }, "request failed");
    void sendProblem(reply, "internal");
  };
}

/** C8: where a client may do better next time: the HTTP address of the leader of the device's bucket. */
function hintLeader(node: NodeApi, { params }: FastifyRequest, reply: FastifyReply): void {
  const device = typeof params === "object" && params !== null && "device" in params ? params.device : undefined;
  const leader = typeof device === "string" ? node.leaderOf(device) : undefined;
  if (leader !== undefined) void reply.header(LEADER_HEADER, leader);
}

function asBellhopError(error: FastifyError | Error, request: FastifyRequest): BellhopError | undefined {
  if (error instanceof BellhopError) return error;
  if (!("code" in error)) return undefined;
  switch (error.code) {
    case "FST_ERR_VALIDATION":
      return new BellhopError("bad_request", error.message);
    case "FST_ERR_CTP_BODY_TOO_LARGE":
      return new BellhopError("too_large", `The body has more than ${request.routeOptions.bodyLimit} bytes.`);
    case "FST_ERR_HANDLER_TIMEOUT":
      return new BellhopError("deadline");
    default:
      return (error.statusCode ?? 500) < 500 ? new BellhopError("bad_request", error.message) : undefined;
  }
}

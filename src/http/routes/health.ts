// /livez, /readyz, /metrics and /v1/status: the process, whether it takes traffic, its numbers. None depends on users' data.

import { Type } from "@fastify/type-provider-typebox";
import type { HttpContext } from "../context.ts";
import { PROBLEMS, Status, text } from "../schemas.ts";
import type { Server } from "../server.ts";

export function healthRoutes(server: Server, context: HttpContext): void {
  const { node, metrics, followers, stopping } = context;

  server.get("/livez", { config: { role: "anyone" }, schema: { operationId: "getLiveness", summary: "The process runs", tags: ["operating"], response: { 200: text("It does."), ...PROBLEMS } } }, async (_request, reply) =>
    reply.type("text/plain").send("ok\n"),
  );

  server.get(
    "/readyz",
    {
      config: { role: "anyone" },
      schema: {
        operationId: "getReadiness",
        summary: "The node takes traffic",
        tags: ["operating"],
        querystring: Type.Object({ verbose: Type.Optional(Type.String({ description: "Say what is looked at, and why it is not." })) }),
        response: { 200: text("It does."), 503: text("It does not, for now."), ...PROBLEMS },
      },
    },
    async (request, reply) => {
      const status = node.status();
      const why = stopping.aborted ? ["the node is stopping", ...status.why] : status.why;
      const ready = status.ready && !stopping.aborted;
      void reply.code(ready ? 200 : 503).type("text/plain");
      if (!ready) void reply.header("retry-after", 1);
      if (request.query.verbose === undefined) return reply.send(ready ? "ok\n" : "not ready\n");
      const { open, total, led } = status.buckets;
      const lines = [ready ? "ready" : "not ready", ...why, `leads ${led} of ${total} buckets, ${open} of them open`];
      return reply.send(`${lines.join("\n")}\n`);
    },
  );

  server.get("/metrics", { config: { role: "read" }, schema: { operationId: "getMetrics", summary: "Metrics for Prometheus", tags: ["operating"], response: { 200: text("In Prometheus's text format."), ...PROBLEMS } } }, async (_request, reply) =>
    reply.type(metrics.contentType).send(await metrics.text()),
  );

  const statusSchema = { operationId: "getStatus", summary: "The node in one view", tags: ["operating"], response: { 200: Status, ...PROBLEMS } };
  server.get("/v1/status", { config: { role: "read" }, schema: statusSchema }, async (_request, reply) => {
    const { why, ...status } = node.status();
    return reply.send({ ...status, why: [...why], followers: followers.taken });
  });
}

// The floor of HTTP: one route of the same framework with the same limits, that reads the body and answers at once. A process of its own: tells its port to its parent.

import fastify from "fastify";
import type { AddressInfo } from "node:net";

const BODY_BYTES = 256 * 1024;

const server = fastify({ bodyLimit: BODY_BYTES, requestTimeout: 30_000, keepAliveTimeout: 75_000, maxRequestsPerSocket: 1_000_000, http: { headersTimeout: 30_000 } });
server.removeAllContentTypeParsers();
server.addContentTypeParser("*", { parseAs: "buffer" }, (_request, body, done) => done(null, body));

let offset = 0;
const text = { type: "string" } as const;
const answer = { type: "object", properties: { device: text, offset: text, duplicate: { type: "boolean" } } } as const;
server.post("/v1/devices/:device/messages", { schema: { response: { 201: answer } } }, (request, reply) => {
  offset += 1;
  const { device } = request.params as { device: string };
  void reply.code(201).send({ device, offset: String(offset), duplicate: false });
});

await server.listen({ port: 0, host: "127.0.0.1" });
process.send!({ at: `127.0.0.1:${(server.server.address() as AddressInfo).port}` });
process.once("disconnect", () => process.exit(0));

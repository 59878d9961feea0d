// The HTTP front-end: limits and time-outs, the schema compiler, the routes, the description at /openapi.json and its page at /docs.

import swagger from "@fastify/swagger";
import swaggerUi from "@fastify/swagger-ui";
import { TypeBoxValidatorCompiler, type TypeBoxTypeProvider } from "@fastify/type-provider-typebox";
import fastify, { type FastifyBaseLogger, type FastifyInstance, type FastifyReply, type FastifyRequest, type onSendHookHandler, type RawServerDefault } from "fastify";
import type { IncomingMessage, ServerResponse } from "node:http";
import type { Socket } from "node:net";
import { BellhopError } from "../base/errors.ts";
import type { Settings } from "../config.ts";
import type { Certificates } from "../doors/certificates.ts";
import type { NodeApi } from "../node/api.ts";
import type { Log } from "../observe/log.ts";
import type { Metrics } from "../observe/metrics.ts";
import { beginRequest, endRequest, isTraced, within, type RequestTrace } from "../observe/traces.ts";
import { DEVICE_ID_RULE, isDeviceId } from "../wire/device.ts";
import { FollowerPlaces } from "./arrival.ts";
import { EventPages } from "./event-pages.ts";
import type { HttpContext } from "./context.ts";
import { guarded, KeyRing } from "./auth.ts";
import { described, page } from "./description.ts";
import { errorHandler, PROBLEM_TYPE, problemOf, sendProblem } from "./answers.ts";
import { httpReadings, RouteCounts } from "./counts.ts";
import { KnownMethods } from "./methods.ts";
import type { HttpPort } from "./port.ts";
import { refuseUnknownParameters } from "./query.ts";
import { RequestRates } from "./rates.ts";
import { batchRoutes } from "./routes/batch.ts";
import { credentialRoutes } from "./routes/credentials.ts";
import { deviceRoutes } from "./routes/devices.ts";
import { errorRoutes } from "./routes/errors.ts";
import { explainRoutes } from "./routes/explain.ts";
import { feedRoutes } from "./routes/feed.ts";
import { healthRoutes } from "./routes/health.ts";
import { keyRoutes } from "./routes/keys.ts";
import { messageRoutes } from "./routes/messages.ts";
import { operateRoutes } from "./routes/operate.ts";
import { publisherRoutes } from "./routes/publishers.ts";
import { stateRoutes } from "./routes/state.ts";
import { streamRoutes } from "./routes/stream.ts";
import { traceOf } from "./trace.ts";

export type Server = FastifyInstance<RawServerDefault, IncomingMessage, ServerResponse, FastifyBaseLogger, TypeBoxTypeProvider>;

type Handler = (request: IncomingMessage, response: ServerResponse) => void;

declare module "fastify" {
  interface FastifyRequest {
    /** By the monotonic clock, milliseconds. */
    arrivedAt: number;
    /** Where somebody traces. */
    trace: RequestTrace | undefined;
  }
}

export interface HttpServer {
  /** What it has counted. */
  readings(): ReturnType<typeof httpReadings>;
  /** Takes new limits and certificates; live connections stay. */
  reload(settings: Settings, certificates: Certificates): void;
  /** Waiting requests answer and followed streams end at once, open requests within `drainSeconds`, then connections are cut and the port is closed. */
  close(): Promise<void>;
  /** Ends at once and leaves the port to the next incarnation. */
  leave(): Promise<void>;
}

export interface HttpServerParts {
  readonly node: NodeApi;
  readonly settings: Settings;
  readonly log: Log;
  readonly metrics: Metrics;
  readonly port: HttpPort;
}

/** A percent-encoded device id. */
const MAX_PARAMETER_LENGTH = 1024;

/** Listens; rejects where the address is taken. */
export async function startHttpServer(parts: HttpServerParts): Promise<HttpServer> {
  const { settings, port } = parts;
  const { connections } = port;
  const stop = new AbortController();
  const followers = new FollowerPlaces(settings.maxFollowers);
  const routes = new Map<string, RouteCounts>();
  const rates = new RequestRates(settings);
  const served: { handler?: Handler } = {};
  const server = await build({
    ...parts,
    routes,
    rates,
    connections,
    serve: (handler) => {
      served.handler = handler;
      return port.server;
    },
    stopping: stop.signal,
    followers,
    eventPages: new EventPages(parts.node, settings.followerBytes),
    handlerTimeout: (Math.max(settings.publishSeconds, settings.maxLongPollSeconds) + settings.httpRequestSeconds) * 1000,
  });
  await port.open(served.handler!);
  return {
    readings: () => httpReadings(routes, followers.taken, connections.open, connections.taken),
    reload(next, certificates) {
      rates.set(next);
      connections.set(next);
      port.use(certificates);
    },
    async close() {
      stop.abort();
      await port.close(settings.drainSeconds);
      await server.close();
    },
    async leave() {
      stop.abort();
      port.leave();
      await server.close();
    },
  };
}

interface Built extends HttpContext {
  readonly routes: Map<string, RouteCounts>;
  /** Takes what answers requests, and gives the server that they come to. */
  readonly serve: (handler: Handler) => RawServerDefault;
}

async function build(context: Built): Promise<Server> {
  const { settings, log, connections, rates } = context;
  const onError = errorHandler(log, context.node);
  const server = fastify({
    logger: false,
    bodyLimit: settings.httpBodyBytes,
    return503OnClosing: false, // said below as a problem
    routerOptions: { maxParamLength: MAX_PARAMETER_LENGTH },
    serverFactory: context.serve,
    frameworkErrors: (error, request, reply) => onError(error, request, reply),
    clientErrorHandler: refuseSocket,
  })
    .withTypeProvider<TypeBoxTypeProvider>()
    .setValidatorCompiler(TypeBoxValidatorCompiler);

  // Every body arrives as its bytes: payloads are of any type, and documents are parsed where they are checked.
  server.removeAllContentTypeParsers();
  server.addContentTypeParser("*", { parseAs: "buffer" }, (_request, body, done) => done(null, body));
  server.setErrorHandler(onError);
  const methods = new KnownMethods();
  server.addHook("onRoute", ({ url, method }) => methods.add(url, [method].flat()));
  server.setNotFoundHandler((request, reply) => {
    closeWhenStopping(context, reply);
    const allowed = methods.of(request.url).join(", ");
    if (allowed === "") void sendProblem(reply, "not_found", "There is nothing at this address; GET /openapi.json tells what there is.");
    else void sendProblem(reply.header("allow", allowed), "bad_method", `It takes ${allowed}.`);
  });
  const ring = settings.auth === "off" ? undefined : new KeyRing(context.node.keys, settings.adminKey);
  server.addHook("onClose", async () => ring?.close());
  const guard = guarded(server, ring);
  countRoutes(server, context);
  // One hook for each stage, and without a promise: every request pays for each of them.
  server.addHook("onRequest", (request, reply, done) => {
    request.arrivedAt = performance.now();
    if (isTraced()) request.trace = beginRequest(request.method, request.routeOptions.url ?? "", traceOf(request));
    const isApi = request.url.startsWith("/v1/");
    if (isApi && context.stopping.aborted) throw new BellhopError("stopping");
    connections.check(request, reply);
    rates.take(request, reply);
    refuseForeignPages(request, settings.auth === "off");
    guard(request, reply);
    if (isApi && !request.is404) refuseUnknownParameters(request);
    checkDeviceId(request);
    done();
  });

  await server.register(swagger, described(settings, context.node.status().version));
  await server.register(async (pages) => {
    pages.addHook("onRoute", (route) => {
      route.config = { ...route.config, role: "anyone" };
    });
    await pages.register(swaggerUi, page(settings));
  });
  await server.register(async (routes) => {
    messageRoutes(routes, context);
    batchRoutes(routes, context);
    publisherRoutes(routes, context);
    streamRoutes(routes, context);
    stateRoutes(routes, context);
    feedRoutes(routes, context);
    deviceRoutes(routes, context);
    credentialRoutes(routes, context);
    keyRoutes(routes, context);
    explainRoutes(routes, context);
    operateRoutes(routes, context);
    healthRoutes(routes, context);
    errorRoutes(routes);
  });
  let description = ""; // made once, when the routes are all there: making it takes a while
  server.get("/openapi.json", { config: { role: "anyone" }, schema: { hide: true } }, (_request, reply) => reply.type("application/json; charset=utf-8").send(description));
  await server.ready();
  description = JSON.stringify(server.swagger());
  return server;
}

/** Each route has its counts at hand: nothing is looked up for an answer. */
function countRoutes(server: Server, context: Built): void {
  const { routes } = context;
  server.decorateRequest("arrivedAt", 0);
  server.decorateRequest("trace", undefined);
  // Behind the reading of the body: what waits for it comes back in another context.
  server.addHook("preValidation", (request, _reply, done) => {
    if (request.trace === undefined) done();
    else within(request.trace, done);
  });
  server.addHook("onRoute", (route) => {
    const name = `${String(route.method)} ${route.url}`;
    const counts = routes.get(name) ?? new RouteCounts();
    routes.set(name, counts);
    const hook: onSendHookHandler = (request, reply, _payload, done) => {
      counts.answered(reply.statusCode, performance.now() - request.arrivedAt);
      if (request.trace !== undefined) endRequest(request.trace, reply.statusCode);
      closeWhenStopping(context, reply);
      done();
    };
    route.onSend = [hook, ...[route.onSend ?? []].flat()];
  });
}

/** A client that keeps its connection would hold the stop up until it is cut. */
function closeWhenStopping({ stopping }: HttpContext, reply: FastifyReply): void {
  if (stopping.aborted) void reply.header("connection", "close");
}

function checkDeviceId(request: FastifyRequest): void {
  const { device } = request.params as { device?: string };
  if (device !== undefined && !isDeviceId(device)) {
    throw new BellhopError("bad_request", `A device's id has ${DEVICE_ID_RULE}.`);
  }
}

/** A web page that a browser on this machine shows must not reach the broker: no other origin, no name that was made to point here. */
function refuseForeignPages(request: FastifyRequest, isOpen: boolean): void {
  const { host = "", origin } = request.headers;
  if (isOpen && !/^(?:localhost|127(?:\.\d{1,3}){3}|\[::1\])(?::\d+)?$/i.test(host)) {
    throw new BellhopError("forbidden", `The Host is ${JSON.stringify(host)}; without credentials only loopback names are answered.`);
  }
  if (origin !== undefined && origin.toLowerCase() !== `${request.protocol}://${host.toLowerCase()}`) {
    throw new BellhopError("forbidden", `Requests from pages of ${JSON.stringify(origin)} are not answered.`);
  }
}

/** What is not HTTP, too large a head or too slow: answered below the framework. */
function refuseSocket(error: Error & { code?: string }, socket: Socket): void {
  if (!socket.writable || error.code === "ECONNRESET") {
    socket.destroy();
    return;
  }
  const code = error.code === "HPE_HEADER_OVERFLOW" ? "too_large" : error.code === "ERR_HTTP_REQUEST_TIMEOUT" ? "idle" : "bad_request";
  const problem = problemOf(code, "");
  const body = JSON.stringify(problem);
  const headers = [`content-type: ${PROBLEM_TYPE}`, `content-length: ${Buffer.byteLength(body)}`, "connection: close"];
  socket.end(`HTTP/1.1 ${problem.status} ${code}\r\n${headers.join("\r\n")}\r\n\r\n${body}`);
}

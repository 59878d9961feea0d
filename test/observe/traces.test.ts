// Traces: none without an SDK; with one that is registered through the API, spans with the caller's trace as parent.

import { AsyncLocalStorage } from "node:async_hooks";

import { context, ROOT_CONTEXT, SpanKind, trace, type Attributes, type Context, type ContextManager, type Span, type SpanContext, type SpanOptions } from "@opentelemetry/api";
import { afterEach, beforeAll, afterAll, describe, expect, test } from "vitest";

import { connect } from "../../clients/device/src/index.ts";
import { beginRequest, isTraced } from "../../src/observe/traces.ts";
import { runBroker, type RunningBroker } from "../http/broker.ts";

interface Recorded {
  readonly name: string;
  readonly kind: SpanKind | undefined;
  readonly parent: SpanContext | undefined;
  readonly attributes: Attributes;
  readonly events: [string, Attributes | undefined][];
  ended: boolean;
}

/** As much of an SDK as the API needs: spans kept in a list, the context kept over what is awaited. */
function register(): Recorded[] {
  const spans: Recorded[] = [];
  const startSpan = (name: string, options: SpanOptions = {}, parent: Context = context.active()): Span => {
    const made: Recorded = { name, kind: options.kind, parent: trace.getSpanContext(parent), attributes: { ...options.attributes }, events: [], ended: false };
    spans.push(made);
    const span: Partial<Span> = {
      spanContext: () => ({ traceId: "1".repeat(32), spanId: String(spans.length).padStart(16, "0"), traceFlags: 1 }),
      setAttribute: (key, value) => ((made.attributes[key] = value), span as Span),
      addEvent: (event, attributes) => (made.events.push([event, attributes as Attributes | undefined]), span as Span),
      setStatus: () => span as Span,
      isRecording: () => !made.ended,
      end: () => void (made.ended = true),
    };
    return span as Span;
  };
  trace.setGlobalTracerProvider({ getTracer: () => ({ startSpan, startActiveSpan: () => expect.fail("not used") }) });
  const storage = new AsyncLocalStorage<Context>();
  const manager: ContextManager = {
    active: () => storage.getStore() ?? ROOT_CONTEXT,
    with: (of, run, self, ...args) => storage.run(of, () => run.call(self as ThisParameterType<typeof run>, ...args)),
    bind: (_of, target) => target,
    enable: () => manager,
    disable: () => manager,
  };
  context.setGlobalContextManager(manager);
  return spans;
}

describe("traces", () => {
  let broker: RunningBroker;
  beforeAll(async () => {
    broker = await runBroker();
  });
  afterAll(() => broker.stop());
  afterEach(() => {
    trace.disable();
    context.disable();
  });

  const publish = (device: string, headers: Record<string, string> = {}) => broker.call("POST", `/v1/devices/${device}/messages`, { body: "on", headers });

  test("are not made where no SDK is registered", async () => {
    expect(isTraced()).toBe(false);
    expect(beginRequest("GET", "/", undefined)).toBeUndefined();
    expect((await publish("quiet")).status).toBe(201);
  });

  test("an HTTP publish is a server span below the caller's, with its hop and its commit", async () => {
    const spans = register();
    expect(isTraced()).toBe(true);
    const [traceId, spanId] = ["a".repeat(32), "b".repeat(16)];
    expect((await publish("lamp-1", { traceparent: `00-${traceId}-${spanId}-01`, "idempotency-key": "k" })).status).toBe(201);
    expect((await publish("lamp-1", { "idempotency-key": "k", "content-type": "text/html" })).status).toBe(422);
    expect(spans).toMatchObject([
      {
        name: "POST /v1/devices/:device/messages", kind: SpanKind.SERVER, parent: { traceId, spanId, traceFlags: 1, isRemote: true }, ended: true,
        attributes: { "http.route": "/v1/devices/:device/messages", "http.response.status_code": 201 },
        events: [["hop", { "bellhop.request": "keyed" }], ["commit", { "bellhop.outcome": "stored" }]],
      },
      { parent: undefined, ended: true, attributes: { "http.response.status_code": 422 }, events: [["hop", {}], ["refused", { "bellhop.outcome": "key_reused" }]] },
    ]);
  });

  test("two requests at once each have their own", async () => {
    const spans = register();
    const ids = ["c".repeat(32), "d".repeat(32), "e".repeat(32)];
    await Promise.all(ids.map((id, i) => publish(`at-once-${i}`, { traceparent: `00-${id}-${"b".repeat(16)}-01` })));
    expect(spans.map((span) => span.parent?.traceId).sort()).toEqual(ids);
    expect(spans.map((span) => span.events.map(([event]) => event))).toEqual(ids.map(() => ["hop", "commit"]));
  });

  test("a device's timed message is a span", async () => {
    const device = connect({ brokers: [broker.device], device: "lamp-2" });
    await device.publish("untraced");
    const spans = register();
    await device.publish("traced");
    await device.close();
    expect(spans).toMatchObject([{ name: "device publish", ended: true, attributes: { "bellhop.device": "lamp-2", "bellhop.series": 2 } }]);
  });
});

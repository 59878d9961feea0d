// Traces as an option, over the OpenTelemetry API alone: where no program has registered an SDK, nothing is made and nothing is asked of a message.

import { context, ProxyTracerProvider, ROOT_CONTEXT, SpanKind, SpanStatusCode, trace, TraceFlags, type Context, type Span } from "@opentelemetry/api";

export type { Span };

const NAME = "bellhop";

/** True once an SDK is registered (`trace.setGlobalTracerProvider`). */
export function isTraced(): boolean {
  const provider = trace.getTracerProvider();
  return !(provider instanceof ProxyTracerProvider) || provider.getDelegateTracer(NAME) !== undefined;
}

/** The span of one HTTP request, and the context that its handler runs in. */
export interface RequestTrace {
  readonly span: Span;
  readonly context: Context;
}

/**
 * Begins the server span of a request; undefined where nobody traces.
 * @param traceparent a valid one (W3C Trace Context), or none: the span has no parent then
 */
export function beginRequest(method: string, route: string, traceparent: string | undefined): RequestTrace | undefined {
  if (!isTraced()) return undefined;
  const parent = traceparent === undefined ? ROOT_CONTEXT : trace.setSpanContext(ROOT_CONTEXT, { ...fieldsOf(traceparent), isRemote: true });
  const span = trace.getTracer(NAME).startSpan(`${method} ${route}`, { kind: SpanKind.SERVER, attributes: { "http.request.method": method, "http.route": route } }, parent);
  return { span, context: trace.setSpan(parent, span) };
}

export function endRequest({ span }: RequestTrace, status: number): void {
  span.setAttribute("http.response.status_code", status);
  if (status >= 500) span.setStatus({ code: SpanStatusCode.ERROR });
  span.end();
}

/** Runs `next`, and everything that it starts, within the request's span. */
export function within(request: RequestTrace, next: () => void): void {
  context.with(request.context, next);
}

/** The span that the caller runs within, where one is recorded. */
export function activeSpan(): Span | undefined {
  const span = trace.getActiveSpan();
  return span?.isRecording() === true ? span : undefined;
}

/** A message of a device that was timed and is answered now; `startedAt` by the monotonic clock, milliseconds. */
export function devicePublished(device: string, series: number, startedAt: number): void {
  if (!isTraced()) return;
  const startTime = performance.timeOrigin + startedAt;
  trace.getTracer(NAME).startSpan("device publish", { kind: SpanKind.SERVER, startTime, attributes: { "bellhop.device": device, "bellhop.series": series } }, ROOT_CONTEXT).end();
}

function fieldsOf(traceparent: string): { traceId: string; spanId: string; traceFlags: number } {
  const [, traceId = "", spanId = "", flags = "00"] = traceparent.split("-");
  return { traceId, spanId, traceFlags: Number.parseInt(flags, 16) & TraceFlags.SAMPLED };
}

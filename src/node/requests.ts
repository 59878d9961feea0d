// Counts what became of the requests to bucket leaders, and how long they took: publishes over HTTP, and all others by their type.

import { Tally, TimeHistogram } from "../base/counts.ts";
import type { GatewayAnswer, GatewayRequest } from "../core/gateway/types.ts";
import { readingsOf, type Readings } from "../observe/metrics.ts";
import { activeSpan, type Span } from "../observe/traces.ts";

export class RequestCounts {
  readonly #published = new Tally();
  readonly #publishTimes = new TimeHistogram();
  readonly #others = new Map<GatewayRequest["type"], Tally>();

  answered(type: GatewayRequest["type"], answer: GatewayAnswer, ms: number): void {
    if (type === "keyed" || type === "unkeyed" || type === "numbered") {
      this.#published.add(outcomeOf(answer));
      this.#publishTimes.record(ms);
    } else this.#tallyOf(type).add(outcomeOf(answer));
  }

  /** Those of publishes stand beside the devices'. */
  readings(): Readings<"publishes_total" | "publish_seconds" | "requests_total"> {
    return {
      publishes_total: readingsOf(this.#published, "outcome", { front: "http" }),
      publish_seconds: [{ labels: { front: "http" }, value: this.#publishTimes }],
      requests_total: [...this.#others].flatMap(([type, tally]) => readingsOf(tally, "outcome", { type })),
    };
  }

  #tallyOf(type: GatewayRequest["type"]): Tally {
    const known = this.#others.get(type);
    if (known !== undefined) return known;
    const tally = new Tally();
    this.#others.set(type, tally);
    return tally;
  }
}

/** The span that the request is made within, told of the hop; undefined where nobody traces. */
export function spanOfHop(type: GatewayRequest["type"]): Span | undefined {
  const span = activeSpan();
  span?.addEvent("hop", { "bellhop.request": type });
  return span;
}

export function endHop(span: Span, answer: GatewayAnswer): void {
  span.addEvent(answer.type === "failed" ? "refused" : "commit", { "bellhop.outcome": outcomeOf(answer) });
}

function outcomeOf(answer: GatewayAnswer): string {
  if (answer.type === "failed") return answer.code;
  if (answer.type === "stored") return answer.duplicate ? "duplicate" : "stored";
  if (answer.type === "broken") return answer.code;
  return answer.type === "gap" ? "gap" : "done";
}

// Three-fold overload over HTTP: what is answered with success while three times the peak is offered, and how soon it is well again. One run, one ratio.

import autocannon from "autocannon";

const SECONDS = 5;
const PEAK_CONNECTIONS = 100;
/** Under overload each connection is a client that sends at its times; together three times the peak. */
const OVERLOAD_CONNECTIONS = 1000;
const TIMES = 3;
const DEVICES = 1000;
/** A gentle rate afterwards, as a share of the peak, and how long it may take until it is answered as quickly as it should be. */
const GENTLE = 0.3;

export interface HttpOverload {
  /** Publishes stored per second: alone, and under overload. */
  readonly peak: number;
  readonly goodput: number;
  /** Under overload: answered with an error of the table, and not answered at all. Per second. */
  readonly refused: number;
  readonly failed: number;
  /** Milliseconds. */
  readonly p99: number;
  /** Afterwards, at a gentle rate: answered otherwise than with success, and milliseconds. */
  readonly afterRefused: number;
  readonly afterP99: number;
}

/** @param at HOST:PORT of a broker's HTTP */
export async function measureHttpOverload(at: string): Promise<HttpOverload> {
  const peak = await load(at, PEAK_CONNECTIONS, undefined);
  const perSecond = peak["2xx"] / peak.duration;
  const over = await load(at, OVERLOAD_CONNECTIONS, TIMES * perSecond);
  const after = await load(at, PEAK_CONNECTIONS, GENTLE * perSecond);
  return {
    peak: perSecond,
    goodput: over["2xx"] / over.duration,
    refused: over.non2xx / over.duration,
    failed: over.errors / over.duration,
    p99: over.latency.p99,
    afterRefused: after.non2xx + after.errors,
    afterP99: after.latency.p99,
  };
}

/** @param rate requests per second over all connections; undefined: a new one for each answer. */
function load(at: string, connections: number, rate: number | undefined): Promise<autocannon.Result> {
  let sent = 0;
  const run = Date.now().toString(36);
  const options: autocannon.Options = {
    url: `http://${at}`,
    connections,
    duration: SECONDS,
    ...(rate === undefined ? {} : { overallRate: Math.max(connections, Math.round(rate)) }),
    requests: [
      {
        method: "POST",
        headers: { "content-type": "application/octet-stream" },
        body: Buffer.alloc(128, "x"),
        setupRequest(request) {
          sent += 1;
          return { ...request, path: `/v1/devices/over-${sent % DEVICES}/messages`, headers: { ...request.headers, "idempotency-key": `${run}-${sent}` } };
        },
      },
    ],
  };
  return new Promise((resolve, reject) => {
    autocannon(options, (error: Error | null, end) => (error === null ? resolve(end) : reject(error)));
  });
}

// Those who notice a fail-over: a device and an HTTP publisher, which publish on and on and note how long no answer came.

import { setTimeout as sleep } from "node:timers/promises";
import { connect, type Device } from "../../clients/device/src/index.ts";

/** The device publishes so often, whatever is answered. Milliseconds. */
const EACH_MS = 5;
const TRY_MS = 2000;
const RETRY_MS = 5;

/** The longest time without an answer since it was set back, in milliseconds. */
export class Gap {
  #answeredAt = performance.now();
  #longest = 0;
  answers = 0;

  answered(): void {
    const now = performance.now();
    this.#longest = Math.max(this.#longest, now - this.#answeredAt);
    this.#answeredAt = now;
    this.answers += 1;
  }

  reset(): void {
    this.#longest = 0;
  }

  /** What is still going on counts too. */
  get longest(): number {
    return Math.max(this.#longest, performance.now() - this.#answeredAt);
  }
}

export interface Observer {
  readonly gap: Gap;
  stop(): Promise<void>;
}

export function observeDevice(id: string, broker: string): Observer {
  const gap = new Gap();
  const device: Device = connect({ brokers: broker, device: id, maxBackoff: 0.1 });
  const publishing = setInterval(() => {
    device.publish("128 bytes".padEnd(128, ".")).then(
      () => gap.answered(),
      () => undefined, // closed, or its outbox is full: then no answer comes, and that is what is measured
    );
  }, EACH_MS);
  return {
    gap,
    async stop() {
      clearInterval(publishing);
      await device.close();
    },
  };
}

/** One message at a time, with the same key until it is answered. */
export function observeHttp(device: string, http: string): Observer {
  const gap = new Gap();
  let stopping = false;
  const publishing = (async () => {
    for (let number = 0; !stopping; number += 1) {
      while (!stopping && !(await publish(http, device, `${device}-${number}`))) await sleep(RETRY_MS);
      gap.answered();
    }
  })();
  return {
    gap,
    async stop() {
      stopping = true;
      await publishing;
    },
  };
}

async function publish(http: string, device: string, key: string): Promise<boolean> {
  try {
    const headers = { "idempotency-key": key, "content-type": "text/plain" };
    const response = await fetch(`http://${http}/v1/devices/${device}/messages`, { method: "POST", headers, body: "128 bytes".padEnd(128, "."), signal: AbortSignal.timeout(TRY_MS) });
    await response.arrayBuffer();
    return response.ok;
  } catch {
    return false;
  }
}

// Those who notice a fail-over: they publish on and on and note how long no answer came. A device of Bellhop and a publisher of a peer publish at the same times.

import { setTimeout as sleep } from "node:timers/promises";
import { connect, type Device } from "../../clients/device/src/index.ts";
import { connectNats, STREAM } from "../peers/nats.ts";
import { connectRabbit } from "../peers/rabbitmq.ts";

/** One publishes so often, whatever is answered. Milliseconds. */
const EACH_MS = 5;
const TRY_MS = 2000;
const RETRY_MS = 5;
const PAYLOAD = Buffer.alloc(128, ".");

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
  const publish = (): void => {
    device.publish(PAYLOAD).then(
      () => gap.answered(),
      () => undefined, // closed, or its outbox is full: then no answer comes, and that is what is measured
    );
  };
  return observer(gap, publish, () => device.close());
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

/** What gets no answer is not sent again: the next ones come so soon that it would show nothing more. */
export async function observeNats(at: string): Promise<Observer> {
  const gap = new Gap();
  const inbox = `_INBOX.failover.${process.pid}`;
  const socket = await connectNats(at, inbox, {
    message: (chunk, start, end) => void (chunk.subarray(start, end).includes('"seq"') && gap.answered()), // else an error: the stream has no leader
    refused: () => undefined,
    failed: () => undefined,
  });
  const command = Buffer.concat([Buffer.from(`PUB ${STREAM}.failover ${inbox} ${PAYLOAD.length}\r\n`), PAYLOAD, Buffer.from("\r\n")]);
  return observer(gap, () => void socket.write(command), async () => void socket.destroy());
}

/** What is not confirmed is RabbitMQ's to settle: it sends it to the new leader by itself. */
export async function observeRabbit(at: string, queue: string): Promise<Observer> {
  const gap = new Gap();
  const connection = await connectRabbit(at);
  const channel = await connection.createConfirmChannel();
  let isOpen = true;
  channel.on("error", () => undefined).on("close", () => (isOpen = false)); // then no answer comes
  const confirmed = (error: unknown): void => void (error === null && gap.answered());
  const publish = (): void => void (isOpen && channel.sendToQueue(queue, PAYLOAD, { persistent: true }, confirmed));
  return observer(gap, publish, async () => void (isOpen && (await connection.close().catch(() => undefined))));
}

function observer(gap: Gap, publish: () => void, close: () => Promise<void>): Observer {
  const publishing = setInterval(publish, EACH_MS);
  return {
    gap,
    async stop() {
      clearInterval(publishing);
      await close();
    },
  };
}

async function publish(http: string, device: string, key: string): Promise<boolean> {
  try {
    const headers = { "idempotency-key": key, "content-type": "text/plain" };
    const response = await fetch(`http://${http}/v1/devices/${device}/messages`, { method: "POST", headers, body: PAYLOAD, signal: AbortSignal.timeout(TRY_MS) });
    await response.arrayBuffer();
    return response.ok;
  } catch {
    return false;
  }
}

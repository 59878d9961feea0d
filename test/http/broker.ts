// A real broker on free ports with a data directory of its own, and calls to its HTTP side.

import { mkdtempSync, rmSync } from "node:fs";
import { request, type IncomingMessage } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { startBroker } from "../../src/broker.ts";
import { settingsWith, type Settings } from "../../src/config.ts";

export interface Reply {
  readonly status: number;
  readonly headers: IncomingMessage["headers"];
  readonly text: string;
  // The shape is what the test asserts.
  // eslint-disable-next-line @typescript-eslint/no-explicit-any
  readonly json: any;
}

export interface Call {
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string | Uint8Array;
  readonly signal?: AbortSignal;
}

export interface RunningBroker {
  readonly http: string;
  readonly device: string;
  call(method: string, path: string, call?: Call): Promise<Reply>;
  /** Opens a followed stream. */
  follow(path: string, headers?: Readonly<Record<string, string>>): Promise<Events>;
  stop(): Promise<void>;
}

/** With a `data` directory of the test's own it is kept, to start again on it. */
export async function runBroker(chosen: Partial<Settings> = {}): Promise<RunningBroker> {
  const data = chosen.data ?? mkdtempSync(join(tmpdir(), "bellhop-http-"));
  const broker = await startBroker(settingsWith({ http: "127.0.0.1:0", device: "127.0.0.1:0", bucketCount: 4, logLevel: "fatal", ...chosen, data }));
  let stopped = false;
  return {
    http: broker.httpAddress,
    device: broker.deviceAddress,
    call: (method, path, options = {}) => call(broker.httpAddress, method, path, options),
    follow: (path, headers = {}) => follow(broker.httpAddress, path, headers),
    async stop() {
      if (stopped) return;
      stopped = true;
      await broker.close();
      if (chosen.data === undefined) rmSync(data, { recursive: true });
    },
  };
}

/** node:http and not fetch: headers go out as they are written, Host and Origin too. */
export function call(address: string, method: string, path: string, { headers, body, signal }: Call): Promise<Reply> {
  return new Promise((resolve, reject) => {
    const outgoing = request(`http://${address}${path}`, { method, headers: headers ?? {}, ...(signal === undefined ? {} : { signal }) }, (incoming) => {
      const chunks: Buffer[] = [];
      incoming.on("data", (chunk: Buffer) => chunks.push(chunk));
      incoming.on("error", reject);
      incoming.on("end", () => {
        const text = Buffer.concat(chunks).toString("utf8");
        const isJson = method !== "HEAD" && /\bjson\b/.test(incoming.headers["content-type"] ?? "");
        resolve({ status: incoming.statusCode ?? 0, headers: incoming.headers, text, json: isJson ? JSON.parse(text) : undefined });
      });
    });
    outgoing.on("error", reject);
    outgoing.end(body);
  });
}

export interface StreamEvent {
  readonly id: string;
  readonly event: string;
  readonly data: string;
}

/** The events of a followed stream, one after the other; a small parser of server-sent events. */
export class Events {
  readonly response: IncomingMessage;
  readonly #events: AsyncGenerator<StreamEvent>;

  constructor(response: IncomingMessage) {
    this.response = response;
    this.#events = parse(response);
  }

  /** The next event; undefined when the stream has ended. */
  async next(): Promise<StreamEvent | undefined> {
    const { value, done } = await this.#events.next();
    return done === true ? undefined : value;
  }

  async take(count: number): Promise<StreamEvent[]> {
    const taken: StreamEvent[] = [];
    while (taken.length < count) {
      const event = await this.next();
      if (event === undefined) throw new Error(`The stream ended after ${taken.length} events.`);
      taken.push(event);
    }
    return taken;
  }

  close(): void {
    this.response.destroy();
  }
}

export function follow(address: string, path: string, headers: Readonly<Record<string, string>>): Promise<Events> {
  return new Promise((resolve, reject) => {
    const outgoing = request(`http://${address}${path}`, { headers: { accept: "text/event-stream", ...headers } }, (response) => {
      if (response.statusCode === 200) resolve(new Events(response));
      else {
        response.resume();
        reject(new Error(`followed with status ${response.statusCode}`));
      }
    });
    outgoing.on("error", reject);
    outgoing.end();
  });
}

async function* parse(response: IncomingMessage): AsyncGenerator<StreamEvent> {
  let rest = "";
  response.setEncoding("utf8");
  try {
    for await (const chunk of response) {
      const blocks = (rest + (chunk as string)).split("\n\n");
      rest = blocks.pop() ?? "";
      for (const block of blocks) {
        const lines = block.split("\n");
        const field = (name: string): string[] => lines.filter((line) => line.startsWith(`${name}: `)).map((line) => line.slice(name.length + 2));
        if (field("data").length > 0) yield { id: field("id")[0] ?? "", event: field("event")[0] ?? "message", data: field("data").join("\n") };
      }
    }
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ECONNRESET") throw error; // closed by the test
  }
}

// An HTTP server that answers as the test says, one script for one request after the other, and remembers what it was asked.

import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { text as textOf } from "node:stream/consumers";
import { problemOf, PROBLEM_TYPE } from "../../../src/http/answers.ts";
import type { ErrorCode } from "../../../src/base/errors.ts";

export interface Asked {
  readonly method: string;
  readonly url: string;
  readonly headers: IncomingMessage["headers"];
  readonly body: string;
}

export type Script = (response: ServerResponse, asked: Asked) => void;

export class ScriptedServer {
  readonly asked: Asked[] = [];
  readonly #server: Server;
  readonly #scripts: Script[] = [];
  #always: Script | undefined;
  #whenAsked: (() => void)[] = [];

  private constructor() {
    this.#server = createServer((request, response) => void this.#answer(request, response));
  }

  static async start(): Promise<ScriptedServer> {
    const scripted = new ScriptedServer();
    await new Promise<void>((resolve) => scripted.#server.listen(0, "127.0.0.1", resolve));
    return scripted;
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  /** The next requests are answered so, in this order. */
  script(...scripts: Script[]): void {
    this.#scripts.push(...scripts);
  }

  /** What has no script is answered so. */
  always(script: Script): void {
    this.#always = script;
  }

  /** Resolves when so many requests have come. */
  async askedTimes(count: number): Promise<void> {
    while (this.asked.length < count) await new Promise<void>((resolve) => this.#whenAsked.push(resolve));
  }

  async stop(): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const body = await textOf(request);
    const asked = { method: request.method ?? "", url: request.url ?? "", headers: request.headers, body };
    this.asked.push(asked);
    const waiting = this.#whenAsked;
    this.#whenAsked = [];
    for (const resolve of waiting) resolve();
    const script = this.#scripts.shift() ?? this.#always ?? problem("not_found");
    script(response, asked);
  }
}

export const json = (value: unknown, status = 200): Script => (response) => {
  response.writeHead(status, { "content-type": "application/json" }).end(JSON.stringify(value));
};

export const stored = (offset: string, duplicate = false): Script => json({ device: "d1", offset, duplicate }, duplicate ? 200 : 201);

export const problem = (code: ErrorCode, headers: Record<string, string> = {}, more: object = {}): Script => (response) => {
  const body = { ...problemOf(code, ""), ...more };
  response.writeHead(body.status, { "content-type": PROBLEM_TYPE, ...headers }).end(JSON.stringify(body));
};

/** The connection goes before an answer. */
export const cut: Script = (response) => void response.socket?.destroy();

/** No answer ever comes. */
export const silence: Script = () => undefined;

/** Server-sent events, as they are written; `end` closes the stream behind them. */
export const events = (text: string, how: "end" | "cut" | "stay" = "stay"): Script => (response) => {
  response.writeHead(200, { "content-type": "text/event-stream" });
  response.write(text, () => {
    if (how === "end") response.end();
    if (how === "cut") response.socket?.destroy();
  });
};

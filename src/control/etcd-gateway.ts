// etcd's JSON gateway: calls that move on to the next endpoint when one fails, and a watch as a stream of its answers. Keys and values are base64, int64 come as strings.

import { Agent, request } from "undici";
import { BellhopError } from "../base/errors.ts";

export interface EtcdOptions {
  /** `http(s)://HOST:PORT`, at least one. */
  readonly endpoints: readonly string[];
  readonly user?: string | undefined;
  readonly password?: string;
  /** PEM: who signs etcd's certificates; this client's own certificate and key. */
  readonly ca?: string | undefined;
  readonly cert?: string | undefined;
  readonly key?: string | undefined;
}

/** An endpoint that does not answer a call in this time is left for the next one; in milliseconds. */
const CALL_MS = 2000;
const ANSWER_BYTES_MAX = 64 * 1024 * 1024;

export interface KeyValue {
  readonly key: string;
  readonly value?: string;
  readonly create_revision: string;
  readonly mod_revision: string;
}

export interface RangeAnswer {
  readonly header: { readonly revision: string };
  readonly kvs?: readonly KeyValue[];
  readonly more?: boolean;
}

export interface TxnAnswer {
  readonly header: { readonly revision: string };
  readonly succeeded?: boolean;
  readonly responses?: readonly { readonly response_range?: RangeAnswer }[];
}

export interface WatchAnswer {
  readonly canceled?: boolean;
  readonly compact_revision?: string;
  readonly events?: readonly { readonly type?: "PUT" | "DELETE"; readonly kv: KeyValue }[];
}

export class EtcdGateway {
  readonly #options: EtcdOptions;
  readonly #agent: Agent;
  /** Endpoints are taken in turn: the one that answered last is asked first. */
  #current = 0;
  #token: string | undefined;

  constructor(options: EtcdOptions) {
    const { ca, cert, key } = options;
    this.#options = options;
    const tls = { ...(ca === undefined ? {} : { ca }), ...(cert === undefined ? {} : { cert }), ...(key === undefined ? {} : { key }) };
    // A watch may be silent for as long as nothing happens.
    this.#agent = new Agent({ bodyTimeout: 0, headersTimeout: 0, connect: { ...tls, timeout: CALL_MS } });
  }

  /** Asks each endpoint at most once. What was asked may have been done although it failed. @throws BellhopError `deadline` (retryable) where none answers, `internal` where etcd refuses */
  async call<Answer>(path: string, body: unknown): Promise<Answer> {
    const { endpoints } = this.#options;
    let why = "";
    for (let tries = 0; tries < endpoints.length; tries += 1) {
      const at = endpoints[this.#current % endpoints.length]!;
      try {
        return await this.#ask<Answer>(at, path, body);
      } catch (error) {
        if (error instanceof BellhopError) throw error;
        why = `${at}: ${(error as Error).message}`;
        this.#current = (this.#current + 1) % endpoints.length;
      }
    }
    throw new BellhopError("deadline", `etcd does not answer (${why}).`);
  }

  /** Hands each answer of a watch to `take` until the stream ends or `signal` aborts. Rejects when it breaks; the next watch goes to the next endpoint. */
  async watch(create: unknown, take: (answer: WatchAnswer) => void, signal: AbortSignal): Promise<void> {
    const { endpoints } = this.#options;
    const at = endpoints[this.#current % endpoints.length]!;
    try {
      const { statusCode, body } = await request(`${at}/v3/watch`, { method: "POST", dispatcher: this.#agent, signal, headers: await this.#headers(at), body: JSON.stringify({ create_request: create }) });
      if (statusCode !== 200) throw new Error(`a watch was answered with ${statusCode}: ${await body.text()}`);
      body.setEncoding("utf8");
      let rest = "";
      for await (const chunk of body as AsyncIterable<string>) {
        const lines = (rest + chunk).split("\n");
        rest = lines.pop()!;
        if (rest.length > ANSWER_BYTES_MAX) throw new Error("an answer of a watch has no end");
        for (const line of lines) if (line !== "") take(resultOf(line));
      }
    } catch (error) {
      if (!signal.aborted) this.#current = (this.#current + 1) % endpoints.length;
      throw error;
    }
  }

  /** The endpoint in use answers calls but brings nothing: the next one is asked from now on. */
  moveOn(): void {
    this.#current = (this.#current + 1) % this.#options.endpoints.length;
  }

  async close(): Promise<void> {
    await this.#agent.destroy();
  }

  async #ask<Answer>(at: string, path: string, body: unknown): Promise<Answer> {
    const answer = await this.#post(at, path, body, await this.#headers(at));
    if (answer.status === 401 && this.#options.user !== undefined) {
      this.#token = undefined; // it has run out
      return resultIn(await this.#post(at, path, body, await this.#headers(at)));
    }
    return resultIn(answer);
  }

  async #post(at: string, path: string, body: unknown, headers: Record<string, string>): Promise<{ status: number; text: string }> {
    const { statusCode, body: answer } = await request(`${at}${path}`, { method: "POST", dispatcher: this.#agent, signal: AbortSignal.timeout(CALL_MS), headers, body: JSON.stringify(body) });
    return { status: statusCode, text: await answer.text() };
  }

  async #headers(at: string): Promise<Record<string, string>> {
    const { user, password } = this.#options;
    const headers: Record<string, string> = { "content-type": "application/json" };
    if (user === undefined) return headers;
    this.#token ??= resultIn<{ token: string }>(await this.#post(at, "/v3/auth/authenticate", { name: user, password: password ?? "" }, headers)).token;
    return { ...headers, authorization: this.#token };
  }
}

/** gRPC codes that mean another endpoint, or later: cancelled, unknown, deadline exceeded, resource exhausted, aborted, unavailable. */
const PASSING = new Set([1, 2, 4, 8, 10, 14]);

function resultIn<Answer>({ status, text }: { readonly status: number; readonly text: string }): Answer {
  const answer = JSON.parse(text) as Answer & { readonly error?: string; readonly code?: number };
  if (status === 200 && answer.error === undefined) return answer;
  const why = `${status} ${answer.error ?? text.slice(0, 200)}`;
  if (status >= 500 || (answer.code !== undefined && PASSING.has(answer.code))) throw new Error(why);
  throw new BellhopError("internal", `etcd refuses: ${why}.`);
}

function resultOf(line: string): WatchAnswer {
  const { result, error } = JSON.parse(line) as { readonly result?: WatchAnswer; readonly error?: { readonly message?: string } };
  if (result === undefined) throw new Error(`a watch ended: ${error?.message ?? line.slice(0, 200)}`);
  return result;
}

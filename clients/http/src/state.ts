// A device's state: two JSON documents, `reported` by the device and `desired` by the backends, each with a version.

import type { Answer, Calls } from "./calls.ts";
import { type JsonObject, parseJson, recordOf } from "./entries.ts";
import { BellhopError } from "./errors.ts";
import { devicePath } from "./path.ts";

export interface Document {
  /** 0: never written. */
  readonly version: number;
  /** Where in the stream it was changed last. */
  readonly offset: string;
  readonly document: JsonObject;
}

export interface DeviceDocuments {
  readonly device: string;
  readonly reported: Document;
  readonly desired: Document;
  readonly etag: string;
}

export interface Changed {
  readonly version: number;
  readonly offset: string;
}

export interface ChangeOptions {
  /** Which document; `desired` where nothing is said. */
  readonly document?: "reported" | "desired";
  /** Only if the document still has this version: else it rejects with `version_conflict`. */
  readonly ifVersion?: number;
  readonly signal?: AbortSignal;
}

export class State {
  readonly #calls: Calls;
  readonly #device: string;
  readonly #path: string;

  constructor(calls: Calls, device: string) {
    this.#calls = calls;
    this.#device = device;
    this.#path = `${devicePath(device)}/state`;
  }

  /** Both documents. `at`: once this offset is applied, such as the one that a change answered. @throws BellhopError */
  async get(options: { readonly at?: string; readonly signal?: AbortSignal } = {}): Promise<DeviceDocuments> {
    const { at, signal } = options;
    const query = at === undefined ? "" : `?at=${encodeURIComponent(at)}`;
    const answer = await this.#calls.call({ method: "GET", path: this.#path + query, device: this.#device, signal });
    return { ...recordOf(parseJson(answer.text)), etag: answer.headers.get("etag") ?? "" } as unknown as DeviceDocuments;
  }

  /** Replaces the document. @throws BellhopError `version_conflict`, `bad_document` … */
  set(document: JsonObject, options: ChangeOptions = {}): Promise<Changed> {
    return this.#change("PUT", document, options);
  }

  /** Merges into the document (RFC 7396: null removes a name). @throws BellhopError as `set` */
  patch(patch: JsonObject, options: ChangeOptions = {}): Promise<Changed> {
    return this.#change("PATCH", patch, options);
  }

  async #change(method: "PUT" | "PATCH", change: JsonObject, { document = "desired", ifVersion, signal }: ChangeOptions): Promise<Changed> {
    const condition = ifVersion === undefined ? undefined : { "if-match": `"${document}-${ifVersion}"` };
    const headers = { "content-type": method === "PUT" ? "application/json" : "application/merge-patch+json", ...condition };
    const call = { method, path: `${this.#path}?document=${document}`, headers, body: JSON.stringify(change), device: this.#device, signal };
    let answer: Answer;
    try {
      answer = await this.#calls.call(call);
    } catch (error) {
      const own = error instanceof BellhopError && error.code === "version_conflict" && error.attempts > 1 && ifVersion !== undefined;
      const now = own ? (await this.get({ ...(signal === undefined ? {} : { signal }) }))[document] : undefined;
      // An earlier attempt may have made the change, its answer lost: then the document is the next version, and as wanted.
      if (now?.version !== (ifVersion ?? 0) + 1 || !isSame(wanted(method, change, now.document), now.document)) throw error;
      return { version: now.version, offset: now.offset };
    }
    const { version, offset } = recordOf(parseJson(answer.text));
    return { version: Number(version), offset: String(offset) };
  }
}

type JsonLike = unknown;

function wanted(method: "PUT" | "PATCH", change: JsonObject, now: JsonObject): JsonLike {
  return method === "PUT" ? change : merged(now, change);
}

/** RFC 7396. */
function merged(target: JsonLike, patch: JsonLike): JsonLike {
  if (!isObject(patch)) return patch;
  const result: Record<string, JsonLike> = isObject(target) ? { ...target } : {};
  for (const [name, value] of Object.entries(patch)) {
    if (value === null) delete result[name];
    else result[name] = merged(result[name], value);
  }
  return result;
}

/** As JSON; the order of names does not matter. */
function isSame(a: JsonLike, b: JsonLike): boolean {
  if (Array.isArray(a)) return Array.isArray(b) && a.length === b.length && a.every((item, place) => isSame(item, b[place]));
  if (!isObject(a) || !isObject(b)) return Object.is(a, b);
  const names = Object.keys(a);
  return names.length === Object.keys(b).length && names.every((name) => Object.hasOwn(b, name) && isSame(a[name], b[name]));
}

function isObject(value: JsonLike): value is Record<string, JsonLike> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

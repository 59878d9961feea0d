// Reads and follows a device's stream.

import type { Call, Calls } from "./calls.ts";
import { type Entry, type EntryType, entryOf, type Gap, gapOf, parseJson, recordOf } from "./entries.ts";
import { followEvents, type FollowSettings } from "./follow.ts";
import { devicePath } from "./path.ts";

export interface StreamOptions {
  /** Entries behind this offset; "0", the default, for all that are kept. */
  readonly after?: string;
  /** Most entries of a page. */
  readonly limit?: number;
  readonly types?: readonly EntryType[];
  readonly signal?: AbortSignal;
}

export interface Page {
  readonly entries: readonly Entry[];
  /** Pass it as `after` to read on. */
  readonly next: string;
  /** The first offset that is kept. */
  readonly earliest: string;
  /** What was asked for and is no longer kept. */
  readonly gap?: Gap;
}

export interface FollowOptions extends FollowSettings {
  /** Entries behind this offset; "end", the default, for those that come from now on. */
  readonly after?: string;
  readonly types?: readonly EntryType[];
}

export type Followed = Entry | Gap;

/** The stream up to its end, page by page. @throws BellhopError */
export async function* pages(calls: Calls, device: string, options: StreamOptions): AsyncGenerator<Page> {
  let after = options.after ?? "0";
  for (;;) {
    const page = await readPage(calls, device, { ...options, after });
    const isEnd = page.entries.length === 0 && page.gap === undefined && page.next === after;
    if (isEnd) return;
    // An empty page of a filtered stream only moves on.
    if (page.entries.length > 0 || page.gap !== undefined) yield page;
    if (page.next === after) return;
    after = page.next;
  }
}

/** What comes, for ever; after a cut it goes on behind the last entry that was handed over. @throws BellhopError that is not retryable */
export async function* follow(calls: Calls, device: string, options: FollowOptions): AsyncGenerator<Followed> {
  const { after = "end", types, signal } = options;
  // `end` is made an offset first: a connection lost before its first event would else skip what came meanwhile.
  const start = after === "end" ? await endOf(calls, device, signal) : after;
  if (start === undefined) return;
  const path = `${devicePath(device)}/stream?${query({ after: start, types })}`;
  for await (const { event, data } of followEvents(calls, (position) => following(path, position, device), options)) {
    if (event === "gap") yield gapOf(parseJson(data));
    else if (event === "message") yield entryOf(parseJson(data));
  }
}

/** The stream's last offset; undefined when the signal aborts first. */
async function endOf(calls: Calls, device: string, signal: AbortSignal | undefined): Promise<string | undefined> {
  try {
    return (await readPage(calls, device, { after: "end", limit: 1, ...(signal === undefined ? {} : { signal }) })).next;
  } catch (error) {
    if (signal?.aborted === true) return undefined;
    throw error;
  }
}

async function readPage(calls: Calls, device: string, options: StreamOptions): Promise<Page> {
  const path = `${devicePath(device)}/stream?${query(options)}`;
  const answer = await calls.call({ method: "GET", path, device, signal: options.signal });
  const { entries, next, earliest, gap } = recordOf(parseJson(answer.text));
  const read = { entries: (entries as readonly unknown[]).map(entryOf), next: String(next), earliest: String(earliest) };
  return gap === undefined ? read : { ...read, gap: gapOf(gap) };
}

/** The request that goes on behind a position; "" for none. */
export function following(path: string, position: string, device?: string): Call {
  const headers = { accept: "text/event-stream", "cache-control": "no-store", ...(position === "" ? {} : { "last-event-id": position }) };
  return { method: "GET", path, headers, ...(device === undefined ? {} : { device }) };
}

function query({ after, limit, types }: { readonly after?: string; readonly limit?: number; readonly types?: readonly EntryType[] | undefined }): string {
  return new URLSearchParams({
    ...(after === undefined ? {} : { after }),
    ...(limit === undefined ? {} : { limit: String(limit) }),
    ...(types === undefined ? {} : { type: types.join(",") }),
  }).toString();
}

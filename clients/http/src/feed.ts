// Follows the entries of all devices at once, in order within each.

import type { Calls } from "./calls.ts";
import { type Entry, type EntryType, entryOf, parseJson, recordOf } from "./entries.ts";
import { followEvents, type FollowSettings } from "./follow.ts";
import { following } from "./streams.ts";

export interface FeedOptions extends FollowSettings {
  /** A position that the feed gave; "end", the default, for what comes from now on; "start" for all that is kept. */
  readonly after?: string;
  readonly types?: readonly EntryType[];
}

/** An entry, with its device. */
export type FeedEntry = Entry & { readonly device: string };

/** Something is no longer kept: these offsets of a device, or so many entries of a bucket, nobody can say of which devices. */
export type FeedGap =
  | { readonly type: "gap"; readonly device: string; readonly from: string; readonly to: string }
  | { readonly type: "gap"; readonly bucket: number; readonly entries: number };

/** All that came before it is behind this position: where a program writes it down, it goes on there after a restart. */
export interface FeedPosition {
  readonly type: "position";
  readonly position: string;
}

export type FeedItem = FeedEntry | FeedGap | FeedPosition;

/** What comes, for ever; what a new connection brings again is left out. @throws BellhopError that is not retryable */
export async function* feed(calls: Calls, options: FeedOptions): AsyncGenerator<FeedItem> {
  const { after = "end", types } = options;
  const path = `/v1/feed?${new URLSearchParams({ after, ...(types === undefined ? {} : { type: types.join(",") }) }).toString()}`;
  // Behind the last position the broker brings entries again; it tells a position at least once a second, so that these stay few.
  const sincePosition = new Map<string, FeedEntry>();
  let position = "";
  for await (const { event, data, id } of followEvents(calls, (from) => following(path, from), options)) {
    if (event === "gap") yield { type: "gap", ...recordOf(parseJson(data)) } as FeedGap;
    else if (event === "message") {
      const entry = entryOf(parseJson(data)) as FeedEntry;
      if (isNewer(entry, sincePosition.get(entry.device))) {
        sincePosition.set(entry.device, entry);
        yield entry;
      }
    }
    if (id !== "" && id !== position) {
      position = id;
      sincePosition.clear();
      yield { type: "position", position };
    }
  }
}

/** A device that was removed begins anew at offset 1, and later. */
function isNewer(entry: FeedEntry, last: FeedEntry | undefined): boolean {
  return last === undefined || Number(entry.offset) > Number(last.offset) || entry.time > last.time;
}

// The query parameters that every read by page has: how much, how long to wait, which types.

import { Type } from "@fastify/type-provider-typebox";
import type { Settings } from "../config.ts";
import type { EntryType } from "../node/api.ts";

const DEFAULT_LIMIT = 100;
const TYPES = "(?:uplink|downlink|presence|state)";

export const LIMIT = Type.Optional(
  Type.Integer({ minimum: 1, description: `Most of them in the page. Default ${DEFAULT_LIMIT}; the setting pageEntries bounds it.`, examples: [10] }),
);

export const PAGE_QUERY = {
  limit: LIMIT,
  wait: Type.Optional(
    Type.String({ pattern: "^\\d{1,4}s?$", description: "Wait so long for what is not there yet: `20s`. Bounded by maxLongPollSeconds.", examples: ["20s"] }),
  ),
  type: Type.Optional(
    Type.String({ pattern: `^${TYPES}(?:,${TYPES})*$`, description: "Only these types, separated by commas.", examples: ["uplink,presence"] }),
  ),
};

export function limitOf(limit: number | undefined, settings: Settings): number {
  return Math.min(limit ?? DEFAULT_LIMIT, settings.pageEntries);
}

/** Seconds. */
export function waitOf(wait: string | undefined, settings: Settings): number {
  return Math.min(Number((wait ?? "0").replace("s", "")), settings.maxLongPollSeconds);
}

export function typesOf(type: string | undefined): EntryType[] | undefined {
  return type?.split(",") as EntryType[] | undefined;
}

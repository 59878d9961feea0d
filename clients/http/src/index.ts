// What @bellhop/http offers.

export { Bellhop, type BellhopOptions, connect, type RetryOptions } from "./bellhop.ts";
export type { DeviceView, Explanation, KnownDevice, Retain } from "./devices.ts";
export type { Entry, EntryType, Gap, Json, JsonObject } from "./entries.ts";
export { BellhopError, type BrokerCode, type ClientCode, type Code, type Outcome } from "./errors.ts";
export type { FeedEntry, FeedGap, FeedItem, FeedOptions, FeedPosition } from "./feed.ts";
export type { Interruption } from "./follow.ts";
export type { Message, MessageOptions, Payload, Stored } from "./messages.ts";
export type { PublishOptions, Result } from "./publish.ts";
export type { InSeries, Publisher, PublisherOptions } from "./publisher.ts";
export type { ChangeOptions, Changed, DeviceDocuments, Document, State } from "./state.ts";
export type { Followed, FollowOptions, Page, StreamOptions } from "./streams.ts";
export * as webhook from "./webhook.ts";

// Parameters, queries and answers as schemas: what is checked, and what /openapi.json tells.

import { Type } from "@fastify/type-provider-typebox";
import { DEVICE_ID_RULE, MAX_DEVICE_BYTES } from "../wire/device.ts";

/** Offsets and positions are strings: they may pass 2⁵³ in other languages' JSON. 15 digits stay exact here. */
const POSITION = "^\\d{1,15}$";

export const Position = Type.String({ pattern: POSITION, description: "An offset, in digits.", examples: ["42"] });

/** The server checks the rest of what a device's id must be, for every route at once. */
export const DeviceParams = Type.Object({
  device: Type.String({
    minLength: 1,
    maxLength: MAX_DEVICE_BYTES,
    description: `The device's id, percent-encoded: ${DEVICE_ID_RULE}.`,
  }),
});

/** What credentials and keys are called. */
export const NAME = /^[a-z0-9][a-z0-9._-]{0,62}$/;
export const Named = Type.String({ pattern: NAME.source });

export const Problem = Type.Object(
  {
    type: Type.String(),
    title: Type.String(),
    status: Type.Integer(),
    detail: Type.Optional(Type.String()),
    code: Type.String({ description: "One of the codes of docs/errors.md." }),
    retryable: Type.Boolean({ description: "Whether the same request may be sent again." }),
    expected: Type.Optional(Type.String({ description: "With `gap`: the number to go on with." })),
    nonce: Type.Optional(Type.String({ description: "With `taken_over`, at opening a session: the greater nonce that stands." })),
  },
  { description: "An error (RFC 9457)." },
);

const problem = (description: string) => ({ description, content: { "application/problem+json": { schema: Problem } } });

/** Added to every route's own answers. */
export const PROBLEMS = { "4xx": problem("Refused; 429 carries Retry-After."), "5xx": problem("Not now, or a failure; 503 carries Retry-After.") };

/** An answer that is plain text. */
export const text = (description: string) => ({ description, content: { "text/plain": { schema: Type.String() } } });

/** For routes that check all they take themselves: their schema is what the description tells. */
export const checkedByRoute = () => (): true => true;

export const Stored = Type.Object({ device: Type.String(), offset: Position, duplicate: Type.Boolean() });

export const Numbered = Type.Object({
  device: Type.String(),
  session: Type.String(),
  series: Type.String(),
  offset: Type.Optional(Type.String({ description: "Left out for a number that was stored before." })),
  duplicate: Type.Boolean(),
});

export const Session = Type.Object({
  device: Type.String(),
  publisher: Type.String(),
  nonce: Type.String({ description: "Give it again to go on with this session." }),
  session: Type.String(),
  next: Type.String({ description: "The number to go on with: everything before is stored or spent." }),
  window: Type.Integer({ description: "Numbers that may be in flight, from the oldest that is not answered." }),
  wrap: Type.String({ description: "0: numbers do not wrap over HTTP." }),
  left: Type.Optional(Type.Object({ session: Type.String(), last: Type.String() }, { description: "The greatest number taken of the session in `leaves`." })),
});

export const Told = Type.Object({
  device: Type.String(),
  is: Type.Union([Type.Literal("stored"), Type.Literal("void"), Type.Literal("absent"), Type.Literal("forgotten")]),
  position: Type.String({ description: "The position in the bucket's log up to which this holds." }),
});

export const EntryTypeName = Type.Union(["uplink", "downlink", "presence", "state"].map((type) => Type.Literal(type)));

export const Entry = Type.Object({
  offset: Position,
  time: Type.String({ format: "date-time", description: "When the leader admitted it." }),
  type: EntryTypeName,
  publisher: Type.String({ description: "Empty: the device itself. `backend`: a publish with a key, a change of state." }),
  session: Type.Optional(Type.String()),
  series: Type.Optional(Type.String({ description: "The publisher's own number, where it has a series." })),
  headers: Type.Record(Type.String(), Type.String()),
  contentType: Type.String(),
  encoding: Type.Union([Type.Literal("json"), Type.Literal("text"), Type.Literal("base64")], {
    description: "What `payload` is: a JSON value, a text, or bytes in base64.",
  }),
  expires: Type.Optional(Type.String({ format: "date-time", description: "A message that a device has not been given by then is skipped." })),
  payload: Type.Unknown(),
});

export const Gap = Type.Object({ from: Position, to: Position }, { description: "These offsets were asked for and are no longer kept." });

export const Page = Type.Object({
  entries: Type.Array(Entry),
  next: Type.String({ description: "Pass it as `after` to read on." }),
  earliest: Type.String({ description: "The first offset that is kept." }),
  gap: Type.Optional(Gap),
});

export const FeedPage = Type.Object({
  entries: Type.Array(Type.Object({ device: Type.String(), ...Entry.properties })),
  gaps: Type.Array(
    Type.Object({
      bucket: Type.Optional(Type.Integer()),
      entries: Type.Optional(Type.Integer({ description: "Log entries of the bucket that are no longer kept." })),
      device: Type.Optional(Type.String()),
      from: Type.Optional(Position),
      to: Type.Optional(Position),
    }),
    { description: "What is no longer kept: of a whole bucket, or of one device that keeps less." },
  ),
  next: Type.String({ description: "A position; pass it as `after` to read on." }),
});

export const Document = Type.Object({
  version: Type.Integer({ description: "0: never written." }),
  offset: Position,
  document: Type.Record(Type.String(), Type.Unknown()),
});

export const Device = Type.Object({
  device: Type.String(),
  connected: Type.Boolean(),
  end: Position,
  earliest: Position,
  delivered: Position,
  handled: Position,
  session: Type.String(),
  lastSeries: Type.String(),
  lastTime: Type.Union([Type.String({ format: "date-time" }), Type.Null()]),
  retainSeconds: Type.Union([Type.Integer(), Type.Null()], { description: "How long its entries are kept; null: as long as the broker keeps them." }),
  retainEntries: Type.Union([Type.Integer(), Type.Null()], { description: "How many of its entries are kept; null: as many as the broker keeps." }),
});

const ExplainedOffset = Type.Object({
  offset: Position,
  is: Type.String({ description: "stored, absent or forgotten." }),
  bucket: Type.Optional(Type.Integer()),
  index: Type.Optional(Type.String({ description: "Its place in the bucket's log." })),
  delivered: Type.Optional(Type.Boolean({ description: "Of a downlink: the device has acknowledged it, or it had expired before." })),
  handled: Type.Optional(Type.Boolean()),
  expired: Type.Optional(Type.Boolean()),
  waits: Type.Optional(Type.Union([Type.String(), Type.Null()], { description: "Of a downlink: `not_connected`, `not_acknowledged`, or null: for nothing." })),
  entry: Type.Optional(Entry),
});

export const Explanation = Type.Object({
  ...Device.properties,
  bucket: Type.Integer(),
  leader: Type.String(),
  epoch: Type.Integer(),
  members: Type.Array(Type.String()),
  window: Type.Integer(),
  followers: Type.Integer({ description: "Followed streams of this device on this node." }),
  commit: Position,
  applied: Position,
  waits: Type.Union([Type.Object({ messages: Type.Integer(), bytes: Type.Integer(), why: Type.String() }), Type.Null()], {
    description: "What waits for this device at this node, and why.",
  }),
  offset: Type.Optional(ExplainedOffset),
  key: Type.Optional(Type.Object({ key: Type.String(), is: Type.String(), offset: Position, position: Position })),
});

export const Status = Type.Object({
  node: Type.String(),
  incarnation: Type.Integer(),
  version: Type.String(),
  uptimeSeconds: Type.Number(),
  ready: Type.Boolean(),
  why: Type.Array(Type.String()),
  buckets: Type.Object({ total: Type.Integer(), led: Type.Integer(), open: Type.Integer() }),
  devices: Type.Object({ connected: Type.Integer() }),
  followers: Type.Integer(),
  waiting: Type.Record(Type.String(), Type.Number()),
  numbers: Type.Record(Type.String(), Type.Number()),
});

// What gateways and bucket leaders say to each other: one hop from the node that holds a socket or a request to the bucket's leader, and the answer back.
// Plain data; the peer link encodes it, a leader on the same node takes it directly.

import type { ErrorCode } from "../base/errors.ts";

/** Names a gateway: presence is attached to it, and ends when the table shows it departed or at a higher incarnation (R33). */
export interface GatewayId {
  readonly node: string;
  readonly incarnation: number;
}

/** The publisher name of a device itself; a server that keeps a series of its own has another name. */
export const DEVICE_PUBLISHER = "";

/** Kinds of PUBLISH, as on the wire. */
export const PUBLISH_KIND = { message: 0, statePatch: 1, void: 2 } as const;
export type PublishKind = (typeof PUBLISH_KIND)[keyof typeof PUBLISH_KIND];

/**
 * The content of a message, opaque to the core: a msgpack array `[payload (bin or str), headers (map of str or nil), expires (ms since 1970 or nil)]`.
 * The device's frame is passed on byte for byte. For `statePatch` the payload is a JSON object, UTF-8, merged into `reported` (RFC 7396).
 */
export type Body = Uint8Array;

/** A request to a bucket's leader; `request` is the gateway's own number for it, echoed in the answer. */
export type HopRequest =
  /** Opens a session (R25). `attach`: the publisher is a device on a socket, its presence goes up. `leaves`: the session it gives up, 0 for none. */
  | {
      readonly type: "open";
      readonly request: number;
      readonly device: string;
      readonly publisher: string;
      readonly nonce: bigint;
      readonly window: number;
      readonly leaves: number;
      readonly attach: boolean;
      /** SHA-256 of the device's token; left out where the gateway vouches for the device. The token itself never leaves the gateway's node. */
      readonly credential?: Uint8Array;
    }
  /** Joins on to a session from a new socket (R26): the publisher still holds every number from `oldest` to `next - 1`. `nonce`: above that of every earlier HELLO (R25). */
  | {
      readonly type: "resume";
      readonly request: number;
      readonly device: string;
      readonly publisher: string;
      readonly session: number;
      readonly nonce: bigint;
      readonly oldest: number;
      readonly next: number;
      readonly attach: boolean;
      readonly credential?: Uint8Array;
    }
  /** The same socket at a new leader, epoch or link (R29): the attachment stays, `last` is answered as applied. `nonce`: that of its HELLO. */
  | {
      readonly type: "reattach";
      readonly request: number;
      readonly device: string;
      readonly publisher: string;
      readonly session: number;
      readonly nonce: bigint;
      readonly attachment: number;
      readonly credential?: Uint8Array;
    }
  /**
   * The socket is gone (R33); answered `done` once its presence is down. `device` "": the gateway knows the session only.
   * `attachment` 0: it was never told its attachment, and leaves what this gateway's HELLOs of the device up to this nonce brought up.
   */
  | {
      readonly type: "detach";
      readonly request: number;
      readonly device: string;
      readonly publisher: string;
      readonly session: number;
      readonly nonce: bigint;
      readonly attachment: number;
    }
  /**
   * A publish without a series: from a backend, under an idempotency key (R31). `fingerprint`: 128 bits over body, type and headers that count, hex.
   * `number`: the same whenever the gateway asks, and never another request's of it: so a leader tells the gateway's own resend from a second request under
   * the key, while the first is in the tail (R30). An older node leaves it out.
   */
  | {
      readonly type: "keyed";
      readonly request: number;
      readonly device: string;
      readonly number?: number;
      readonly key: string;
      readonly fingerprint: string;
      readonly body: Body;
      /** Milliseconds since 1970; 0 for never. */
      readonly expires: number;
    }
  /**
   * A publish without series and key: a retry of its sender's is another message. Only the gateway's own resends are recognised (R30):
   * `number` is the same whenever it is asked, and never another's of this gateway; `least`: the least that the gateway may yet send to this bucket again.
   */
  | {
      readonly type: "unkeyed";
      readonly request: number;
      readonly device: string;
      readonly number: number;
      readonly least: number;
      readonly body: Body;
      readonly expires: number;
    }
  /**
   * A publish of a server that keeps a series of its own (A4): the session says whose. Any gateway may bring it, and bring it again to a new leader (R30).
   * Answered once its number is applied. `kind` void: the number is spent on nothing, since the front-end refuses the content with `code` (A6).
   */
  | {
      readonly type: "numbered";
      readonly request: number;
      readonly device: string;
      readonly session: number;
      readonly series: number;
      readonly kind: PublishKind;
      readonly code: ErrorCode | undefined;
      readonly body: Body;
    }
  /** Changes a state document; `document` is a JSON object, UTF-8. `ifVersion`: only if the named document has this version (If-Match). */
  | {
      readonly type: "state";
      readonly request: number;
      readonly device: string;
      readonly which: "reported" | "desired";
      readonly how: "put" | "patch";
      readonly document: Uint8Array;
      readonly ifVersion: number | undefined;
      /** The traceparent of the request. */
      readonly trace?: string;
    }
  /** The device's receive cursor: everything ≤ these offsets was delivered, handled (R35); no answer. */
  | { readonly type: "received"; readonly handle: number; readonly delivered: number; readonly handled: number }
  /** Is it stored (A6)? By series or by key. Answered only after every member acknowledged the epoch in a round begun after the question (R34). */
  | { readonly type: "askSeries"; readonly request: number; readonly device: string; readonly session: number; readonly series: number }
  | { readonly type: "askKey"; readonly request: number; readonly device: string; readonly key: string }
  /** Makes a device known, and says how much of its stream is kept (0: as much as the broker keeps) / removes it with its data. */
  | { readonly type: "create"; readonly request: number; readonly device: string; readonly retain?: { readonly seconds: number; readonly entries: number } }
  | { readonly type: "remove"; readonly request: number; readonly device: string }
  /** Gives a device, made known by it, a credential under a name of its own; takes it away. `digest`: SHA-256 of the token. */
  | { readonly type: "putCredential"; readonly request: number; readonly device: string; readonly name: string; readonly digest: Uint8Array }
  | { readonly type: "removeCredential"; readonly request: number; readonly device: string; readonly name: string };

/** What a leader answers. `epoch` is the leader's; a gateway ignores refusals of an epoch below the attached one (R29). */
export type HopAnswer =
  | {
      readonly type: "attached";
      readonly request: number;
      readonly epoch: number;
      readonly session: number;
      /** Greatest series applied (R26); the next is last + 1. */
      readonly last: number;
      /** Greatest series of the session named in `leaves`, or 0. */
      readonly leftAt: number;
      readonly window: number;
      readonly attachment: number;
      /** The integer that stands for this session on this link in this epoch; 0 for a server's session, whose publishes name it. */
      readonly handle: number;
      readonly generation: number;
      /** The device's receive cursor and its stream's end. */
      readonly delivered: number;
      readonly handled: number;
      readonly end: number;
      /** With RESUME: numbers from `oldest` to `last` that were consumed without being stored, rising; left out where there are none (R27). */
      readonly voids?: readonly { readonly series: number; readonly code: ErrorCode }[];
    }
  /** Everything ≤ series is committed; valid from any epoch. `voids`: numbers consumed without being stored, with their code (R27). */
  | {
      readonly type: "acked";
      readonly session: number;
      readonly device: string;
      readonly publisher: string;
      readonly series: number;
      readonly voids: readonly { readonly series: number; readonly code: ErrorCode }[];
    }
  /** REFUSE: acknowledges nothing (R27, R29). */
  | {
      readonly type: "refused";
      readonly epoch: number;
      readonly session: number;
      readonly device: string;
      readonly publisher: string;
      readonly expected: number;
      readonly code: ErrorCode;
    }
  /** That attachment is no longer current: its socket closes with TAKEN_OVER (R25), or with REMOVED: its device is gone. */
  | { readonly type: "takenOver"; readonly device: string; readonly publisher: string; readonly session: number; readonly attachment: number; readonly why?: "removed" }
  /** The credential by which that attachment came was removed: its socket closes with UNAUTHENTICATED (F4). */
  | { readonly type: "revoked"; readonly device: string; readonly publisher: string; readonly session: number; readonly attachment: number }
  /** RESUME does not join on (R26), or a newer HELLO has opened a session. `stored`: the nonce is behind this one; HELLO may come again above it (R25). */
  | { readonly type: "broken"; readonly request: number; readonly generation: number; readonly last: number; readonly code: "broken" | "taken_over"; readonly stored: bigint | undefined }
  /** A publish of a backend is committed (201, or 200 for a duplicate). `offset` 0: a number that was stored before, whose offset is not kept. */
  | { readonly type: "stored"; readonly request: number; readonly offset: number; readonly duplicate: boolean }
  /** A numbered publish that is not the next of its session (R27): acknowledges nothing. */
  | { readonly type: "gap"; readonly request: number; readonly expected: number }
  | { readonly type: "changed"; readonly request: number; readonly version: number; readonly offset: number }
  /** A6: stored (offset 0: a number known stored whose offset is not kept), spent on nothing, not stored as of `position`, or forgotten. */
  | { readonly type: "told"; readonly request: number; readonly is: "stored" | "void" | "absent" | "forgotten"; readonly offset: number; readonly position: number }
  | { readonly type: "done"; readonly request: number }
  /** Not taken. `stale_table`, `bucket_paused`, `bucket_dark`: the gateway asks again. `version`: the document's (412). */
  | { readonly type: "failed"; readonly request: number; readonly code: ErrorCode; readonly detail: string; readonly version: number };

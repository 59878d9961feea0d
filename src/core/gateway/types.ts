// The gateway's contract towards device sockets and requests.

import type { ErrorCode } from "../../base/errors.ts";
import type { Body, HopAnswer, HopRequest, PublishKind } from "../hop.ts";

/** What a device's HELLO asks for, checked by the front-end. Series numbers are wide (53 bits) here and everywhere behind the socket (R28). */
export interface Hello {
  readonly device: string;
  /** The session to resume; 0 for none: a new one is opened. */
  readonly session: number;
  /** 64 bits that rise with every HELLO of a device: milliseconds, then random bits (R25). */
  readonly nonce: bigint;
  /** With session 0: the session it gives up, whose final `last` WELCOME then carries; 0 for none. */
  readonly leaves: number;
  /** Oldest series number it still holds, and the next it will give (R26). Equal when it holds none. */
  readonly oldest: number;
  readonly next: number;
  /** Messages in flight it would like; the broker settles the least of this and its own limit. */
  readonly window: number;
  /** SHA-256 of its token; left out where the front-end vouches for the device. */
  readonly credential?: Uint8Array;
}

export interface Welcome {
  readonly session: number;
  /** Greatest series taken; the next PUBLISH is last + 1. */
  readonly last: number;
  /** Greatest series taken of the session left behind, or 0. */
  readonly leftAt: number;
  readonly window: number;
  readonly generation: number;
  /** Where deliveries go on: everything ≤ `delivered` was delivered to this device before, ≤ `handled` was handled. */
  readonly delivered: number;
  readonly handled: number;
  /** Last offset of the device's stream. */
  readonly end: number;
  /** Numbers up to `last`, of those that the device still holds, that were consumed without being stored (R27). */
  readonly voids: readonly { readonly series: number; readonly code: ErrorCode }[];
}

/** One device's socket as the gateway sees it. Calls only queue bytes; none calls back into the gateway. */
export interface DeviceSocket {
  welcome(welcome: Welcome): void;
  /** Everything ≤ series is on every member's disk. Called at most once a turn. */
  ack(series: number): void;
  /** This number was consumed without being stored, for this reason; told before the ACK that covers it (R27). */
  voided(series: number, code: ErrorCode): void;
  /** Go back to `expected` (R27). Everything from there must be sent again. */
  refuse(expected: number, code: ErrorCode): void;
  /** Messages that may be in flight from now on; 0 while paused or full. */
  credit(window: number): void;
  /**
   * The series does not join on (R26, A8): messages may be missing; the device opens a new session.
   * `nonce`: instead, HELLO's nonce is below this one (R25).
   */
  broken(generation: number, last: number, nonce?: bigint): void;
  /** The socket must close with this code; `retryAfterMs` spreads reconnects (A10). */
  close(code: ErrorCode, detail: string, retryAfterMs: number): void;
}

/** A device socket's line through the gateway: holds its backlog until it is acknowledged (R29). */
export interface DeviceLine {
  /**
   * Takes a frame in the socket's order. The bytes are KEPT, not copied, until the acknowledgement: their buffer must never be reused (Node's 'data' chunks are fresh; `onread` with one buffer is not).
   * A number that is not the next is refused or, if it was had before, ignored or acknowledged again.
   * `kind` void: the device spends a number on nothing, or the front-end refuses the content: `code` says why.
   */
  publish(series: number, kind: PublishKind, bytes: Uint8Array, start: number, end: number, code?: ErrorCode): void;
  /** Cumulative offsets that the device has, and has handled. */
  received(delivered: number, handled: number): void;
  /** The socket is gone; the backlog is dropped (B9) and presence goes down. */
  closed(): void;
  /** What waits here, for `explain` and limits. */
  readonly waiting: { readonly messages: number; readonly bytes: number };
}

/** A request held by the gateway until it is answered or its deadline has passed (R30). */
export type GatewayRequest = DistributiveOmit<Extract<HopRequest, { request: number }>, "request" | "number" | "least">;
export type GatewayAnswer = Extract<HopAnswer, { type: "stored" | "gap" | "changed" | "told" | "done" | "failed" | "attached" | "broken" }>;
type DistributiveOmit<T, K extends PropertyKey> = T extends unknown ? Omit<T, K> : never;

/** What front-ends call. */
export interface GatewayDoor {
  open(socket: DeviceSocket, hello: Hello): DeviceLine;
  /** `done` is called exactly once. `deadlineMs` from now. */
  request(request: GatewayRequest, deadlineMs: number, done: (answer: GatewayAnswer) => void): void;
}

export type { Body };

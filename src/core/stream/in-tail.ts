// What the admission remembers of requests whose entry is in the log's tail, or that wait for a round.

import type { GatewayId, HopRequest } from "../hop.ts";
import type { Detached } from "./commands.ts";
import { sameGateway } from "./seats.ts";
import type { Session } from "./session.ts";

/** What admission needs of the replica that leads. `propose` answers the entry's index. */
export interface LeaderLog {
  propose(payload: Uint8Array, wall: number): number;
  confirm(): number;
}

export type Request<T extends HopRequest["type"]> = Extract<HopRequest, { type: T }>;
/** Requests that are answered, and the ones among them that a round answers. */
export type Answered = Extract<HopRequest, { request: number }>;
export type Attachment = Request<"open" | "resume" | "reattach">;
export type Question = Request<"askSeries" | "askKey" | "numbered"> | Attachment;

export interface Asker<R extends Answered = Answered> {
  readonly to: GatewayId;
  readonly request: R;
}

/** A keyed publish in the tail: who asked it last, the name of its key's record, and who else waits for it. */
export interface KeyInTail extends Asker<Request<"keyed">> {
  to: GatewayId;
  request: Request<"keyed">;
  readonly name: string;
  readonly also: Asker<Request<"keyed">>[];
}

/** Requests that wait for the original of their key. */
const WAIT_FOR_KEY = 16;

/** R31: the same key with the same body waits for the original; one that is asked again is answered under the newer question (R30). False: as many wait as may. */
export function waitForOriginal(original: KeyInTail, asker: Asker<Request<"keyed">>): boolean {
  const { also } = original;
  if (isAskedAgain(original, asker)) {
    original.to = asker.to;
    original.request = asker.request;
    return true;
  }
  const place = also.findIndex((known) => isAskedAgain(known, asker));
  if (place === -1 && also.length >= WAIT_FOR_KEY) return false;
  also[place === -1 ? also.length : place] = asker;
  return true;
}

/** Whether its gateway asks this keyed publish again: it is not a second request that has the same key. */
function isAskedAgain(known: Asker<Request<"keyed">>, { to, request: { number = 0 } }: Asker<Request<"keyed">>): boolean {
  return number !== 0 && known.request.number === number && sameGateway(known.to, to);
}

/** Publishes without a key in the tail (R30). */
export class NumbersInTail {
  #gateways: { readonly gateway: GatewayId; readonly indexes: Map<number, number> }[] = [];

  /** Number → index, of one gateway. */
  of(from: GatewayId): Map<number, number> {
    for (const { gateway, indexes } of this.#gateways) if (sameGateway(gateway, from)) return indexes;
    const indexes = new Map<number, number>();
    this.#gateways.push({ gateway: from, indexes });
    return indexes;
  }

  /** Is there any of this node's gateways of this incarnation and earlier ones? */
  knows(node: string, incarnation: number): boolean {
    return this.#gateways.some(({ gateway, indexes }) => indexes.size > 0 && gateway.node === node && gateway.incarnation <= incarnation);
  }

  clear(): void {
    this.#gateways = [];
  }
}

/** A session whose presence is to go down, and who asked for it. */
export interface Leaving {
  readonly detached: Detached;
  readonly asker: Asker | undefined;
}

/** The newest HELLO of a publisher: what it came to, or, while it is in the tail, will come to. */
export interface Newest {
  readonly nonce: bigint;
  readonly session: number;
  readonly attachment: number;
  readonly gateway: GatewayId | undefined;
}

export interface OpenInTail extends Newest {
  readonly index: number;
}

export function newestOf(session: Session | undefined): Newest | undefined {
  return session === undefined ? undefined : { nonce: session.nonce, session: session.number, attachment: session.attachment, gateway: session.gateway };
}

/** Whether it came of a HELLO of this gateway up to this nonce: one whose answer was lost, or nobody waited for. */
export function wasUntold({ gateway, nonce }: Newest, by: GatewayId, upTo: bigint): boolean {
  return gateway !== undefined && sameGateway(gateway, by) && nonce <= upTo;
}

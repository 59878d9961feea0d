// Seats: which gateway speaks for which device's session in this epoch, each under a handle, and what the leader has admitted of a session's series. Volatile; dropped when the leader is closed.

import type { GatewayId } from "../hop.ts";
import { publishNames } from "./commands.ts";
import type { Session } from "./session.ts";

/** A session as the leader admits to it. Invariant: applied ≤ tail. */
export interface Admitted {
  readonly number: number;
  readonly device: string;
  readonly publisher: string;
  readonly window: number;
  /** The names part of its publishes. */
  readonly names: Uint8Array;
  /** Greatest series admitted: applied state plus the log's tail (R27). */
  tail: number;
  applied: number;
  /** Numbers made void since the last ACK, `[series, code, …]`. */
  voids: number[];
  /** Applied moved since the last ACK. */
  moved: boolean;
  seats: Seat[];
}

export interface Seat {
  readonly handle: number;
  readonly session: Admitted;
  readonly gateway: GatewayId;
  readonly attachment: number;
  /** Id of the credential by which it came, VOUCHED for none. */
  readonly credential: number;
  /** What the device has received, and is not yet in a cursor entry. */
  delivered: number;
  handled: number;
  cursorDue: boolean;
}

export class Seats {
  /** Handles only rise, over epochs too: one that a gateway still uses never means another session. */
  #lastHandle = 0;
  readonly #byHandle = new Map<number, Seat>();
  readonly #sessions = new Map<number, Admitted>();

  get size(): number {
    return this.#byHandle.size;
  }

  get(handle: number): Seat | undefined {
    return this.#byHandle.get(handle);
  }

  session(number: number): Admitted | undefined {
    return this.#sessions.get(number);
  }

  /** What is admitted of the session; `forget` lets go of it. */
  admitted(session: Session): Admitted {
    return this.#sessions.get(session.number) ?? this.#admit(session);
  }

  /** Seats the gateway of a device's socket; whoever spoke for the session and does no longer is left to `leaves`. */
  take(session: Session, by: Pick<Seat, "gateway" | "attachment" | "credential">, leaves: (seat: Seat) => void): Seat {
    const { gateway } = by;
    const admitted = this.admitted(session);
    for (const seat of [...admitted.seats]) {
      if (!sameGateway(seat.gateway, gateway)) leaves(seat);
      this.drop(seat);
    }
    this.#lastHandle += 1;
    const seat: Seat = { handle: this.#lastHandle, session: admitted, ...by, delivered: 0, handled: 0, cursorDue: false };
    admitted.seats.push(seat);
    this.#byHandle.set(seat.handle, seat);
    this.#sessions.set(admitted.number, admitted);
    return seat;
  }

  drop(seat: Seat): void {
    const { session } = seat;
    this.#byHandle.delete(seat.handle);
    session.seats = session.seats.filter((other) => other !== seat);
    this.forget(session);
  }

  /** Lets go of a session that nobody speaks for and that has nothing in the tail. */
  forget(session: Admitted): void {
    if (session.seats.length === 0 && session.tail === session.applied) this.#sessions.delete(session.number);
  }

  /** The session is over. */
  end(session: Admitted): void {
    for (const seat of session.seats) this.#byHandle.delete(seat.handle);
    this.#sessions.delete(session.number);
  }

  *of(node: string, incarnation: number): Iterable<Seat> {
    for (const seat of this.#byHandle.values()) if (seat.gateway.node === node && seat.gateway.incarnation <= incarnation) yield seat;
  }

  clear(): void {
    this.#byHandle.clear();
    this.#sessions.clear();
  }

  #admit({ number, device, publisher, window, last }: Session): Admitted {
    const admitted: Admitted = { number, device: device.id, publisher, window, names: publishNames(device.id, publisher), tail: last, applied: last, voids: [], moved: false, seats: [] };
    this.#sessions.set(number, admitted);
    return admitted;
  }
}

export function sameGateway(a: GatewayId, b: GatewayId): boolean {
  return a.node === b.node && a.incarnation === b.incarnation;
}

// Seats: which gateway speaks for which device's session in this epoch, each under a handle, and what the leader has admitted of a session's series. Volatile; dropped when the leader is closed.

import { assert } from "../../base/assert.ts";
import { NumberMap } from "../../base/number-map.ts";
import { Ring } from "../../base/ring.ts";
import type { GatewayId } from "../hop.ts";
import { publishNames, type Received } from "./commands.ts";
import type { Devices } from "./devices.ts";
import type { Session } from "./session.ts";

/** A session as the leader admits to it. Invariant: applied ≤ tail. */
export interface Admitted {
  readonly number: number;
  readonly window: number;
  /** Greatest series admitted: applied state plus the log's tail (R27). */
  tail: number;
  applied: number;
  /** Applied moved since the last ACK. */
  moved: boolean;
  /** The session as it was when it was last looked up; stale when it is not `current`. */
  state: Session;
  /** Who speaks for it: mostly one, and no more as a rule. */
  seats: readonly Seat[];
  /** Numbers made void since the last ACK, `[series, code, …]`. */
  voids: number[];
  /** The names part of its publishes, a character for each byte: shorter to reach than an array's bytes. */
  readonly names: string;
  readonly device: string;
  readonly publisher: string;
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
  readonly #byHandle = new NumberMap<Seat>();
  readonly #sessions = new NumberMap<Admitted>();
  /** The sessions of the publishes in the tail, in the log's order: applying finds its session without a look-up. */
  readonly #publishes = new Ring<Admitted>();
  /** Whose publish is being applied. */
  applying: Admitted | undefined;

  get size(): number {
    return this.#byHandle.size;
  }

  get(handle: number): Seat | undefined {
    return this.#byHandle.get(handle);
  }

  session(number: number): Admitted | undefined {
    return this.#sessions.get(number);
  }

  /** The session's next number is taken: its publish enters the log at once. */
  admit(session: Admitted, series: number): void {
    session.tail = series;
    this.#publishes.push(session);
  }

  /** The publish that was admitted first is applied now: its session, where that is current. */
  publishing(number: number, devices: Devices): Session | undefined {
    const session = (this.applying = this.#publishes.shift());
    assert(session?.number === number, "an open leader's publishes are applied as it admitted them");
    if (!session.state.current) session.state = devices.session(number) ?? session.state;
    return session.state.current ? session.state : undefined;
  }

  /** What is admitted of the session; `forget` lets go of it. */
  admitted(session: Session): Admitted {
    return this.#sessions.get(session.number) ?? this.#admit(session);
  }

  /** Seats the gateway of a device's socket; whoever spoke for the session and does no longer is left to `leaves`. */
  take(session: Session, by: Pick<Seat, "gateway" | "attachment" | "credential">, leaves: (seat: Seat) => void): Seat {
    const { gateway } = by;
    const admitted = this.admitted(session);
    for (const seat of admitted.seats) {
      if (!sameGateway(seat.gateway, gateway)) leaves(seat);
      this.drop(seat);
    }
    this.#lastHandle += 1;
    const seat: Seat = { handle: this.#lastHandle, session: admitted, ...by, delivered: 0, handled: 0, cursorDue: false };
    admitted.seats = [...admitted.seats, seat];
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

  of(node: string, incarnation: number): Seat[] {
    return this.#byHandle.items().filter(({ gateway }) => gateway.node === node && gateway.incarnation <= incarnation);
  }

  clear(): void {
    this.#publishes.clear();
    this.#byHandle.clear();
    this.#sessions.clear();
  }

  #admit(state: Session): Admitted {
    const { number, device, publisher, window, last } = state;
    const names = publishNames(device.id, publisher);
    const admitted: Admitted = { number, window, tail: last, applied: last, moved: false, state, seats: [], voids: [], names, device: device.id, publisher };
    this.#sessions.set(number, admitted);
    return admitted;
  }
}

/** The seat's cursor, which is no longer due then. */
export function takeCursor(seat: Seat): Received {
  seat.cursorDue = false;
  const { session, attachment, delivered, handled } = seat;
  return { device: session.device, session: session.number, attachment, delivered, handled };
}

export function sameGateway(a: GatewayId, b: GatewayId): boolean {
  return a.node === b.node && a.incarnation === b.incarnation;
}

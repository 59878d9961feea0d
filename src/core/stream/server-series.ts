// Servers that keep a series of their own: every publish comes by itself, through any gateway, and is answered when its number has been applied (R27, R30).
// Volatile: begins empty when the replica opens; what waits when it closes is asked again by its gateway.

import type { ErrorCode } from "../../base/errors.ts";
import { DEVICE_PUBLISHER, PUBLISH_KIND, type GatewayId, type HopAnswer, type PublishKind } from "../hop.ts";
import { errorOfVoid } from "./commands.ts";
import type { Asker, Request } from "./in-tail.ts";
import type { StreamMachine } from "./machine.ts";
import type { Admitted, Seats } from "./seats.ts";
import { placeOf } from "./series.ts";
import { voidCodeOf, type Session } from "./session.ts";

type Numbered = Request<"numbered">;

/** Requests that wait for one number: the one that brought it, and the same sent again meanwhile. */
const WAIT_FOR_NUMBER = 16;

export interface Admitting {
  /** Why nothing further may enter the log now. */
  full(): ErrorCode | undefined;
  admit(session: Admitted, series: number, kind: PublishKind, code: ErrorCode | undefined, body: Uint8Array): void;
  answer(to: GatewayId, answer: HopAnswer): void;
  fail(to: GatewayId, request: Numbered, code: ErrorCode): void;
}

export class ServerSeries {
  readonly #machine: StreamMachine;
  readonly #seats: Seats;
  readonly #admitting: Admitting;
  /** Session → number → who waits for it. */
  readonly #asked = new Map<number, Map<number, Asker<Numbered>[]>>();
  #waiting = 0;

  constructor(machine: StreamMachine, seats: Seats, admitting: Admitting) {
    this.#machine = machine;
    this.#seats = seats;
    this.#admitting = admitting;
  }

  /** Requests that wait for their number to be applied (E4). */
  get waiting(): number {
    return this.#waiting;
  }

  /** The server's session that the request names, if it is a current one. */
  session({ device, session: number }: Numbered, generation: number): Session | undefined {
    const session = this.#machine.devices.find(device)?.numbered(number);
    return session?.publisher !== DEVICE_PUBLISHER && session?.generation === generation ? session : undefined;
  }

  /** Why there is no such session: told after a round (R34). */
  missing({ device: id, session: number }: Numbered): "taken_over" | "broken" {
    const device = this.#machine.devices.find(id);
    if (device === undefined || number < device.since || device.numbered(number) !== undefined) return "broken";
    return device.sessions.some((session) => session.publisher !== DEVICE_PUBLISHER && session.number > number) ? "taken_over" : "broken";
  }

  publish(to: GatewayId, request: Numbered, session: Session): void {
    const { series, kind, code, body } = request;
    const admitted = this.#seats.admitted(session);
    const place = placeOf(series, admitted.tail, session.window);
    if (place === "had") this.#again(to, request, session, admitted); // A6: a duplicate is recognised before any other refusal
    else if (place === "gap") this.#admitting.answer(to, { type: "gap", request: request.request, expected: admitted.tail + 1 });
    else {
      const refused = this.#admitting.full() ?? (series - admitted.applied > session.window ? "no_credit" : undefined);
      if (refused !== undefined) this.#admitting.fail(to, request, refused);
      else {
        this.#wait(to, request);
        this.#admitting.admit(admitted, series, kind, code, kind === PUBLISH_KIND.void ? NOTHING : body);
      }
    }
    this.#seats.forget(admitted);
  }

  /** The number has been applied; `offset` is that of its entry, where `code` is 0. */
  applied(session: number, series: number, code: number, offset: number): void {
    if (this.#waiting === 0) return; // the devices' own publishes pass here too
    const asked = this.#asked.get(session);
    const askers = asked?.get(series);
    if (asked === undefined || askers === undefined) return;
    asked.delete(series);
    if (asked.size === 0) this.#asked.delete(session);
    this.#waiting -= askers.length;
    askers.forEach(({ to, request }, place) => this.#tell(to, request, code, offset, place > 0));
  }

  /** The session is over, or its tail came to nothing: every gateway asks again, and the applied state answers. */
  askAgain(session: number): void {
    const asked = this.#asked.get(session);
    if (asked === undefined) return;
    this.#asked.delete(session);
    for (const askers of asked.values()) {
      this.#waiting -= askers.length;
      for (const { to, request } of askers) this.#admitting.fail(to, request, "stale_table");
    }
  }

  closed(): void {
    for (const session of [...this.#asked.keys()]) this.askAgain(session);
  }

  #again(to: GatewayId, request: Numbered, session: Session, { applied }: Admitted): void {
    if (request.series > applied) this.#wait(to, request); // R27: until the original has committed
    else this.#tell(to, request, voidCodeOf(session, request.series), 0, true);
  }

  #wait(to: GatewayId, request: Numbered): void {
    const { session, series } = request;
    const asked = this.#asked.get(session) ?? new Map<number, Asker<Numbered>[]>();
    const askers = asked.get(series) ?? [];
    if (askers.length > WAIT_FOR_NUMBER) return this.#admitting.fail(to, request, "overloaded");
    this.#asked.set(session, asked.set(series, askers));
    askers.push({ to, request });
    this.#waiting += 1;
  }

  #tell(to: GatewayId, request: Numbered, code: number, offset: number, duplicate: boolean): void {
    const why = errorOfVoid(code);
    if (why === undefined) this.#admitting.answer(to, { type: "stored", request: request.request, offset, duplicate });
    else this.#admitting.fail(to, request, why); // R27: the number is spent
  }
}

const NOTHING = new Uint8Array(0);

// Which sessions are attached to which gateway (R33), so that those of a lost gateway are found without looking at every device. Replicated state, held in memory: as many as sockets are connected.

import { assert } from "../../base/assert.ts";
import { Reader, Writer } from "./bytes.ts";
import type { Detached } from "./commands.ts";
import { ATTACHED, attachedName } from "./names.ts";
import type { Overlay } from "./overlay.ts";
import type { Session } from "./session.ts";

interface Attached extends Detached {
  readonly incarnation: number;
}

const VERSION = 1;
const out = new Writer();

export class Presence {
  readonly #records: Overlay;
  /** Gateway's node → session → what is attached. */
  readonly #byNode = new Map<string, Map<number, Attached>>();
  count = 0;

  constructor(records: Overlay) {
    this.#records = records;
  }

  /** Reads the whole of it again from the records. */
  load(): void {
    this.#byNode.clear();
    this.count = 0;
    for (const [, bytes] of this.#records.range(ATTACHED)) {
      const from = new Reader(bytes);
      assert(from.u8() === VERSION, "an attachment record has a known version");
      this.#add(from.text(), { incarnation: from.integer(), device: from.text(), session: from.integer(), attachment: from.integer() });
    }
  }

  /** The session's presence is up under its gateway and attachment. */
  up(session: Session): void {
    const { gateway, device, number, attachment } = session;
    assert(gateway !== undefined && attachment !== 0, "an attached session has its gateway");
    out.u8(VERSION).text(gateway.node).integer(gateway.incarnation).text(device.id).integer(number).integer(attachment);
    this.#records.set(attachedName(number), out.take());
    this.#add(gateway.node, { incarnation: gateway.incarnation, device: device.id, session: number, attachment });
  }

  /** Called while the session still names its gateway. */
  down(session: Session): void {
    assert(session.gateway !== undefined, "an attached session has its gateway");
    const sessions = this.#byNode.get(session.gateway.node);
    assert(sessions?.delete(session.number) === true, "an attached session is listed under its gateway");
    if (sessions.size === 0) this.#byNode.delete(session.gateway.node);
    this.count -= 1;
    this.#records.set(attachedName(session.number), undefined);
  }

  /** The device of this session, while it is attached to a gateway of this node. */
  deviceOf(node: string, session: number): string | undefined {
    return this.#byNode.get(node)?.get(session)?.device;
  }

  /** Up to `most` sessions attached to this node's gateways of this incarnation or an earlier one. */
  of(node: string, incarnation: number, most: number): Detached[] {
    const found: Detached[] = [];
    for (const attached of this.#byNode.get(node)?.values() ?? []) {
      if (found.length === most) break;
      if (attached.incarnation <= incarnation) found.push(attached);
    }
    return found;
  }

  /** Attached sessions of lower numbers: those of an earlier generation (R9). */
  before(session: number): Detached[] {
    return [...this.#byNode.values()].flatMap((sessions) => [...sessions.values()].filter((attached) => attached.session < session));
  }

  #add(node: string, attached: Attached): void {
    let sessions = this.#byNode.get(node);
    if (sessions === undefined) this.#byNode.set(node, (sessions = new Map()));
    sessions.set(attached.session, attached);
    this.count += 1;
  }
}

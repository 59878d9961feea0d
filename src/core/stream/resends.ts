// Publishes without a key that gateways may send again (R30): for each gateway, the numbers applied lately and their offsets, in replicated state.

import { assert } from "../../base/assert.ts";
import { Ring } from "../../base/ring.ts";
import type { GatewayId } from "../hop.ts";
import type { Reader, Writer } from "./bytes.ts";
import { sameGateway } from "./seats.ts";

/** Numbers kept of one gateway in one bucket: more than it holds at once (`GatewayLimits.requests`). */
export const MOST_NUMBERS = 16_384;
const VERSION = 1;

/** What is known of one gateway. */
interface Sender {
  readonly gateway: GatewayId;
  /** Numbers below are forgotten: the gateway has said that it does not send them again. */
  floor: number;
  /** The others that were applied, in the order of the log. */
  readonly order: Ring<number>;
  readonly offsets: Map<number, number>;
}

export class Resends {
  /** As many as there are nodes. */
  #senders: Sender[] = [];
  /** Since `settled`. */
  #changed = false;

  /** The offset that the number was given; 0: forgotten, it may have been applied; undefined: it was not applied. */
  find(gateway: GatewayId, number: number): number | undefined {
    const sender = this.#of(gateway);
    if (sender === undefined) return undefined;
    return number < sender.floor ? 0 : sender.offsets.get(number);
  }

  /** @param least no number below it is sent again. */
  add(gateway: GatewayId, number: number, least: number, offset: number): void {
    let sender = this.#of(gateway);
    if (sender === undefined) this.#senders.push((sender = { gateway, floor: 0, order: new Ring(), offsets: new Map() }));
    sender.order.push(number);
    sender.offsets.set(number, offset);
    sender.floor = Math.max(sender.floor, least, sender.order.size > MOST_NUMBERS ? sender.order.first()! + 1 : 0);
    for (let first = sender.order.first(); first !== undefined && first < sender.floor; first = sender.order.first()) {
      sender.order.shift();
      sender.offsets.delete(first);
    }
    this.#changed = true;
  }

  /** Is there anything of this node's gateways of this incarnation and earlier ones? */
  knows(node: string, incarnation: number): boolean {
    return this.#senders.some(({ gateway }) => gateway.node === node && gateway.incarnation <= incarnation);
  }

  /** They are gone: nothing comes from them any more. */
  forget(node: string, incarnation: number): void {
    this.#senders = this.#senders.filter(({ gateway }) => gateway.node !== node || gateway.incarnation > incarnation);
    this.#changed = true;
  }

  get changed(): boolean {
    return this.#changed;
  }

  write(to: Writer): void {
    this.#changed = false;
    to.u8(VERSION);
    for (const { gateway, floor, order, offsets } of this.#senders) {
      to.text(gateway.node).integer(gateway.incarnation).integer(floor).integer(order.size);
      for (let place = 0; place < order.size; place += 1) to.integer(order.at(place)!).integer(offsets.get(order.at(place)!)!);
    }
  }

  /** @param from undefined where nothing is stored */
  read(from: Reader | undefined): void {
    this.#senders = [];
    this.#changed = false;
    if (from === undefined) return;
    assert(from.u8() === VERSION, "the record of resends has a known version");
    while (!from.done) {
      const sender: Sender = { gateway: { node: from.text(), incarnation: from.integer() }, floor: from.integer(), order: new Ring(), offsets: new Map() };
      for (let left = from.integer(); left > 0; left -= 1) {
        const number = from.integer();
        sender.order.push(number);
        sender.offsets.set(number, from.integer());
      }
      this.#senders.push(sender);
    }
  }

  #of(gateway: GatewayId): Sender | undefined {
    for (const sender of this.#senders) if (sameGateway(sender.gateway, gateway)) return sender;
    return undefined;
  }
}

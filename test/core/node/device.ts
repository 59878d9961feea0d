// A device as a test drives it: numbers its messages, keeps them until their ACK, and writes down what its socket hears.

import { assert } from "../../../src/base/assert.ts";
import type { ErrorCode } from "../../../src/base/errors.ts";
import type { DeviceLine, DeviceSocket, Welcome } from "../../../src/core/gateway/types.ts";
import type { CoreNode } from "../../../src/core/node.ts";
import { PUBLISH_KIND } from "../../../src/core/hop.ts";
import { body } from "../stream/driver.ts";

export class TestDevice {
  readonly id: string;
  session = 0;
  acked = 0;
  /** The next number it gives. */
  next = 1;
  socket: TestSocket | undefined;
  readonly #hears: (line: string) => void;

  constructor(id: string, hears: (line: string) => void) {
    this.id = id;
    this.#hears = hears;
  }

  /** A new socket at a node: opens a session, or resumes the one it has. */
  dial(core: CoreNode, nonce = 1n): void {
    const socket = new TestSocket(this, core.id, this.#hears);
    this.socket = socket;
    const hello = { device: this.id, session: this.session, nonce, leaves: 0, oldest: this.acked + 1, next: this.next, window: 8 };
    socket.line = core.open(socket, hello);
  }

  /** Sends the next `count` messages. */
  publish(count: number): void {
    for (let left = count; left > 0; left -= 1) {
      this.send(this.next);
      this.next += 1;
    }
  }

  /** Sends again what it was not acknowledged, from a number on. */
  again(from = this.acked + 1): void {
    for (let series = from; series < this.next; series += 1) this.send(series);
  }

  hangUp(): void {
    const { socket } = this;
    this.socket = undefined;
    socket?.line.closed();
  }

  nodeEnded(node: string): void {
    if (this.socket?.node === node) this.socket = undefined;
  }

  send(series: number): void {
    assert(this.socket !== undefined, `${this.id} is not connected`);
    const bytes = body(`${this.id}:${series}`);
    this.socket.line.publish(series, PUBLISH_KIND.message, bytes, 0, bytes.length);
  }
}

export class TestSocket implements DeviceSocket {
  line!: DeviceLine;
  readonly node: string;
  readonly #device: TestDevice;
  readonly #hears: (line: string) => void;

  constructor(device: TestDevice, node: string, hears: (line: string) => void) {
    this.#device = device;
    this.node = node;
    this.#hears = hears;
  }

  welcome({ session, last }: Welcome): void {
    this.#device.session = session;
    this.#device.acked = last;
    this.#device.next = Math.max(this.#device.next, last + 1);
    this.#hears(`WELCOME session ${session} last ${last}`);
  }

  ack(series: number): void {
    this.#device.acked = Math.max(this.#device.acked, series);
    this.#hears(`ACK ${series}`);
  }

  voided(series: number, code: ErrorCode): void {
    this.#hears(`VOID ${series} ${code}`);
  }

  refuse(expected: number, code: ErrorCode): void {
    this.#hears(`REFUSE ${expected} ${code}`);
  }

  credit(window: number): void {
    this.#hears(`CREDIT ${window}`);
  }

  broken(_generation: number, last: number, nonce?: bigint): void {
    this.#ended();
    this.#hears(nonce === undefined ? `BROKEN last ${last}` : `BROKEN nonce ${nonce}`);
  }

  close(code: ErrorCode): void {
    this.#ended();
    this.#hears(`CLOSE ${code} at ${this.node}`);
  }

  #ended(): void {
    if (this.#device.socket === this) this.#device.socket = undefined;
  }
}

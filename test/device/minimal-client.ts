// A second device client, written from docs/device-protocol.md alone: it shares no code with the product, so it proves that the page is enough.
// It keeps its numbers in 16 bits on the wire and does nothing that the page does not tell.

import { connect, type Socket } from "node:net";

export type Value = null | boolean | number | bigint | string | Buffer | Value[] | Map<string, Value>;

// --- section 1: msgpack, as much of it as a device needs ---

function pack(value: Value): Buffer {
  if (value === null) return Buffer.of(0xc0);
  if (typeof value === "boolean") return Buffer.of(value ? 0xc3 : 0xc2);
  if (typeof value === "bigint") {
    const bytes = Buffer.alloc(9, 0xcf);
    bytes.writeBigUInt64BE(value, 1);
    return bytes;
  }
  if (typeof value === "number") {
    if (value < 128) return Buffer.of(value);
    if (value > 0xffff_ffff) return pack(BigInt(value));
    const bytes = Buffer.alloc(5, 0xce);
    bytes.writeUInt32BE(value, 1);
    return bytes;
  }
  if (typeof value === "string") {
    const text = Buffer.from(value, "utf8");
    return Buffer.concat([Buffer.of(0xda, text.length >> 8, text.length & 255), text]);
  }
  if (Buffer.isBuffer(value)) return Buffer.concat([Buffer.of(0xc5, value.length >> 8, value.length & 255), value]);
  if (Array.isArray(value)) return Buffer.concat([Buffer.of(0xdc, 0, value.length), ...value.map(pack)]);
  return Buffer.concat([Buffer.of(0xde, 0, value.size), ...[...value].flatMap(([name, one]) => [pack(name), pack(one)])]);
}

function unpack(bytes: Buffer): Value {
  let at = 0;
  const unsigned = (size: number): number => {
    const value = size === 8 ? Number(bytes.readBigUInt64BE(at)) : bytes.readUIntBE(at, size);
    at += size;
    return value;
  };
  const take = (length: number): Buffer => bytes.subarray(at, (at += length));
  const list = (count: number): Value[] => Array.from({ length: count }, next);
  const pairs = (count: number): Map<string, Value> => new Map(Array.from({ length: count }, () => [next() as string, next()]));
  function next(): Value {
    const head = unsigned(1);
    if (head < 0x80) return head;
    if (head < 0x90) return pairs(head & 15);
    if (head < 0xa0) return list(head & 15);
    if (head < 0xc0) return take(head & 31).toString("utf8");
    switch (head) {
      case 0xc0: return null;
      case 0xc2: return false;
      case 0xc3: return true;
      case 0xc4: return take(unsigned(1));
      case 0xc5: return take(unsigned(2));
      case 0xc6: return take(unsigned(4));
      case 0xcc: return unsigned(1);
      case 0xcd: return unsigned(2);
      case 0xce: return unsigned(4);
      case 0xcf: return unsigned(8);
      case 0xd9: return take(unsigned(1)).toString("utf8");
      case 0xda: return take(unsigned(2)).toString("utf8");
      case 0xdc: return list(unsigned(2));
      case 0xde: return pairs(unsigned(2));
      default: throw new Error(`msgpack head ${head.toString(16)}`);
    }
  }
  return next();
}

// --- section 2: types ---

export const HELLO = 1, PUBLISH = 2, RECEIVED = 3, STATE = 4, PING = 5, GOODBYE = 6;
export const WELCOME = 17, ACK = 18, REFUSE = 19, DELIVER = 20, DOCUMENT = 21, CREDIT = 22, BROKEN = 23, PONG = 24, CLOSE = 25;

export type Frame = Value[];

/** One connection: frames out, and frames in one after the other. */
export class Wire {
  readonly socket: Socket;
  #bytes = Buffer.alloc(0);
  #frames: Frame[] = [];
  #wanting: ((frame: Frame | undefined) => void) | undefined;
  #ended = false;

  constructor(address: string) {
    const [host, port] = address.split(":");
    this.socket = connect({ host: host!, port: Number(port), noDelay: true });
    this.socket.on("error", () => undefined);
    this.socket.on("close", () => {
      this.#ended = true;
      this.#give();
    });
    this.socket.on("data", (chunk) => {
      this.#bytes = Buffer.concat([this.#bytes, chunk]);
      for (let length: number; this.#bytes.length >= 4 && this.#bytes.length >= 4 + (length = this.#bytes.readUInt32BE(0)); ) {
        this.#frames.push(unpack(this.#bytes.subarray(4, 4 + length)) as Frame);
        this.#bytes = this.#bytes.subarray(4 + length);
      }
      this.#give();
    });
  }

  send(...frames: Frame[]): void {
    this.socket.write(Buffer.concat(frames.map((frame) => {
      const body = pack(frame);
      const length = Buffer.alloc(4);
      length.writeUInt32BE(body.length);
      return Buffer.concat([length, body]);
    })));
  }

  /** The next frame; undefined when the connection has ended. */
  next(): Promise<Frame | undefined> {
    return new Promise((resolve) => {
      this.#wanting = resolve;
      this.#give();
    });
  }

  /** The next frame of this type; those before it are passed over. */
  async await(type: number): Promise<Frame> {
    for (;;) {
      const frame = await this.next();
      if (frame === undefined) throw new Error(`The connection ended before a frame of type ${type}.`);
      if (frame[0] === type) return frame;
      if (frame[0] === CLOSE) throw new Error(`CLOSE ${frame[1] as string}: ${frame[2] as string}`);
    }
  }

  end(): void {
    this.socket.destroy();
  }

  #give(): void {
    const wanting = this.#wanting;
    if (wanting === undefined || (this.#frames.length === 0 && !this.#ended)) return;
    this.#wanting = undefined;
    wanting(this.#frames.shift());
  }
}

// --- sections 3 and 4: a session, and its series modulo the wrap ---

const WRAP = 65_536;

export class MinimalDevice {
  readonly id: string;
  wire!: Wire;
  session = 0;
  /** Wide: the greatest number acknowledged, and the next one to give. */
  acked = 0;
  next = 1;
  window = 0;
  /** Messages that are not acknowledged, the oldest first: numbers acked + 1 … next − 1. */
  readonly held: Buffer[] = [];
  readonly wrap: number;
  #nonce = 0n;
  #sent = 0;

  constructor(id: string, wrap = WRAP) {
    this.id = id;
    this.wrap = wrap;
  }

  /** Opens a session, or resumes the one it has, and sends again what was not taken. */
  async connect(address: string, window = 1000): Promise<Frame> {
    this.wire = new Wire(address);
    const fromClock = (BigInt(Date.now()) << 20n) + BigInt(Math.floor(Math.random() * 2 ** 20));
    this.#nonce = fromClock > this.#nonce ? fromClock : this.#nonce + 1n;
    const [oldest, next] = this.session === 0 ? [1, 1] : [this.acked + 1, this.next];
    this.wire.send([HELLO, 1, this.id, "", this.session, this.#nonce, oldest, next, 0, window, this.wrap]);
    const welcome = await this.wire.await(WELCOME);
    this.session = welcome[2] as number;
    this.window = welcome[6] as number;
    this.#ackedTo(welcome[3] as number);
    this.#sent = this.acked;
    return welcome;
  }

  /** Publishes all, and returns when all are acknowledged. */
  async publish(payloads: readonly string[]): Promise<void> {
    for (const payload of payloads) this.hold(payload);
    await this.settle();
  }

  hold(payload: string): void {
    this.held.push(Buffer.from(payload));
    this.next += 1;
  }

  /** Sends within the window until everything is acknowledged, going back where the broker says so. */
  async settle(): Promise<void> {
    this.sendWithinWindow();
    while (this.held.length > 0) {
      const frame = await this.wire.next();
      if (frame === undefined) throw new Error("The connection ended.");
      if (frame[0] === ACK) this.#ackedTo(this.#widen(frame[1] as number));
      else if (frame[0] === REFUSE) this.#sent = this.#widen(frame[1] as number) - 1;
      else if (frame[0] === CREDIT) this.window = frame[1] as number;
      else if (frame[0] === CLOSE) throw new Error(`CLOSE ${frame[1] as string}`);
      this.sendWithinWindow();
    }
  }

  sendWithinWindow(): void {
    const frames: Frame[] = [];
    while (this.#sent + 1 < this.next && this.#sent - this.acked < this.window) {
      this.#sent += 1;
      frames.push(this.frame(this.#sent, this.held[this.#sent - this.acked - 1]!));
    }
    if (frames.length > 0) this.wire.send(...frames);
  }

  frame(series: number, payload: Buffer): Frame {
    return [PUBLISH, series % this.wrap, 0, [payload, null, null]];
  }

  #widen(wire: number): number {
    const distance = (((wire - this.acked) % this.wrap) + this.wrap) % this.wrap;
    return distance < this.wrap / 2 ? this.acked + distance : this.acked + distance - this.wrap;
  }

  #ackedTo(series: number): void {
    if (series <= this.acked) return;
    this.held.splice(0, series - this.acked);
    this.acked = series;
  }
}

// A message to the device, as the application gets it.

import { decodeBody } from "../../../src/wire/body.ts";

export class Message {
  /** Its place in the device's stream. */
  readonly offset: number;
  /** Milliseconds since 1970: when the broker stored it. */
  readonly time: number;
  readonly payload: Uint8Array;
  readonly headers: Readonly<Record<string, string>>;
  /** Milliseconds since 1970; 0 for never. */
  readonly expires: number;
  readonly #whenHandled: (offset: number) => void;

  constructor(offset: number, time: number, bytes: Uint8Array, start: number, end: number, whenHandled: (offset: number) => void) {
    const body = decodeBody(bytes, start, end);
    this.offset = offset;
    this.time = time;
    this.payload = body.payload;
    this.headers = body.headers ?? (Object.create(null) as Record<string, string>);
    this.expires = body.expires;
    this.#whenHandled = whenHandled;
  }

  /** The payload as UTF-8 text; what is not UTF-8 becomes U+FFFD. */
  text(): string {
    return new TextDecoder().decode(this.payload);
  }

  /** @throws SyntaxError when the payload is not JSON. */
  json(): unknown {
    return JSON.parse(this.text());
  }

  /** Tells the broker that this message and all before it are taken care of. Asking for the next one says the same. */
  handled(): void {
    this.#whenHandled(this.offset);
  }
}

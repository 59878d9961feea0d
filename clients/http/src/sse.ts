// Reads server-sent events (the text/event-stream format of the HTML standard) piece by piece.

import { clientError } from "./errors.ts";

export interface ServerEvent {
  /** "message" where the event names none; "" for a mere comment, or an id without data. */
  readonly event: string;
  readonly data: string;
  /** The last id that the stream gave, "" before the first. */
  readonly id: string;
}

/** An event longer than this ends the connection: a payload has at most 8 MiB, a third more in base64. Characters. */
const MOST_EVENT_LENGTH = 16 * 1024 * 1024;

export class EventReader {
  /** What the server asks to wait before coming back, in milliseconds; undefined where it did not say. */
  retryMs: number | undefined;
  #line = "";
  #endedWithCr = false;
  #event = "";
  #data: string[] = [];
  #length = 0;
  #id = "";

  /** The events that this piece completes; half an event stays for the next piece. @throws BellhopError `bad_answer` */
  read(piece: string): ServerEvent[] {
    const events: ServerEvent[] = [];
    const text = this.#endedWithCr && piece.startsWith("\n") ? piece.slice(1) : piece;
    if (piece !== "") this.#endedWithCr = piece.endsWith("\r");
    const lines = text.split(/\r\n|\n|\r/);
    for (const [index, part] of lines.entries()) {
      this.#line += part;
      this.#length += part.length;
      if (this.#length > MOST_EVENT_LENGTH) throw clientError("bad_answer", `An event is longer than ${MOST_EVENT_LENGTH} characters.`);
      if (index === lines.length - 1) break; // its end has not come yet
      if (this.#line === "") events.push(this.#complete());
      else this.#field(this.#line);
      this.#line = "";
    }
    return events;
  }

  #complete(): ServerEvent {
    const event = this.#data.length === 0 ? "" : this.#event === "" ? "message" : this.#event;
    const complete = { event, data: this.#data.join("\n"), id: this.#id };
    this.#event = "";
    this.#data = [];
    this.#length = 0;
    return complete;
  }

  #field(line: string): void {
    const colon = line.indexOf(":");
    const name = colon === -1 ? line : line.slice(0, colon);
    const value = colon === -1 ? "" : line.slice(colon + 1).replace(/^ /, "");
    if (name === "data") this.#data.push(value);
    else if (name === "event") this.#event = value;
    else if (name === "id") this.#id = value;
    else if (name === "retry" && /^\d{1,7}$/.test(value)) this.retryMs = Number(value);
  }
}

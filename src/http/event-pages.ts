// Pages of events, read and written out once for all followers that are at the same place of the same stream in the same turn.

import type { EntryType, NodeApi, ReadOptions, StreamPage } from "../node/api.ts";
import { entryJson } from "./entry.ts";
import { asLines } from "./events.ts";

const PAGE_ENTRIES = 256;

export interface EventPage {
  /** As they go to the sockets; empty when there is nothing for these types. */
  readonly events: Buffer;
  readonly next: number;
  readonly end: number;
}

export class EventPages {
  readonly #node: Pick<NodeApi, "read" | "readNow">;
  readonly #maxBytes: number;
  /** Those that were in memory, until the turn is over. */
  readonly #ofTurn = new Map<string, EventPage>();
  readonly #pages = new Map<string, Promise<EventPage>>();

  constructor(node: Pick<NodeApi, "read" | "readNow">, maxBytes: number) {
    this.#node = node;
    this.#maxBytes = maxBytes;
  }

  /** At once where the page is in memory, as what followers wait for mostly is. */
  read(device: string, after: number, types: readonly EntryType[] | undefined): EventPage | Promise<EventPage> {
    const name = `${after} ${types?.join() ?? ""} ${device}`;
    const known = this.#ofTurn.get(name) ?? this.#pages.get(name);
    if (known !== undefined) return known;
    const select = { after, limit: PAGE_ENTRIES, maxBytes: this.#maxBytes, ...(types === undefined ? {} : { types }) };
    const now = this.#node.readNow(device, select);
    if (now === undefined) return this.#fetch(name, device, select);
    const page = eventPageOf(now);
    if (page.next !== after) this.#keep(name, page);
    return page;
  }

  /** An empty page is not kept: it is out of date as soon as the stream moves, and whoever reads again must not get it. */
  #keep(name: string, page: EventPage): void {
    if (this.#ofTurn.size === 0) setImmediate(() => this.#ofTurn.clear());
    this.#ofTurn.set(name, page);
  }

  #fetch(name: string, device: string, select: ReadOptions): Promise<EventPage> {
    const page = this.#node.read(device, select).then(eventPageOf);
    this.#pages.set(name, page);
    const forget = (): void => void this.#pages.delete(name);
    page.then(({ next }) => (next === select.after ? forget() : void setImmediate(forget)), forget);
    return page;
  }
}

function eventPageOf(page: StreamPage): EventPage {
  return { events: Buffer.from(eventsOf(page)), next: page.next, end: page.end };
}

function eventsOf(page: StreamPage): string {
  const { gap } = page;
  let text = gap === undefined ? "" : `id: ${gap.to}\nevent: gap\ndata: {"from":"${gap.from}","to":"${gap.to}"}\n\n`;
  for (const entry of page.entries) text += `id: ${entry.offset}\ndata: ${asLines(entryJson(entry))}\n\n`;
  return text;
}

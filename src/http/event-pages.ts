// Pages of events, read and written out once for all followers that are at the same place of the same stream in the same turn.

import type { EntryType, NodeApi, StreamPage } from "../node/api.ts";
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
  readonly #node: Pick<NodeApi, "read">;
  readonly #maxBytes: number;
  readonly #pages = new Map<string, Promise<EventPage>>();

  constructor(node: Pick<NodeApi, "read">, maxBytes: number) {
    this.#node = node;
    this.#maxBytes = maxBytes;
  }

  read(device: string, after: number, types: readonly EntryType[] | undefined): Promise<EventPage> {
    const name = `${after} ${types?.join() ?? ""} ${device}`;
    const known = this.#pages.get(name);
    if (known !== undefined) return known;
    const page = this.#make(device, after, types);
    this.#pages.set(name, page);
    const forget = (): void => void this.#pages.delete(name);
    // An empty page is out of date as soon as the stream moves: whoever reads again must not get it.
    page.then(({ next }) => (next === after ? forget() : void setImmediate(forget)), forget);
    return page;
  }

  async #make(device: string, after: number, types: readonly EntryType[] | undefined): Promise<EventPage> {
    const select = { after, limit: PAGE_ENTRIES, maxBytes: this.#maxBytes };
    const page = await this.#node.read(device, types === undefined ? select : { ...select, types });
    return { events: Buffer.from(eventsOf(page)), next: page.next, end: page.end };
  }
}

function eventsOf(page: StreamPage): string {
  const { gap } = page;
  let text = gap === undefined ? "" : `id: ${gap.to}\nevent: gap\ndata: {"from":"${gap.from}","to":"${gap.to}"}\n\n`;
  for (const entry of page.entries) text += `id: ${entry.offset}\ndata: ${asLines(entryJson(entry))}\n\n`;
  return text;
}

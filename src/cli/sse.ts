// Reads a stream of server-sent events (the text/event-stream format of the HTML standard).

export interface ServerEvent {
  /** "message" where the event names none. */
  readonly event: string;
  readonly data: string;
  readonly id: string;
}

/** An event larger than this many characters ends the stream with an error. */
const MAX_EVENT_LENGTH = 16 * 1024 * 1024;

export async function* serverEvents(body: ReadableStream<Uint8Array>): AsyncGenerator<ServerEvent> {
  let rest = "";
  let fields = { event: "", data: [] as string[] };
  let id = "";
  const decoder = new TextDecoder();
  for await (const chunk of body) {
    const lines = (rest + decoder.decode(chunk, { stream: true })).split(/\r\n|\n|\r(?!$)/);
    rest = lines.pop() ?? "";
    if (rest.length > MAX_EVENT_LENGTH) throw new Error("An event of the stream is too long.");
    for (const line of lines) {
      if (line === "") {
        if (fields.data.length > 0) yield { event: fields.event === "" ? "message" : fields.event, data: fields.data.join("\n"), id };
        fields = { event: "", data: [] };
        continue;
      }
      const colon = line.indexOf(":");
      const name = colon === -1 ? line : line.slice(0, colon);
      const value = colon === -1 ? "" : line.slice(colon + 1).replace(/^ /, "");
      if (name === "event") fields.event = value;
      else if (name === "data") fields.data.push(value);
      else if (name === "id") id = value;
    }
  }
}

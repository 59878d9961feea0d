import { describe, expect, test } from "vitest";

import { serverEvents, type ServerEvent } from "../../src/cli/sse.ts";

async function read(...chunks: readonly (string | Uint8Array)[]): Promise<ServerEvent[]> {
  const bytes = chunks.map((chunk) => (typeof chunk === "string" ? new TextEncoder().encode(chunk) : chunk));
  const stream = new ReadableStream<Uint8Array>({
    start(controller) {
      for (const chunk of bytes) controller.enqueue(chunk);
      controller.close();
    },
  });
  const events: ServerEvent[] = [];
  for await (const event of serverEvents(stream)) events.push(event);
  return events;
}

describe("server-sent events", () => {
  test("fields, comments, several lines of data, an id that stays", async () => {
    expect(await read(": hello\n\nid: 7\nevent: gap\ndata: a\ndata:b\n\n", "data: c\n\n")).toEqual([
      { event: "gap", data: "a\nb", id: "7" },
      { event: "message", data: "c", id: "7" },
    ]);
  });

  test("cut anywhere, the events are the same", async () => {
    const text = 'id: 1\r\ndata: {"käfer": "🐞"}\r\n\r\nid: 2\rdata: two\r\rid: 3\ndata: three\n\n';
    const whole = await read(text);
    expect(whole.map(({ id, data }) => [id, data])).toEqual([["1", '{"käfer": "🐞"}'], ["2", "two"], ["3", "three"]]);
    const bytes = new TextEncoder().encode(text);
    for (let cut = 1; cut < bytes.length; cut += 1) expect(await read(bytes.subarray(0, cut), bytes.subarray(cut)), `cut at ${cut}`).toEqual(whole);
  });

  test("an event without its empty line is not told", async () => {
    expect(await read("data: cut off")).toEqual([]);
  });
});

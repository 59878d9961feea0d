// State documents: put, merge patch (RFC 7396), versions, and hostile text.

import { describe, expect, test } from "vitest";
import { DOCUMENT_BYTES, DOCUMENT_DEPTH } from "../../../src/base/document.ts";
import { PUBLISH_KIND } from "../../../src/core/hop.ts";
import { changed, EMPTY_DOCUMENT, mergePatch, parseDocument } from "../../../src/core/stream/document.ts";
import { Bench, textOf } from "./driver.ts";

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);
const state = (how: "put" | "patch", document: string, ifVersion?: number) => ({ type: "state", device: "d", which: "desired", how, document: bytes(document), ifVersion }) as const;

describe("state changes", () => {
  test("each gets a version and an offset, and stands in the stream", () => {
    const bench = new Bench().open();
    expect(bench.ask("changed", state("put", `{"a":1,"b":{"c":2}}`))).toMatchObject({ version: 1, offset: 1 });
    expect(bench.ask("changed", state("patch", `{"a":null,"b":{"d":3}}`))).toMatchObject({ version: 2, offset: 2 });
    const { text, version, offset } = bench.machine.document("d", "desired");
    expect([textOf(text), version, offset]).toEqual([`{"b":{"c":2,"d":3}}`, 2, 2]);
    expect(bench.machine.document("d", "reported")).toEqual(EMPTY_DOCUMENT);
    expect(bench.stream("d").map(({ type, publisher, body }) => [type, publisher, JSON.parse(textOf(body))])).toEqual([
      ["state", "backend", { which: "desired", how: "put", document: { a: 1, b: { c: 2 } } }],
      ["state", "backend", { which: "desired", how: "patch", document: { a: null, b: { d: 3 } } }],
    ]);
  });

  test("If-Match: another version is a conflict and tells the one there is", () => {
    const bench = new Bench().open();
    expect(bench.ask("changed", state("put", "{}", 0)).version).toBe(1);
    expect(bench.ask("failed", state("put", "{}", 0))).toMatchObject({ code: "version_conflict", version: 1 });
    expect(bench.ask("changed", state("put", "{}", 1)).version).toBe(2);
  });

  test("a device patches what it reports, in its own series", () => {
    const bench = new Bench().open();
    const { handle, session } = bench.device("d");
    bench.publish(handle, 1, `{"temperature":21}`, PUBLISH_KIND.statePatch);
    bench.publish(handle, 2, `{"temperature":null,"door":"open"}`, PUBLISH_KIND.statePatch);
    bench.commit();
    const { text, version, offset } = bench.machine.document("d", "reported");
    expect([textOf(text), version, offset]).toEqual([`{"door":"open"}`, 2, 3]);
    const shown = bench.stream("d").at(-1)!;
    expect([shown.type, shown.publisher, shown.session, shown.series]).toEqual(["state", "", session, 2]);
    expect(JSON.parse(textOf(shown.body))).toEqual({ which: "reported", how: "patch", document: { temperature: null, door: "open" } });
  });

  test("a bad document is refused before it enters the log", () => {
    const bench = new Bench().open();
    const before = bench.entries.length;
    expect(bench.ask("failed", state("put", "[]")).code).toBe("bad_document");
    expect(bench.entries).toHaveLength(before);
  });

  test("a patch that makes the document too large is refused when it is applied", () => {
    const bench = new Bench().open();
    const half = "x".repeat(DOCUMENT_BYTES / 2);
    expect(bench.ask("changed", state("put", JSON.stringify({ a: half }))).version).toBe(1);
    expect(bench.ask("failed", state("patch", JSON.stringify({ b: half })))).toMatchObject({ code: "bad_document", version: 1 });
    expect(bench.stream("d")).toHaveLength(1);
  });
});

describe("hostile text", () => {
  const nested = (depth: number): string => `${`{"a":`.repeat(depth - 1)}{}${"}".repeat(depth - 1)}`;

  test.each([
    ["nothing", ""], ["null", "null"], ["a number", "1"], ["an array", "[]"], ["a cut object", `{"a":`], ["two values", "{}{}"],
    ["too deep", nested(DOCUMENT_DEPTH + 1)], ["much too deep", `{"a":${"[".repeat(30_000)}${"]".repeat(30_000)}}`],
    ["a number beyond a double", `{"a":1e999}`], ["a byte order mark", "\ufeff{}"], ["too large", `{"a":"${"x".repeat(DOCUMENT_BYTES)}"}`],
  ])("%s is no document", (_, text) => {
    expect(parseDocument(bytes(text))).toBeUndefined();
  });

  test("bytes that are no UTF-8 are no document", () => {
    expect(parseDocument(Uint8Array.of(0x7b, 0x22, 0xff, 0x22, 0x3a, 0x31, 0x7d))).toBeUndefined();
  });

  test("the greatest depth is taken, and brackets within text do not count", () => {
    expect(parseDocument(bytes(nested(DOCUMENT_DEPTH)))).toBeDefined();
    expect(parseDocument(bytes(JSON.stringify({ text: `${"[".repeat(100)}\\"{` })))).toBeDefined();
  });

  test("__proto__ and constructor are names like any other", () => {
    const put = changed(EMPTY_DOCUMENT, "put", bytes(`{"__proto__":{"polluted":1}}`))!;
    expect(textOf(put)).toBe(`{"__proto__":{"polluted":1}}`);
    const patched = changed({ text: put, version: 1, offset: 1 }, "patch", bytes(`{"__proto__":{"more":2},"constructor":{"prototype":3},"toString":null}`))!;
    expect(textOf(patched)).toBe(`{"__proto__":{"polluted":1,"more":2},"constructor":{"prototype":3}}`);
    expect(({} as Record<string, unknown>)["polluted"]).toBeUndefined();
    expect(({} as Record<string, unknown>)["more"]).toBeUndefined();
  });
});

// The table of RFC 7396, appendix A.
test.each([
  [`{"a":"b"}`, `{"a":"c"}`, `{"a":"c"}`], [`{"a":"b"}`, `{"b":"c"}`, `{"a":"b","b":"c"}`], [`{"a":"b"}`, `{"a":null}`, `{}`],
  [`{"a":"b","b":"c"}`, `{"a":null}`, `{"b":"c"}`], [`{"a":["b"]}`, `{"a":"c"}`, `{"a":"c"}`], [`{"a":"c"}`, `{"a":["b"]}`, `{"a":["b"]}`],
  [`{"a":{"b":"c"}}`, `{"a":{"b":"d","c":null}}`, `{"a":{"b":"d"}}`], [`{"a":[{"b":"c"}]}`, `{"a":[1]}`, `{"a":[1]}`], [`["a","b"]`, `["c","d"]`, `["c","d"]`],
  [`{"a":"b"}`, `["c"]`, `["c"]`], [`{"a":"foo"}`, `null`, `null`], [`{"a":"foo"}`, `"bar"`, `"bar"`], [`{"e":null}`, `{"a":1}`, `{"e":null,"a":1}`],
  [`[1,2]`, `{"a":"b","c":null}`, `{"a":"b"}`], [`{}`, `{"a":{"bb":{"ccc":null}}}`, `{"a":{"bb":{}}}`],
])("merge patch of %s with %s gives %s", (target, patch, result) => {
  expect(JSON.stringify(mergePatch(JSON.parse(target), JSON.parse(patch)))).toBe(result);
});

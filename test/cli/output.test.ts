import { describe, expect, test } from "vitest";

import { entryLine, type ShownEntry } from "../../src/cli/entry.ts";
import { styled, table } from "../../src/cli/output.ts";

const ENTRY: ShownEntry = { offset: "42", time: "2026-11-20T12:24:27.492Z", type: "downlink", publisher: "backend", payload: { on: true } };

describe("what commands print", () => {
  test("an entry is one line, and a message cannot write to the terminal", () => {
    expect(entryLine(ENTRY)).toBe('      42  12:24:27.492  downlink  {"on":true}');
    expect(entryLine({ ...ENTRY, payload: "red \x1b[31m\r\nnext line\x07" })).toBe("      42  12:24:27.492  downlink  red \\u001b[31m\\u000d\\u000anext line\\u0007");
  });

  test("an expiry is told with its message, and whether it is over", () => {
    expect(entryLine({ ...ENTRY, expires: "2020-01-31T12:00:00.000Z" })).toMatch(/  expired 2020-01-31T12:00:00.000Z$/);
    expect(entryLine({ ...ENTRY, expires: "2999-01-31T12:00:00.000Z" })).toMatch(/  expires 2999-01-31T12:00:00.000Z$/);
  });

  test("colour only on a terminal, and not with NO_COLOR or on a dumb one", () => {
    const before = { NO_COLOR: process.env["NO_COLOR"], TERM: process.env["TERM"] };
    try {
      delete process.env["NO_COLOR"];
      process.env["TERM"] = "xterm";
      expect(styled({ isTTY: true }, "bold", "x")).toBe("\x1b[1mx\x1b[0m");
      expect(styled({}, "bold", "x")).toBe("x");
      process.env["NO_COLOR"] = "1";
      expect(styled({ isTTY: true }, "bold", "x")).toBe("x");
      delete process.env["NO_COLOR"];
      process.env["TERM"] = "dumb";
      expect(styled({ isTTY: true }, "bold", "x")).toBe("x");
    } finally {
      for (const [name, value] of Object.entries(before)) {
        if (value === undefined) delete process.env[name];
        else process.env[name] = value;
      }
    }
  });

  test("columns line up, without blanks at the end", () => {
    expect(table([["NAME", "VALUE"], ["a", "1"], ["longer", ""]])).toBe("NAME    VALUE\na       1\nlonger");
  });
});

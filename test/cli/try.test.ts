// What `start` tells to try: with TLS, required keys and other addresses the lines say what they need.

import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { expect, test } from "vitest";

import { whatToTry } from "../../src/cli/try.ts";
import { defaults } from "../../src/config.ts";

const [HTTP, DEVICE] = ["127.0.0.1:4800", "127.0.0.1:4810"];

test("alone on this machine: nothing but the commands", () => {
  expect(whatToTry(defaults(), HTTP, DEVICE)).toBe("Try in another terminal:\n  bellhop simulate lamp-1\n  bellhop follow lamp-1\n  bellhop publish lamp-1 hello");
});

test("with TLS and keys: the authority, and the key where this node has one", () => {
  const data = mkdtempSync(join(tmpdir(), "bellhop-try-"));
  const settings = { ...defaults(), auth: "required" as const, tlsCert: "n2.crt", tlsKey: "n2.key", data };
  const second = whatToTry(settings, "127.0.0.2:4800", DEVICE);
  expect(second).toContain("  BELLHOP_CA=CA_FILE BELLHOP_KEY_FILE=KEY_FILE bellhop key add backend --role publish --at 127.0.0.2:4800\n");
  expect(second).toContain("  KEY_FILE: ");
  writeFileSync(join(data, "admin.key"), "");
  const first = whatToTry(settings, HTTP, DEVICE);
  expect(first).toContain(`  BELLHOP_CA=CA_FILE BELLHOP_DATA=${data} bellhop device add lamp-1 > lamp-1.token\n`);
  expect(first).toContain("  BELLHOP_CA=CA_FILE BELLHOP_TOKEN_FILE=lamp-1.token bellhop simulate lamp-1\n");
  expect(first).not.toContain("KEY_FILE:");
  rmSync(data, { recursive: true });
});

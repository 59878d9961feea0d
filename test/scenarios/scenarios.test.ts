// Stories as text: each file is stanzas of `command`, `----`, output. The commands are run and the file must come out as it stands; `vitest -u` writes it anew.
// A line that begins with # tells the story; the first one names the world: `# world: replica`.

import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { NodeWorld } from "./node-world.ts";
import { ReplicaWorld } from "./replica-world.ts";
import type { World } from "./world.ts";

const WORLDS: Readonly<Record<string, () => World>> = {
  node: () => new NodeWorld(),
  replica: () => new ReplicaWorld(),
};

const RULE = "----";

/** Answers the text with every output replaced by what happened. */
function play(text: string): string {
  const stanzas = text.trim().split(/\n{2,}/);
  const name = /^# world: (\S+)/.exec(stanzas[0] ?? "")?.[1] ?? "";
  const world = WORLDS[name]?.();
  if (world === undefined) throw new Error(`no world is named "${name}"`);
  return `${stanzas.map((stanza) => playStanza(world, stanza)).join("\n\n")}\n`;
}

function playStanza(world: World, stanza: string): string {
  const lines = stanza.split("\n");
  const end = lines.indexOf(RULE);
  const input = end < 0 ? lines : lines.slice(0, end);
  const commands = input.filter((line) => !line.startsWith("#"));
  if (commands.length === 0) return input.join("\n");
  const output = commands.map((line) => {
    const [command = "", ...words] = line.split(" ");
    return world.run(command, words);
  });
  return [...input, RULE, ...output.filter((lines) => lines !== "")].join("\n");
}

const files = readdirSync(import.meta.dirname).filter((name) => name.endsWith(".txt"));

describe("scenario", () => {
  test("files are found", () => {
    expect(files.length).toBeGreaterThan(4);
  });

  test.each(files)("%s", async (name) => {
    const path = join(import.meta.dirname, name);
    await expect(play(readFileSync(path, "utf8"))).toMatchFileSnapshot(path);
  });

  test("a command that is not known fails", () => {
    expect(() => play("# world: replica\n\nfly away\n----\n")).toThrow("does not know");
    expect(() => play("# world: nowhere\n")).toThrow("no world");
  });
});

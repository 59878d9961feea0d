// Lets the user change a text in the editor of VISUAL or EDITOR.

import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { CliError } from "./exit.ts";

/** What stands in the file when the editor has ended. @throws CliError where it cannot be run or fails; nothing is to be changed then */
export function edited(name: string, before: string): string {
  const editor = process.env["VISUAL"] ?? process.env["EDITOR"] ?? "vi";
  const folder = mkdtempSync(join(tmpdir(), "bellhop-edit-"));
  const file = join(folder, name);
  try {
    writeFileSync(file, before);
    const ended = spawnSync("/bin/sh", ["-c", `${editor} "$1"`, editor, file], { stdio: "inherit" }); // it may have options: "code --wait"
    if (ended.error !== undefined || ended.status !== 0) {
      throw new CliError("failed", "no_editor", `The editor ${editor} failed, and nothing was changed.`, ended.error?.message ?? `it ended with ${ended.status}`, "name another with EDITOR=…");
    }
    return readFileSync(file, "utf8");
  } finally {
    rmSync(folder, { recursive: true });
  }
}

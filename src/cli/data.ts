// The data directory of a node that starts: made where there is none, refused where it is no directory or someone else's.

import { mkdirSync, readdirSync, statSync } from "node:fs";
import { dirname, resolve } from "node:path";

import { CliError } from "./exit.ts";

/** What a data directory holds (docs/storage.md); a lock that is being taken has the process's id in its name. */
const OURS = /^(?:store-id|lock|log|control|state\.lmdb|admin\.key)(?:[.-].*)?$/;
/** What a new file system or its tools put there. */
const NOBODYS = /^(?:lost\+found$|\.)/;

/** @throws CliError where it cannot be used, and what the file system throws. */
export function prepareData(data: string): void {
  makeDirectory(resolve(data), data);
  const names = readdirSync(data).filter((name) => !NOBODYS.test(name));
  if (names.length > 0 && !names.some((name) => OURS.test(name))) {
    throw unusable("foreign_data", `${data} holds other files and no data of a node.`, `for example ${names[0]}`);
  }
}

/** One directory after the other: where none can be made (/proc), `mkdirSync` with `recursive` never comes back. */
function makeDirectory(path: string, data: string): void {
  if (dirname(path) !== path) makeDirectory(dirname(path), data);
  const found = statSync(path, { throwIfNoEntry: false });
  if (found?.isDirectory() === true) return;
  if (found !== undefined) throw unusable("no_directory", `${path} is a file, not a directory.`);
  try {
    mkdirSync(path);
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    if (code === "EEXIST") return; // made by another process meanwhile
    if (code !== "ENOENT" && code !== "EINVAL" && code !== "EPERM") throw error;
    throw unusable("no_directory", `The data directory ${data} cannot be made.`, message);
  }
}

function unusable(code: string, what: string, why = ""): CliError {
  return new CliError("usage", code, what, why, "name a new or empty directory, or one of a node: bellhop start --data DIR");
}

// The data directory of a node that starts: made where there is none, refused where it is no directory or someone else's.

import { mkdirSync, readdirSync, statSync } from "node:fs";
import { dirname, resolve } from "node:path";

import { CliError } from "./exit.ts";

/** What a data directory holds (docs/storage.md); a lock that is being taken has the process's id in its name. */
const OURS = /^(?:store-id|lock|log|control|state\.lmdb|admin\.key)(?:[.-].*)?$/;
/** What a new file system or its tools put there. */
const NOBODYS = /^(?:lost\+found$|\.)/;

/** True where there was no data of a node yet. @throws CliError where it cannot be used, and what the file system throws. */
export function prepareData(data: string): boolean {
  makeDirectory(resolve(data), data);
  const names = readdirSync(data).filter((name) => !NOBODYS.test(name));
  if (names.length > 0 && !names.some((name) => OURS.test(name))) {
    throw unusable("foreign_data", `${data} holds other files and no data of a node.`, `for example ${names[0]}`);
  }
  return names.length === 0;
}

/** The last directory only: where the one above it is missing a disk is not mounted, or the path is misspelt. */
function makeDirectory(path: string, data: string): void {
  if (isDirectory(path)) return;
  if (!isDirectory(dirname(path))) throw unusable("no_directory", `The data directory ${data} cannot be made: there is no ${dirname(path)}.`, "its disk is not mounted, or the path is misspelt; only the last directory is made");
  try {
    mkdirSync(path);
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    if (code === "EEXIST") return; // made by another process meanwhile
    if (code !== "ENOENT" && code !== "EINVAL" && code !== "EPERM") throw error;
    throw unusable("no_directory", `The data directory ${data} cannot be made.`, message);
  }
}

/** False where there is nothing. @throws CliError for a file */
function isDirectory(path: string): boolean {
  if (dirname(path) !== path && !isDirectory(dirname(path))) return false;
  const found = statSync(path, { throwIfNoEntry: false });
  if (found !== undefined && !found.isDirectory()) throw unusable("no_directory", `${path} is a file, not a directory.`);
  return found !== undefined;
}

function unusable(code: string, what: string, why = ""): CliError {
  return new CliError("usage", code, what, why, "name a new or empty directory, or one of a node: bellhop start --data DIR");
}

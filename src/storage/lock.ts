// One process at a time has a data directory open: a lock file that names the process, taken over only where that one is gone.

import { linkSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { StorageError } from "./errors.ts";
import { codeOf } from "./vfs.ts";

/** Directories that this process has open. */
const held = new Set<string>();

/** Takes the lock and returns what gives it back. @throws StorageError `locked` while another process lives that has it */
export function lockDirectory(directory: string): () => void {
  const path = join(directory, "lock");
  const mine = `${path}.${process.pid}`;
  writeFileSync(mine, owner(process.pid));
  try {
    while (!tryLink(mine, path)) takeStale(path, directory);
  } finally {
    rmSync(mine, { force: true });
  }
  held.add(path);
  return () => {
    held.delete(path);
    rmSync(path, { force: true });
  };
}

/** A hard link appears with its content, or not at all. */
function tryLink(from: string, to: string): boolean {
  try {
    linkSync(from, to);
    return true;
  } catch (error) {
    if (codeOf(error) === "EEXIST") return false;
    throw error;
  }
}

/** Moves the lock of a dead process out of the way; another that does the same at the same time may have put its own there meanwhile. */
function takeStale(path: string, directory: string): void {
  const found = read(path);
  if (found === undefined) return;
  if (isAlive(found, path)) throw locked(directory, found);
  const moved = `${path}.${process.pid}.stale`;
  try {
    renameSync(path, moved);
  } catch (error) {
    if (codeOf(error) === "ENOENT") return;
    throw error;
  }
  const taken = read(moved) ?? "";
  if (taken !== found) tryLink(moved, path);
  rmSync(moved, { force: true });
  if (taken !== found) throw locked(directory, taken);
}

function locked(directory: string, found: string): StorageError {
  return new StorageError("locked", `Process ${found.split(" ")[0] ?? "?"} has ${directory} open. Stop it first, or use another directory.`);
}

function read(path: string): string | undefined {
  try {
    return readFileSync(path, "latin1");
  } catch (error) {
    if (codeOf(error) === "ENOENT") return undefined;
    throw error;
  }
}

function isAlive(found: string, path: string): boolean {
  const pid = Number(found.split(" ")[0]);
  if (!Number.isInteger(pid) || pid <= 0) return false;
  if (pid === process.pid) return held.has(path);
  try {
    process.kill(pid, 0);
  } catch (error) {
    if (codeOf(error) === "ESRCH") return false;
  }
  return owner(pid) === found && !hasEnded(pid);
}

/** Killed, and not yet reaped by its parent: it holds nothing any more. */
function hasEnded(pid: number): boolean {
  const state = statFields(pid)[0];
  return state === "Z" || state === "X";
}

/** A process id and, where the system tells it, when that process began: ids are used again. */
function owner(pid: number): string {
  return `${pid} ${statFields(pid)[19] ?? ""}`;
}

/** The fields of /proc/PID/stat behind the name, the state first; none where the system has no such file. */
function statFields(pid: number): string[] {
  const stat = read(`/proc/${pid}/stat`);
  return stat === undefined ? [] : stat.slice(stat.lastIndexOf(")") + 2).split(" ");
}

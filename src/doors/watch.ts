// Tells when one of some files holds something else: by a watch on their directories, which sees a file renamed into place and Kubernetes' swap of the
// `..data` link, and by looking now and then, for file systems that tell nothing.

import { type FSWatcher, statSync, watch } from "node:fs";
import { dirname } from "node:path";

/** Events come in rows (a certificate, then its key): it looks when none has come for so long. Milliseconds. */
const QUIET_MS = 250;
const LOOK_MS = 10_000;

export class FileWatch {
  readonly #changed: () => void;
  #seen = new Map<string, string>();
  #watchers = new Map<string, FSWatcher>();
  #soon: NodeJS.Timeout | undefined;
  readonly #look: NodeJS.Timeout;

  constructor(changed: () => void) {
    this.#changed = changed;
    this.#look = setInterval(() => this.#check(), LOOK_MS).unref();
  }

  /** From now on these files. What they hold now is known to the caller. */
  set(files: readonly string[]): void {
    this.#seen = new Map(files.map((file) => [file, versionOf(file)]));
    const directories = new Set(files.map((file) => dirname(file)));
    for (const [directory, watcher] of this.#watchers) {
      if (directories.has(directory)) continue;
      watcher.close();
      this.#watchers.delete(directory);
    }
    for (const directory of directories) if (!this.#watchers.has(directory)) this.#watch(directory);
  }

  close(): void {
    clearInterval(this.#look);
    clearTimeout(this.#soon);
    for (const watcher of this.#watchers.values()) watcher.close();
    this.#watchers.clear();
  }

  #watch(directory: string): void {
    try {
      const watcher = watch(directory, { persistent: false }, () => this.#lookSoon());
      watcher.on("error", () => watcher.close()); // the directory is gone: the look now and then finds it again
      this.#watchers.set(directory, watcher);
    } catch {
      // As above.
    }
  }

  #lookSoon(): void {
    clearTimeout(this.#soon);
    this.#soon = setTimeout(() => this.#check(), QUIET_MS).unref();
  }

  #check(): void {
    const files = [...this.#seen.keys()];
    if (files.every((file) => this.#seen.get(file) === versionOf(file))) return;
    this.set(files);
    this.#changed();
  }
}

/** Another one when the file behind the name, or what it holds, has changed; "" where there is none. */
function versionOf(file: string): string {
  const found = statSync(file, { bigint: true, throwIfNoEntry: false });
  return found === undefined ? "" : `${found.dev} ${found.ino} ${found.size} ${found.mtimeNs} ${found.ctimeNs}`;
}

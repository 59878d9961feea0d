// Settings and certificates that change while the node runs (F4): the new is checked as a whole before it takes over; where it is bad the old stays, and the log says why.

import { describeSettings, type Settings } from "../config.ts";
import type { Log } from "../observe/log.ts";
import { CertificateError, type Certificates, certificateFiles, readCertificates } from "./certificates.ts";
import { FileWatch } from "./watch.ts";

/** Takes what is new; nothing in it can fail. */
type Apply = (settings: Settings, certificates: Certificates) => void;

/** Where settings come from; `read` throws what is wrong with them. */
interface Source {
  read(): Settings;
  readonly files: readonly string[];
}

const LINES = describeSettings();

export class Reloader {
  #settings: Settings;
  #certificates: Certificates;
  readonly #log: Log;
  readonly #source: Source;
  readonly #apply: Apply;
  readonly #watch: FileWatch;

  /** Reads the certificates. @throws CertificateError */
  constructor(settings: Settings, source: Source, log: Log, apply: Apply) {
    this.#settings = settings;
    this.#source = source;
    this.#log = log;
    this.#apply = apply;
    this.#certificates = readCertificates(settings);
    for (const words of this.#certificates.outOfTime) log.warn({ code: "certificate_out_of_time" }, words);
    this.#watch = new FileWatch(() => this.reload("a file has changed"));
  }

  /** From now on a file that changes is read again. */
  watch(): void {
    this.#watch.set(this.#files());
  }

  get certificates(): Certificates {
    return this.#certificates;
  }

  reload(why: string): void {
    let next: Settings;
    let certificates: Certificates;
    try {
      next = this.#source.read();
      certificates = readCertificates(this.#reloaded(next));
      const [bad = turnedOnOrOff(this.#certificates, certificates)] = certificates.outOfTime;
      if (bad !== "") throw new CertificateError(bad);
    } catch (error) {
      this.#log.error({ code: "reload_failed", why }, `nothing was reloaded, and what was set before stays: ${(error as Error).message}`);
      return;
    }
    const changed = LINES.filter(({ name }) => next[name] !== this.#settings[name]);
    for (const { name, reloads } of changed) if (!reloads) this.#log.warn({ code: "restart_needed", setting: name }, `${name} has changed; it takes a restart of the node to use it`);
    this.#settings = this.#reloaded(next);
    this.#certificates = certificates;
    this.#watch.set(this.#files());
    this.#apply(this.#settings, certificates);
    this.#log.info({ code: "reloaded", why, settings: changed.filter(({ reloads }) => reloads).map(({ name }) => name) }, "reloaded");
  }

  close(): void {
    this.#watch.close();
  }

  /** What may change is of the new, the rest stays. */
  #reloaded(next: Settings): Settings {
    return { ...this.#settings, ...Object.fromEntries(LINES.filter(({ reloads }) => reloads).map(({ name }) => [name, next[name]])) };
  }

  #files(): readonly string[] {
    return [...certificateFiles(this.#settings), ...this.#source.files];
  }
}

/** A port keeps or lacks TLS as it was started; "" where it does. */
function turnedOnOrOff(before: Certificates, after: Certificates): string {
  const isSame = (before.http === undefined) === (after.http === undefined) && (before.device === undefined) === (after.device === undefined);
  return isSame ? "" : "TLS is turned on or off by a restart of the node.";
}

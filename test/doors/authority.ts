// A certificate authority of the test's own, by the openssl command: issues certificates and revokes them.

import { execFileSync } from "node:child_process";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";

export interface Issued {
  /** Paths of PEM files. */
  readonly cert: string;
  readonly key: string;
}

export class Authority {
  /** Path of its certificate, PEM. */
  readonly ca: string;
  readonly #folder: string;
  readonly #config: string;
  #issued = 0;

  constructor(folder: string, name: string) {
    this.#folder = join(folder, name);
    mkdirSync(this.#folder, { recursive: true });
    this.ca = join(this.#folder, "ca.crt");
    this.#config = join(this.#folder, "ca.cnf");
    writeFileSync(join(this.#folder, "index.txt"), "");
    writeFileSync(join(this.#folder, "crlnumber"), "01\n");
    writeFileSync(
      this.#config,
      `[ca]\ndefault_ca = own\n[own]\ndatabase = ${this.#folder}/index.txt\ncrlnumber = ${this.#folder}/crlnumber\ndefault_md = sha256\ndefault_crl_days = 30\n` +
        `certificate = ${this.ca}\nprivate_key = ${this.#folder}/ca.key\n`,
    );
    newKey(join(this.#folder, "ca.key"));
    openssl("req", "-x509", "-new", "-key", join(this.#folder, "ca.key"), "-subj", `/CN=${name}`, "-days", "30", "-out", this.ca);
  }

  get caText(): string {
    return readFileSync(this.ca, "utf8");
  }

  /** @param days below 0: expired. */
  issue({ cn, san, days = 30 }: { readonly cn: string; readonly san?: string; readonly days?: number }): Issued {
    this.#issued += 1;
    const at = (suffix: string): string => join(this.#folder, `${this.#issued}.${suffix}`);
    newKey(at("key"));
    openssl("req", "-new", "-key", at("key"), "-subj", `/CN=${cn}`, "-out", at("csr"));
    writeFileSync(at("ext"), san === undefined ? "basicConstraints=CA:FALSE\n" : `subjectAltName=${san}\n`);
    const serial = String(1000 + this.#issued);
    openssl("x509", "-req", "-in", at("csr"), "-CA", this.ca, "-CAkey", join(this.#folder, "ca.key"), "-set_serial", serial, "-days", String(days), "-extfile", at("ext"), "-out", at("crt"));
    return { cert: at("crt"), key: at("key") };
  }

  /** For a server on loopback. */
  issueServer(days = 30): Issued {
    return this.issue({ cn: "broker", san: "IP:127.0.0.1,DNS:localhost", days });
  }

  revoke({ cert }: Issued): void {
    openssl("ca", "-config", this.#config, "-revoke", cert);
  }

  /** Its list of revoked certificates as it is now, PEM. */
  crl(): string {
    const path = join(this.#folder, "list.crl");
    openssl("ca", "-config", this.#config, "-gencrl", "-out", path);
    return readFileSync(path, "utf8");
  }
}

function newKey(path: string): void {
  openssl("ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", path);
}

function openssl(...words: string[]): void {
  try {
    execFileSync("openssl", words, { stdio: ["ignore", "ignore", "pipe"] });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") throw new Error("These tests make certificates with openssl, which is not there: apt-get install openssl");
    throw error;
  }
}

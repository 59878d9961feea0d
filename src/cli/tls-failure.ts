// A connection that failed over TLS: a certificate that is not accepted, TLS on one side only.

import { connect } from "node:tls";

import { CliError } from "./exit.ts";

const PROBE_MS = 2_000;
const NEXT: Readonly<Record<string, string>> = {
  CERT_HAS_EXPIRED: "put a new certificate in the place of the old on the broker's machine: the broker takes it at once",
  ERR_TLS_CERT_ALTNAME_INVALID: "name the broker by an address that stands in its certificate: --at HOST:PORT",
};

/** @returns undefined where it failed for another reason */
export async function tlsFailure(at: string, { protocol, hostname, port }: URL, cause: unknown): Promise<CliError | undefined> {
  if (!(cause instanceof Error)) return undefined;
  const { code = "", message } = cause as NodeJS.ErrnoException;
  if (protocol === "https:") {
    if (/certificate/i.test(message)) return new CliError("usage", "bad_certificate", `The certificate of the broker at ${at} is not accepted.`, message, NEXT[code] ?? "name the authority that signed it: --ca FILE or BELLHOP_CA");
    if (/wrong.version.number|packet.length.too.long/i.test(`${code} ${message}`)) return new CliError("usage", "no_tls", `The port at ${at} does not speak TLS.`, "an address with https://, --ca and BELLHOP_CA mean TLS", "leave them out, or name another address with --at HOST:PORT");
    return undefined;
  }
  // A port that speaks TLS hangs up on whoever does not; so does a broker that is killed.
  const isCut = code === "UND_ERR_SOCKET" || code === "ECONNRESET";
  if (!isCut || !(await speaksTls(hostname.replace(/^\[(.*)\]$/, "$1"), Number(port || 80)))) return undefined;
  return new CliError("usage", "tls_wanted", `The port at ${at} speaks TLS, and this command does not know whom to trust.`, "", "name the authority that signed the broker's certificate: --ca FILE or BELLHOP_CA");
}

/** Whom it trusts does not matter: nothing is sent. */
function speaksTls(host: string, port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ host, port, rejectUnauthorized: false, timeout: PROBE_MS });
    const end = (speaks: boolean) => (): void => {
      socket.destroy();
      resolve(speaks);
    };
    socket.on("secureConnect", end(true)).on("error", end(false)).on("timeout", end(false)).on("close", end(false));
  });
}

// The one place where certificates, keys and revocation lists are read: checked as a whole before any of it is used.

import { createPrivateKey, X509Certificate } from "node:crypto";
import { readFileSync } from "node:fs";
import { createSecureContext, type SecureContextOptions } from "node:tls";
import type { Settings } from "../config.ts";
import { isRevoked, readRevoked } from "./revocation.ts";

/** What the ports show and whom they trust. */
export interface Certificates {
  /** undefined: plain text. */
  readonly http: SecureContextOptions | undefined;
  readonly device: SecureContextOptions | undefined;
  /** Devices may show a certificate of these authorities. */
  readonly asksDevices: boolean;
  /** What is no longer or not yet valid, in words. */
  readonly outOfTime: readonly string[];
  isRevoked(certificate: X509Certificate): boolean;
}

type FileSetting = "tlsCert" | "tlsKey" | "deviceTlsCert" | "deviceTlsKey" | "deviceCa" | "deviceCrl" | "peerCa" | "peerCert" | "peerKey";

/** Something about a file that a setting names; the message says which, and what. */
export class CertificateError extends Error {
  override readonly name = "CertificateError";
}

/** The files that settings name, to be watched. */
export function certificateFiles(settings: Settings): readonly string[] {
  const all = [settings.tlsCert, settings.tlsKey, settings.deviceTlsCert, settings.deviceTlsKey, settings.deviceCa, settings.deviceCrl];
  return all.filter((path) => path !== "");
}

/** @throws CertificateError for the first file that cannot be read, is malformed or does not fit its pair. */
export function readCertificates(settings: Settings): Certificates {
  const outOfTime: string[] = [];
  const read = (name: FileSetting): string => readSetting(settings, name);

  const pair = (cert: FileSetting, key: FileSetting): SecureContextOptions => {
    const { certificate, ...files } = readPair(settings, cert, key);
    const time = whenValid(certificate);
    if (time !== "") outOfTime.push(`${cert} (${settings[cert]}) ${time}`);
    const options: SecureContextOptions = { ...files, minVersion: "TLSv1.2" };
    about(settings, cert, () => createSecureContext(options));
    return options;
  };

  const shared = settings.tlsCert === "" ? undefined : pair("tlsCert", "tlsKey");
  let device = settings.deviceTlsCert === "" ? shared : pair("deviceTlsCert", "deviceTlsKey");
  const asksDevices = device !== undefined && settings.deviceCa !== "";
  if (asksDevices) {
    const ca = read("deviceCa");
    about(settings, "deviceCa", () => new X509Certificate(ca));
    about(settings, "deviceCa", () => createSecureContext({ ca }));
    device = { ...device, ca };
  }
  let revoked: ReadonlySet<string> = new Set();
  if (asksDevices && settings.deviceCrl !== "") {
    const crl = read("deviceCrl");
    revoked = about(settings, "deviceCrl", () => readRevoked(crl));
    about(settings, "deviceCrl", () => createSecureContext({ crl }));
    device = { ...device, crl };
  }
  return { http: shared, device, asksDevices, outOfTime, isRevoked: (certificate) => isRevoked(certificate, revoked) };
}

/** What this node shows the others, and whom it lets in (F1). PEM. */
export interface PeerCertificates {
  readonly ca: string;
  readonly cert: string;
  readonly key: string;
}

/**
 * undefined: links are plain text.
 * @throws CertificateError for a file that cannot be read, is malformed or does not fit its pair; and for a certificate that no other node would take: it is out of its time, or another node's.
 */
export function readPeerCertificates(settings: Settings): PeerCertificates | undefined {
  if (settings.peerCert === "") return undefined;
  const { certificate, cert, key } = readPair(settings, "peerCert", "peerKey");
  const ca = readSetting(settings, "peerCa");
  about(settings, "peerCa", () => new X509Certificate(ca));
  about(settings, "peerCert", () => createSecureContext({ ca, cert, key }));
  const time = whenValid(certificate);
  if (time !== "") throw new CertificateError(`peerCert (${settings.peerCert}) ${time}`);
  const { CN: name } = certificate.toLegacyObject().subject;
  if (name !== settings.node) throw new CertificateError(`peerCert (${settings.peerCert}) is for ${name === undefined ? "nobody" : JSON.stringify(name)}, and this is node ${settings.node}.`);
  return { ca, cert, key };
}

function readPair(settings: Settings, cert: FileSetting, key: FileSetting): { readonly certificate: X509Certificate; readonly cert: string; readonly key: string } {
  const chain = readSetting(settings, cert);
  const certificate = about(settings, cert, () => new X509Certificate(chain));
  const secret = readSetting(settings, key);
  const fits = about(settings, key, () => certificate.checkPrivateKey(createPrivateKey(secret)));
  if (!fits) throw new CertificateError(`${key} (${settings[key]}) is not the key of ${cert} (${settings[cert]}).`);
  return { certificate, cert: chain, key: secret };
}

function readSetting(settings: Settings, name: FileSetting): string {
  return about(settings, name, () => readFileSync(settings[name], "utf8"));
}

/** Does it, and names the setting and its file where it fails. Never what the file holds: it may be a key. */
function about<Answer>(settings: Settings, name: FileSetting, run: () => Answer): Answer {
  try {
    return run();
  } catch (error) {
    throw new CertificateError(`${name} (${settings[name]}) cannot be used: ${(error as Error).message}`);
  }
}

/** "" for now. */
function whenValid(certificate: X509Certificate): string {
  if (Date.parse(certificate.validTo) < Date.now()) return `was valid until ${certificate.validTo}.`;
  return Date.parse(certificate.validFrom) > Date.now() ? `is valid from ${certificate.validFrom} only.` : "";
}

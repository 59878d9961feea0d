// Which certificates are revoked: lists of revocation (RFC 5280, section 5) by issuer and serial number. OpenSSL checks a list's signature and time in a
// handshake; connections that live, and handshakes that resume an older one, are looked up here.

import type { X509Certificate } from "node:crypto";
import { type Element, elements, INTEGER, SEQUENCE } from "./der.ts";

/** `issuer serial`, both in hex. */
type Revoked = ReadonlySet<string>;

const PEM_CRL = /-----BEGIN X509 CRL-----([\s\S]*?)-----END X509 CRL-----/g;

/** @throws Error where it holds no list, or one that is malformed. */
export function readRevoked(pem: string): Revoked {
  const revoked = new Set<string>();
  let lists = 0;
  for (const [, base64 = ""] of pem.matchAll(PEM_CRL)) {
    lists += 1;
    const tbs = inside(inside(elements(Buffer.from(base64, "base64"))[0])[0]);
    // version (an INTEGER, optional), signature, issuer, thisUpdate, nextUpdate (optional), revokedCertificates (optional), extensions (tagged)
    const [, issuer, ...rest] = tbs[0]?.tag === INTEGER ? tbs.slice(1) : tbs;
    if (issuer === undefined) throw new Error("A revocation list without an issuer.");
    for (const entry of inside(rest.find(({ tag }) => tag === SEQUENCE) ?? { tag: SEQUENCE, whole: new Uint8Array(), content: new Uint8Array() })) {
      const [serial] = inside(entry);
      if (serial?.tag !== INTEGER) throw new Error("A revocation list with an entry that has no serial number.");
      revoked.add(nameOf(issuer, serial));
    }
  }
  if (lists === 0) throw new Error("It holds no X509 CRL in PEM.");
  return revoked;
}

export function isRevoked(certificate: X509Certificate, revoked: Revoked): boolean {
  const tbs = inside(inside(elements(certificate.raw)[0])[0]);
  // version ([0], absent in version 1), serialNumber, signature, issuer
  const [serial, , issuer] = tbs[0]?.tag === INTEGER ? tbs : tbs.slice(1);
  return serial === undefined || issuer === undefined || revoked.has(nameOf(issuer, serial));
}

function nameOf(issuer: Element, serial: Element): string {
  return `${Buffer.from(issuer.whole).toString("hex")} ${Buffer.from(serial.content).toString("hex")}`;
}

function inside(element: Element | undefined): Element[] {
  if (element === undefined || element.tag !== SEQUENCE) throw new Error("DER without the sequence that should be there.");
  return elements(element.content);
}

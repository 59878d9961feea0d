// Who a device is by its client certificate, and what is shown of its token (F2).

import type { Socket } from "node:net";
import { TLSSocket } from "node:tls";
import { createHash, type X509Certificate } from "node:crypto";
import { BellhopError } from "../base/errors.ts";

const URN = "urn:bellhop:device:";

/** The certificate that the other side has shown, if any. */
export function certificateOf(socket: Socket): X509Certificate | undefined {
  return socket instanceof TLSSocket ? socket.getPeerX509Certificate() : undefined;
}

/**
 * True: a certificate says that this is the device. False: none was shown.
 * @throws BellhopError `unauthenticated` for one that is not to be trusted, `forbidden` for one of another device.
 */
export function isCertified(socket: Socket, device: string, isRevoked: (certificate: X509Certificate) => boolean): boolean {
  const certificate = certificateOf(socket);
  if (certificate === undefined) return false;
  const { authorized, authorizationError } = socket as TLSSocket;
  if (!authorized) throw new BellhopError("unauthenticated", `The client certificate is not trusted: ${String(authorizationError)}.`);
  if (isRevoked(certificate)) throw new BellhopError("unauthenticated", "The client certificate is revoked.");
  if (!idsOf(certificate).includes(device)) throw new BellhopError("forbidden", "The client certificate is of another device.");
  return true;
}

/**
 * SHA-256 of the device's token, for the leader to compare: the token itself goes no further (F2).
 * @throws BellhopError `unauthenticated` where there is none
 */
export function digestOf(token: string): Uint8Array {
  if (token === "") throw new BellhopError("unauthenticated", "This broker asks devices for a token or a certificate.");
  return createHash("sha256").update(token).digest();
}

/** The subject's CN, and every `urn:bellhop:device:ID` among the subject's alternative names, percent-decoded. */
export function idsOf(certificate: X509Certificate): readonly string[] {
  const { subject } = certificate.toLegacyObject();
  const ids: string[] = [subject.CN ?? []].flat();
  for (const name of (certificate.subjectAltName ?? "").split(", ")) {
    if (!name.startsWith(`URI:${URN}`)) continue; // one with a character that could be mistaken stands in quotation marks, and is no id
    try {
      ids.push(decodeURIComponent(name.slice(4 + URN.length)));
    } catch {
      // Not percent-encoding: no id.
    }
  }
  return ids;
}

// TLS on both ports of a real broker: who is let in, by which certificate, and what a reload changes.

import { once } from "node:events";
import { copyFileSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { request } from "node:https";
import { connect as dialPlain } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { connect as dial, type ConnectionOptions, type TLSSocket } from "node:tls";
import { afterAll, beforeAll, expect, test } from "vitest";
import { connect, type Device } from "../../clients/device/src/index.ts";
import { hostAndPort } from "../../src/base/address.ts";
import { type Broker, startBroker } from "../../src/broker.ts";
import { type Settings, settingsWith } from "../../src/config.ts";
import { Authority, type Issued } from "./authority.ts";

let folder: string;
let own: Authority;
let strangers: Authority;
let shown: Issued;
let settings: Settings;
let broker: Broker;

const path = (name: string): string => join(folder, name);

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "bellhop-tls-"));
  own = new Authority(folder, "own");
  strangers = new Authority(folder, "strangers");
  shown = own.issueServer();
  put(shown);
  writeFileSync(path("devices.crl"), own.crl());
  settings = settingsWith({
    data: path("data"), http: "127.0.0.1:0", device: "127.0.0.1:0", bucketCount: 4, logLevel: "silent", minFreeBytes: 0, helloTimeoutSeconds: 1, handshakesAtOnce: 3,
    tlsCert: path("tls.crt"), tlsKey: path("tls.key"), deviceCa: own.ca, deviceCrl: path("devices.crl"),
  });
  broker = await startBroker(settings);
});
afterAll(async () => {
  await broker.close();
  rmSync(folder, { recursive: true });
});

/** The broker's certificate and key in their places. */
function put({ cert, key }: Issued): void {
  copyFileSync(cert, path("tls.crt"));
  copyFileSync(key, path("tls.key"));
}

function deviceOf(device: string, certificate?: Issued, ca = own.caText): Device {
  const shows = certificate === undefined ? {} : { cert: readFileSync(certificate.cert), key: readFileSync(certificate.key) };
  return connect({ brokers: broker.deviceAddress, device, tls: { ca, ...shows } });
}

/** Why the broker, or the handshake, refused it. */
async function refusal(device: Device): Promise<string> {
  for (;;) {
    const [{ error }] = (await once(device, "connection")) as [{ error?: Error & { code?: string } }];
    if (error === undefined) continue;
    await device.close();
    return error.code ?? error.message;
  }
}

/** A handshake; resolves with the socket. */
async function handshake(address: string, options: ConnectionOptions = {}): Promise<TLSSocket> {
  const socket = dial({ ...hostAndPort(address), ca: own.caText, ...options });
  socket.on("error", () => undefined);
  await once(socket, "secureConnect");
  return socket;
}

/** The serial number of the certificate that the port shows now. */
async function serialOf(address: string): Promise<string> {
  const socket = await handshake(address);
  const { serialNumber } = socket.getPeerCertificate();
  socket.destroy();
  return serialNumber;
}

test("a device with the certificate of its id publishes over TLS, by its CN or by its SAN", async () => {
  for (const [id, certificate] of [
    ["lamp-1", own.issue({ cn: "lamp-1" })],
    ["Küche/2", own.issue({ cn: "any", san: `URI:urn:bellhop:device:${encodeURIComponent("Küche/2")}` })],
  ] as const) {
    const device = deviceOf(id, certificate);
    await device.publish("on");
    await device.close();
  }
});

test("a certificate of another device, of another authority, and one out of its time are refused", async () => {
  expect(await refusal(deviceOf("lamp-1", own.issue({ cn: "lamp-2" })))).toBe("forbidden");
  expect(await refusal(deviceOf("lamp-5", own.issue({ cn: "lamp-2", san: "URI:urn:bellhop:device:lamp-3" })))).toBe("forbidden");
  expect(await refusal(deviceOf("lamp-3", strangers.issue({ cn: "lamp-3" })))).toBe("unauthenticated");
  expect(await refusal(deviceOf("lamp-4", own.issue({ cn: "lamp-4", days: -1 })))).toBe("unauthenticated");
});

test("a wrong credential makes the next try wait, for this device only", async () => {
  const wrong = own.issue({ cn: "another" });
  expect(await refusal(deviceOf("locked", wrong))).toBe("forbidden");
  expect(await refusal(deviceOf("locked", own.issue({ cn: "locked" })))).toBe("too_many_requests");
  const device = deviceOf("free", own.issue({ cn: "free" }));
  await device.publish("in");
  await device.close();
});

test("a device that does not trust the broker does not speak to it", async () => {
  expect(await refusal(deviceOf("careful", undefined, strangers.caText))).toBe("untrusted");
});

test("HTTP is answered over TLS, with HTTP/1.1 told by ALPN, and not below TLS 1.2", async () => {
  const [response] = (await once(request(`https://${broker.httpAddress}/livez`, { ca: own.caText }).end(), "response")) as [{ statusCode: number; resume(): void }];
  response.resume();
  expect(response.statusCode).toBe(200);
  const socket = await handshake(broker.httpAddress, { ALPNProtocols: ["h2", "http/1.1"] });
  expect(socket.alpnProtocol).toBe("http/1.1");
  socket.destroy();
  for (const address of [broker.httpAddress, broker.deviceAddress]) {
    const old = dial({ ...hostAndPort(address), ca: own.caText, minVersion: "TLSv1", maxVersion: "TLSv1.1", ciphers: "DEFAULT:@SECLEVEL=0" });
    const [error] = (await once(old, "error")) as [Error & { code: string }];
    expect(error.code).toMatch(/PROTOCOL_VERSION|UNSUPPORTED_PROTOCOL/);
  }
});

test("silence, half a handshake and no TLS at all end with the hello time-out, and hold nobody else up for longer", async () => {
  const hangs = Array.from({ length: 5 }, (_one, i) => {
    const socket = dialPlain(hostAndPort(broker.deviceAddress));
    socket.on("error", () => undefined);
    if (i % 2 === 1) socket.write(Buffer.from("1603010200010001fc0303", "hex")); // the head of a ClientHello, and no more
    return once(socket.resume(), "close");
  });
  const device = deviceOf("patient", own.issue({ cn: "patient" })); // waits for its turn: three handshakes hang
  await device.publish("in");
  await Promise.all(hangs);
  const noTls = dialPlain(hostAndPort(broker.deviceAddress));
  noTls.on("error", () => undefined);
  noTls.write("GET / HTTP/1.1\r\n\r\n");
  await once(noTls.resume(), "close");
  await device.close();
});

test("a certificate that is replaced is shown from the next handshake on, on both ports, and no connection ends", async () => {
  const device = deviceOf("stays", own.issue({ cn: "stays" }));
  await device.publish("before");
  const changes: string[] = [];
  device.on("connection", ({ state }) => changes.push(state));
  const before = await serialOf(broker.httpAddress);
  put(own.issueServer());
  await expect.poll(() => serialOf(broker.httpAddress), { timeout: 10_000 }).not.toBe(before);
  expect(await serialOf(broker.deviceAddress)).toBe(await serialOf(broker.httpAddress));
  await device.publish("after");
  expect(changes).toEqual([]);
  await device.close();
});

test.each<[string, () => void]>([
  ["a key that is not the certificate's", () => copyFileSync(strangers.issueServer().key, path("tls.key"))],
  ["a file that is no certificate", () => writeFileSync(path("tls.crt"), "soon")],
  ["an expired certificate", () => put(own.issueServer(-1))],
  ["no file at all", () => rmSync(path("tls.crt"))],
  ["a list that is none", () => writeFileSync(path("devices.crl"), "soon")],
])("%s: the old stays", async (_what, spoil) => {
  const good = [readFileSync(path("tls.crt")), readFileSync(path("tls.key")), readFileSync(path("devices.crl"))] as const;
  const before = await serialOf(broker.deviceAddress);
  spoil();
  broker.reload("test");
  expect(await serialOf(broker.deviceAddress)).toBe(before);
  for (const [i, name] of ["tls.crt", "tls.key", "devices.crl"].entries()) writeFileSync(path(name), good[i]!);
  broker.reload("test");
  expect(await serialOf(broker.deviceAddress)).toBe(before);
});

test("a certificate that is revoked ends its connection, is not let in again, and no other is touched", async () => {
  const certificate = own.issue({ cn: "lost" });
  const device = deviceOf("lost", certificate);
  const other = deviceOf("kept", own.issue({ cn: "kept" }));
  await Promise.all([device.publish("mine"), other.publish("mine")]);
  const refused = refusal(device);
  own.revoke(certificate);
  writeFileSync(path("devices.crl"), own.crl());
  expect(await refused).toBe("unauthenticated");
  expect(await refusal(deviceOf("lost", certificate))).toMatch(/unauthenticated|too_many_requests/);
  await other.publish("still");
  expect(other.connection).toBe("connected");
  await other.close();
});

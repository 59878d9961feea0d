// webhook.verify by the published example of Standard Webhooks, and what it must refuse.

import { createHmac } from "node:crypto";
import { expect, test } from "vitest";
import { webhook } from "../../../clients/http/src/index.ts";

const SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const BODY = '{"test": 2432232314}';
const SIGNATURE = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";
const HEADERS = { "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek", "webhook-timestamp": "1614265330", "webhook-signature": SIGNATURE };
const NOW = { now: 1_614_265_330_000 };

const verify = (headers: Record<string, string>, body: string | Uint8Array = BODY, secrets: string | string[] = SECRET, options: webhook.VerifyOptions = NOW) =>
  webhook.verify({ headers, body }, secrets, options);
const refused = { code: "bad_signature", retryable: false };

test("the published example is accepted: as plain headers, as a web Request, as bytes", async () => {
  const plain = await verify({ ...HEADERS, "bellhop-cookie": "c-1" });
  expect(plain).toMatchObject({ id: "msg_p5jXN8AQM9LWM0D4loKWxJek", timestamp: 1_614_265_330, body: BODY, cookie: "c-1" });
  expect(plain.json()).toEqual({ test: 2_432_232_314 });
  const request = new Request("https://backend.example/hook", { method: "POST", headers: HEADERS, body: BODY });
  expect(await webhook.verify(request, SECRET, NOW)).toMatchObject({ id: plain.id, body: BODY, cookie: undefined });
  expect(await verify(HEADERS, new TextEncoder().encode(BODY))).toMatchObject({ body: BODY });
  expect(await verify(HEADERS, BODY, SECRET.slice("whsec_".length))).toMatchObject({ body: BODY });
});

test("several secrets and several signatures: one that fits is enough", async () => {
  const old = "whsec_" + Buffer.from("the secret of before").toString("base64");
  expect(await verify(HEADERS, BODY, [old, SECRET])).toMatchObject({ body: BODY });
  expect(await verify({ ...HEADERS, "webhook-signature": `v1,bm9wZQ== v1a,${SIGNATURE.slice(3)} ${SIGNATURE}` })).toMatchObject({ body: BODY });
  await expect(verify(HEADERS, BODY, [old])).rejects.toMatchObject(refused);
});

test.each([
  ["another body", HEADERS, `${BODY} `],
  ["another id", { ...HEADERS, "webhook-id": "msg_other" }, BODY],
  ["no signature", { ...HEADERS, "webhook-signature": "" }, BODY],
  ["a signature of another version only", { ...HEADERS, "webhook-signature": SIGNATURE.replace("v1,", "v2,") }, BODY],
  ["a signature that is no base64", { ...HEADERS, "webhook-signature": "v1,§§" }, BODY],
  ["no id", { "webhook-timestamp": "1614265330", "webhook-signature": SIGNATURE }, BODY],
  ["a time that is none", { ...HEADERS, "webhook-timestamp": "1614265330.0" }, BODY],
])("%s is refused", async (_what, headers, body) => {
  await expect(verify(headers, body)).rejects.toMatchObject(refused);
});

test("a true signature of another time is refused: five minutes either way, or as wide as the caller says", async () => {
  const at = (seconds: number): webhook.VerifyOptions => ({ now: (1_614_265_330 + seconds) * 1000 });
  await expect(verify(HEADERS, BODY, SECRET, at(301))).rejects.toMatchObject(refused);
  await expect(verify(HEADERS, BODY, SECRET, at(-301))).rejects.toMatchObject(refused);
  expect(await verify(HEADERS, BODY, SECRET, at(299))).toMatchObject({ body: BODY });
  expect(await verify(HEADERS, BODY, SECRET, { ...at(3600), toleranceSeconds: 3601 })).toMatchObject({ body: BODY });
});

test("a body that is no UTF-8 is verified as its bytes", async () => {
  const body = Uint8Array.of(0xff, 0xfe, 0x00, 0x80);
  const key = Buffer.from(SECRET.slice("whsec_".length), "base64");
  const signature = createHmac("sha256", key).update("msg_1.1614265330.").update(body).digest("base64");
  const headers = { "webhook-id": "msg_1", "webhook-timestamp": "1614265330", "webhook-signature": `v1,${signature}` };
  expect(await verify(headers, body)).toMatchObject({ id: "msg_1" });
  await expect(verify(headers, Uint8Array.of(0xff, 0xfe, 0x00, 0x81))).rejects.toMatchObject(refused);
});

test("a secret that is none is the program's mistake", async () => {
  await expect(verify(HEADERS, BODY, "§")).rejects.toBeInstanceOf(TypeError);
  await expect(verify(HEADERS, BODY, "whsec_")).rejects.toBeInstanceOf(TypeError);
});

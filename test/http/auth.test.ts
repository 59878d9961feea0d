// Keys over HTTP: roles, 401 and 403 apart, keys of some devices, keys that expire or are revoked, the first one of a directory (F2–F4).

import { mkdtempSync, readFileSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { isSecret } from "../../src/base/secret.ts";
import { runBroker, type Call, type Reply, type RunningBroker } from "./broker.ts";

const ADMIN = "an-administrators-key-of-this-test";

let broker: RunningBroker;
beforeAll(async () => {
  broker = await runBroker({ auth: "required", adminKey: ADMIN });
});
afterAll(() => broker.stop());

const bearer = (key: string): Record<string, string> => ({ authorization: `Bearer ${key}` });

function as(key: string, method: string, path: string, call: Call = {}): Promise<Reply> {
  return broker.call(method, path, { ...call, headers: { ...call.headers, ...bearer(key) } });
}

async function makeKey(name: string, role: string, more: object = {}): Promise<string> {
  const reply = await as(ADMIN, "POST", "/v1/keys", { body: JSON.stringify({ name, role, ...more }) });
  expect(reply.status).toBe(201);
  return (reply.json as { key: string }).key;
}

describe("without a key that is known", () => {
  test.each([undefined, "Bearer", "Bearer bhk_wrong", `Basic ${btoa(`x:${ADMIN}`)}`, `Bearer ${ADMIN} ${ADMIN}`, `Bearer ${ADMIN}x`, `Bearer ${ADMIN.slice(1)}`, ADMIN])("401: %s", async (authorization) => {
    for (const path of ["/v1/devices", "/v1/status", "/metrics", "/v1/keys", "/nothing", "/v1/nothing"]) {
      const reply = await broker.call("GET", path, authorization === undefined ? {} : { headers: { authorization } });
      expect([path, reply.status, reply.json.code]).toEqual([path, 401, "unauthenticated"]);
      expect(reply.headers["www-authenticate"]).toMatch(/^Bearer realm="bellhop"/);
      expect(reply.text).not.toContain(ADMIN);
    }
  });

  test("only the process itself and what is the same everywhere are told", async () => {
    for (const path of ["/livez", "/readyz", "/readyz?verbose", "/openapi.json", "/docs/", "/errors/gap"]) expect([path, (await broker.call("GET", path)).status]).toEqual([path, 200]);
  });

  test("nothing is done", async () => {
    expect((await broker.call("POST", "/v1/devices/quiet/messages", { body: "x" })).status).toBe(401);
    expect((await broker.call("POST", "/v1/devices/quiet/credentials")).status).toBe(401);
    expect((await as(ADMIN, "GET", "/v1/devices/quiet")).status).toBe(404);
  });
});

test("a key is made once, told once, and listed without its secret", async () => {
  const key = await makeKey("once", "read");
  expect(isSecret("bhk", key)).toBe(true);
  expect((await as(ADMIN, "POST", "/v1/keys", { body: `{"name":"once","role":"admin"}` })).json.code).toBe("exists");
  const list = await as(ADMIN, "GET", "/v1/keys");
  expect(list.json.keys.find(({ name }: { name: string }) => name === "once")).toMatchObject({ role: "read", devices: "", expires: null });
  for (const secret of [key, key.slice(4, 40)]) expect(list.text).not.toContain(secret);
  expect((await as(ADMIN, "DELETE", "/v1/keys/nobody")).status).toBe(404);
});

test.each([
  ["{}", "name"], [`{"name":"UPPER","role":"read"}`, "name"], [`{"name":"x","role":"root"}`, "role"], [`{"name":"x","role":"read","rol":1}`, "Did you mean role"],
  [`{"name":"x","role":"read","expires":"2001-01-01T00:00:00Z"}`, "expires"], ["[]", "JSON object"], ["{", "JSON object"],
])("a malformed key is refused: %s", async (body, why) => {
  const reply = await as(ADMIN, "POST", "/v1/keys", { body });
  expect([reply.status, reply.json.code]).toEqual([400, "bad_request"]);
  expect(reply.json.detail).toContain(why);
});

describe("roles", () => {
  test("read reads, publish also publishes, admin does everything", async () => {
    const [read, publish] = [await makeKey("r", "read"), await makeKey("p", "publish")];
    const calls: [string, string, string | undefined, "read" | "publish" | "admin"][] = [
      ["GET", "/v1/devices", undefined, "read"], ["GET", "/metrics", undefined, "read"], ["GET", "/v1/status", undefined, "read"],
      ["POST", "/v1/devices/roles/messages", "x", "publish"], ["PUT", "/v1/devices/roles/state", "{}", "publish"], ["PATCH", "/v1/devices/roles/state", "{}", "publish"],
      ["POST", "/v1/devices/roles/credentials", `{"name":"c"}`, "admin"], ["GET", "/v1/devices/roles/credentials", undefined, "admin"],
      ["DELETE", "/v1/devices/roles/credentials/c", undefined, "admin"], ["GET", "/v1/keys", undefined, "admin"], ["POST", "/v1/keys", `{"name":"made-by-admin","role":"read"}`, "admin"],
      ["DELETE", "/v1/keys/made-by-admin", undefined, "admin"],
    ];
    const ranks = { read: 0, publish: 1, admin: 2 };
    for (const [method, path, body, role] of calls) {
      for (const [held, key] of [["read", read], ["publish", publish], ["admin", ADMIN]] as const) {
        const reply = await as(key, method, path, body === undefined ? {} : { body });
        const isAllowed = ranks[held] >= ranks[role];
        if (isAllowed) expect([held, method, path, reply.status < 300]).toEqual([held, method, path, true]);
        else {
          expect([held, method, path, reply.status, reply.json.code]).toEqual([held, method, path, 403, "forbidden"]);
          expect(reply.headers["www-authenticate"]).toContain(`scope="${role}"`);
        }
      }
    }
  });

  test("every call of the API says its role, and none is for anyone by accident", async () => {
    const { json } = await broker.call("GET", "/openapi.json");
    const paths = Object.entries(json.paths as Record<string, Record<string, unknown>>).flatMap(([path, methods]) => Object.keys(methods).map((method) => ({ method, path })));
    expect(paths.length).toBeGreaterThan(15);
    const admin = await makeKey("prober", "admin");
    for (const { method, path } of paths) {
      const url = path.replaceAll(/\{\w+\}/g, "gap");
      const { status } = await broker.call(method.toUpperCase(), url);
      const isForAnyone = path === "/livez" || path === "/readyz" || path.startsWith("/errors/");
      expect([method, path, status === 401]).toEqual([method, path, !isForAnyone]);
      if (method === "get" && path.startsWith("/v1/") && !path.includes("feed")) expect([path, [401, 403].includes((await as(admin, "GET", url)).status)]).toEqual([path, false]);
    }
  });
});

test("a key for some devices reaches no other, by whatever spelling, and no call that names none", async () => {
  const key = await makeKey("lamps", "admin", { devices: "lamp-" });
  expect((await as(key, "POST", "/v1/devices/lamp-1/messages", { body: "x" })).status).toBe(201);
  for (const path of ["lamp1", "lamp", "LAMP-1", "door-1", "x%2Flamp-1", "door-1%2F..%2Flamp-1", "%6Cam", "\u00a0lamp-1".replace("\u00a0", "%C2%A0"), "l%C3%A4mp-1", "lamp%E2%80%901"]) {
    expect([path, (await as(key, "POST", `/v1/devices/${path}/messages`, { body: "x" })).json.code]).toEqual([path, "forbidden"]);
  }
  for (const path of ["/v1/devices", "/v1/status", "/metrics", "/v1/keys", "/v1/devices?after=lamp-1"]) expect([path, (await as(key, "GET", path)).status]).toEqual([path, 403]);
  expect((await as(key, "POST", "/v1/devices/lamp-1/../door-1/messages", { body: "x" })).status).toBeGreaterThanOrEqual(400);
  expect((await as(key, "POST", "/v1/devices/lamp-1%2F..%2Fdoor-1/messages", { body: "x" })).json.device).toBe("lamp-1/../door-1");
  expect((await as(ADMIN, "GET", "/v1/devices/door-1")).status).toBe(404);
});

describe("revocation and expiry", () => {
  test("a revoked key is refused at once, ends what is followed by it, and nothing else", async () => {
    const [key, other] = [await makeKey("gone", "read"), await makeKey("stays", "read")];
    const path = "/v1/devices/followed/stream";
    await as(ADMIN, "POST", "/v1/devices/followed/messages", { body: "one" });
    const events = await broker.follow(path, bearer(key));
    const kept = await broker.follow(path, bearer(other));
    expect((await events.next())?.id).toBe("1");
    expect((await kept.next())?.id).toBe("1");
    const poll = as(key, "GET", `${path}?after=1&wait=20s`);
    await expect.poll(async () => (await as(ADMIN, "GET", "/v1/status")).json.followers).toBe(3);
    expect((await as(ADMIN, "DELETE", "/v1/keys/gone")).status).toBe(204);
    const last = await events.next();
    expect([last?.event, JSON.parse(last!.data).code]).toEqual(["error", "unauthenticated"]);
    expect(await events.next()).toBeUndefined();
    expect((await poll).status).toBe(401);
    expect((await as(key, "GET", path)).status).toBe(401);
    await as(ADMIN, "POST", "/v1/devices/followed/messages", { body: "two" });
    expect((await kept.next())?.id).toBe("2");
    kept.close();
  });

  test("two keys are valid at once, to rotate", async () => {
    const [before, after] = [await makeKey("app-1", "read"), await makeKey("app-2", "read")];
    for (const key of [before, after]) expect((await as(key, "GET", "/v1/devices")).status).toBe(200);
    await as(ADMIN, "DELETE", "/v1/keys/app-1");
    expect([(await as(before, "GET", "/v1/devices")).status, (await as(after, "GET", "/v1/devices")).status]).toEqual([401, 200]);
  });

  test("a key that expires ends what is followed by it", async () => {
    const key = await makeKey("short", "read", { expires: new Date(Date.now() + 1500).toISOString() });
    const events = await broker.follow("/v1/devices/followed/stream?after=end", bearer(key));
    expect(JSON.parse((await events.next())!.data).code).toBe("unauthenticated");
    expect((await as(key, "GET", "/v1/devices")).status).toBe(401);
  });
});

describe("pages of other sites", () => {
  test("are refused by their Origin, whatever name the broker is called by", async () => {
    expect((await as(ADMIN, "GET", "/v1/devices", { headers: { host: "broker.example" } })).status).toBe(200);
    expect((await as(ADMIN, "GET", "/v1/devices", { headers: { host: "broker.example", origin: "http://evil.example" } })).json.code).toBe("forbidden");
  });
});

describe("the first key", () => {
  test("is left in a file for this user only, works, is made once, and not where a secret is given", async () => {
    const data = mkdtempSync(join(tmpdir(), "bellhop-auth-"));
    const file = join(data, "admin.key");
    let own = await runBroker({ auth: "required", data });
    const key = readFileSync(file, "utf8").trim();
    expect(statSync(file).mode & 0o777).toBe(0o600);
    expect((await own.call("GET", "/v1/keys", { headers: bearer(key) })).json.keys).toMatchObject([{ name: "admin", role: "admin" }]);
    await own.stop();
    rmSync(file);
    own = await runBroker({ auth: "required", data });
    expect(() => statSync(file)).toThrow("ENOENT");
    expect((await own.call("GET", "/v1/keys", { headers: bearer(key) })).status).toBe(200);
    await own.stop();
    rmSync(data, { recursive: true });
    const fresh = await runBroker({ auth: "required", data, adminKey: ADMIN });
    expect(() => statSync(file)).toThrow("ENOENT");
    await fresh.stop();
    rmSync(data, { recursive: true });
  });

  test("off: nobody is asked for one", async () => {
    const off = await runBroker();
    expect((await off.call("GET", "/v1/keys")).json).toEqual({ keys: [] });
    expect((await off.call("GET", "/v1/devices", { headers: { authorization: "Bearer whatever" } })).status).toBe(200);
    await off.stop();
  });
});

describe("a device's credentials", () => {
  test("are shown once, listed by name, at most four, revoked", async () => {
    const path = "/v1/devices/sensor-1/credentials";
    const made = await as(ADMIN, "POST", path, { body: `{"name":"factory"}` });
    expect([made.status, made.headers["cache-control"], made.json.device, made.json.name, isSecret("bhd", made.json.token)]).toEqual([201, "no-store", "sensor-1", "factory", true]);
    expect((await as(ADMIN, "POST", path, { body: `{"name":"factory"}` })).json.code).toBe("exists");
    expect((await as(ADMIN, "POST", path)).json).toMatchObject({ name: "default" });
    for (const name of ["a", "b"]) await as(ADMIN, "POST", path, { body: JSON.stringify({ name }) });
    expect((await as(ADMIN, "POST", path, { body: `{"name":"c"}` })).json.code).toBe("limit_reached");
    const list = await as(ADMIN, "GET", path);
    expect(list.json.credentials.map(({ name }: { name: string }) => name)).toEqual(["factory", "default", "a", "b"]);
    expect(list.text).not.toContain(made.json.token.slice(4, 20));
    expect((await as(ADMIN, "DELETE", `${path}/factory`)).status).toBe(204);
    expect((await as(ADMIN, "DELETE", `${path}/factory`)).json.code).toBe("not_found");
    expect((await as(ADMIN, "GET", "/v1/devices/nobody/credentials")).json.code).toBe("unknown_device");
    expect((await as(ADMIN, "POST", path, { body: `{"name":"../x"}` })).status).toBe(400);
  });
});

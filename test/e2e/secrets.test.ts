// A run with known secrets: nothing that the broker prints, answers or shows of itself holds one of them, nor its digest; and what is on disk holds no secret that it need not.

import { createHash } from "node:crypto";
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { connect } from "../../clients/device/src/index.ts";
import { bellhop, collect, start } from "../cli/command.ts";
import { call, type Reply } from "../http/broker.ts";

const ADMIN = "known-administrators-secret-0123456789";
const WRONG = "known-wrong-secret-of-this-test-0123456789";

test("no secret in logs, errors, explanations, status, metrics, settings or the process's title; on disk there are digests", { timeout: 60_000 }, async () => {
  const data = mkdtempSync(join(tmpdir(), "bellhop-secrets-"));
  const env = { BELLHOP_ADMIN_KEY: ADMIN, BELLHOP_DATA: data, BELLHOP_AUTH: "required", BELLHOP_LOG_LEVEL: "trace" };
  const child = start(["start", "--http", "127.0.0.1:0", "--device", "127.0.0.1:0"], { env });
  const output = collect(child);
  const ended = new Promise((resolve) => child.once("close", resolve));
  try {
    await expect.poll(() => output.stderr(), { timeout: 30_000 }).toContain("is ready");
    const ready = output.stdout().split("\n").find((line) => line.includes(`"code":"ready"`))!;
    const { http, device } = JSON.parse(ready) as { http: string; device: string };
    const replies: Reply[] = [];
    const ask = async (key: string, method: string, path: string, body?: string): Promise<Reply> => {
      const reply = await call(http, method, path, { headers: { authorization: `Bearer ${key}`, cookie: `session=${WRONG}`, "x-secret": WRONG }, ...(body === undefined ? {} : { body }) });
      replies.push(reply);
      return reply;
    };

    const { key } = (await ask(ADMIN, "POST", "/v1/keys", `{"name":"known","role":"publish"}`)).json as { key: string };
    const { token } = (await ask(ADMIN, "POST", "/v1/devices/lamp/credentials", `{"name":"known"}`)).json as { token: string };
    expect(replies.splice(0).map(({ status }) => status)).toEqual([201, 201]); // those two show them: that is what they are for

    const lamp = connect({ brokers: device, device: "lamp", token });
    await lamp.publish("on");
    const impostor = connect({ brokers: device, device: "door", token: WRONG });
    await expect(impostor.publish("on")).rejects.toMatchObject({ code: "unauthenticated" });
    for (const one of [ADMIN, key, WRONG, token]) {
      for (const path of ["/v1/keys", "/v1/devices/lamp/credentials", "/v1/devices/lamp", "/v1/devices/lamp/explain", "/v1/devices/lamp/stream", "/v1/status", "/metrics", "/openapi.json", "/v1/nothing", "/v1/devices?limit=x"]) {
        await ask(one, "GET", path);
      }
      await ask(one, "POST", "/v1/keys", `{"name":"X","role":"${WRONG}"}`);
      await ask(one, "POST", "/v1/devices/lamp/messages", "x");
    }
    const shown = await bellhop(["config", "show", "--effective"], { env });
    const title = readFileSync(`/proc/${child.pid}/cmdline`, "utf8");
    await lamp.close();
    await impostor.close();
    await ask(ADMIN, "DELETE", "/v1/devices/lamp/credentials/known");
    await ask(ADMIN, "DELETE", "/v1/keys/known");
    child.kill("SIGTERM");
    await ended;

    expect(shown.stdout).toContain("[secret]");
    expect(output.stdout()).toContain(`"code":"unauthenticated"`);
    const everything = [output.stdout(), output.stderr(), shown.stdout, shown.stderr, title, ...replies.map(({ text, headers }) => text + JSON.stringify(headers))].join("\n");
    for (const secret of [ADMIN, key, token, WRONG]) {
      const digest = createHash("sha256").update(secret).digest();
      for (const form of [secret, secret.slice(5, 30), Buffer.from(secret).toString("base64").slice(2, 30), digest.toString("hex"), digest.toString("base64"), digest.toString("latin1")]) {
        expect(everything.includes(form), `what is shown holds ${secret} as ${form}`).toBe(false);
      }
    }

    const onDisk = readdirSync(data, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile()).map((entry) => readFileSync(join(entry.parentPath, entry.name), "latin1")).join("");
    for (const secret of [ADMIN, key, token, WRONG]) expect(onDisk.includes(secret)).toBe(false);
    expect(onDisk).toContain(createHash("sha256").update(token).digest().toString("latin1")); // or this test would not have looked at the right files
    expect(onDisk).toContain(createHash("sha256").update(key).digest("hex"));
  } finally {
    child.kill("SIGKILL");
    rmSync(data, { recursive: true, force: true });
  }
});

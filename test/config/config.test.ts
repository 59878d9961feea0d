// Settings: where they come from, what is refused and how it is said, and that the documentation is made from the table.

import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { hostAndPort } from "../../src/base/address.ts";
import { ConfigError, defaults, describeEffective, describeSettings, loadSettings, SETTING_NAMES, settingsMarkdown, settingsWith, type Settings } from "../../src/config.ts";

let directory: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "bellhop-config-"));
});
afterEach(() => rmSync(directory, { recursive: true }));

function problemsOf(input: Parameters<typeof loadSettings>[0]): readonly string[] {
  try {
    loadSettings({ directory, ...input });
  } catch (error) {
    if (error instanceof ConfigError) return error.problems;
    throw error;
  }
  return [];
}

describe("sources", () => {
  test("flags win over the environment, the environment over the file, the file over the default", () => {
    writeFileSync(join(directory, "bellhop.json"), JSON.stringify({ window: 1, bucketCount: 2, sessionsPerDevice: 3 }));
    const { settings, sources } = loadSettings({ directory, env: { BELLHOP_BUCKET_COUNT: "4", BELLHOP_SESSIONS_PER_DEVICE: "5" }, flags: { sessionsPerDevice: "6" } });
    expect([settings.window, settings.bucketCount, settings.sessionsPerDevice, settings.keepAliveSeconds]).toEqual([1, 4, 6, defaults().keepAliveSeconds]);
    expect([sources.window, sources.bucketCount, sources.sessionsPerDevice, sources.keepAliveSeconds]).toEqual(["file", "environment", "flag", "default"]);
  });

  test("a named file is read instead of bellhop.json, and must be there", () => {
    writeFileSync(join(directory, "bellhop.json"), JSON.stringify({ window: 1 }));
    const other = join(directory, "other.json");
    writeFileSync(other, JSON.stringify({ window: 2 }));
    expect(loadSettings({ directory, configFile: other }).settings.window).toBe(2);
    expect(loadSettings({ directory, env: { BELLHOP_CONFIG: other } }).settings.window).toBe(2);
    expect(problemsOf({ configFile: join(directory, "none.json") })).toEqual([expect.stringContaining("none.json cannot be read")]);
  });

  test("a value may be kept in a file of its own, named by *_FILE", () => {
    writeFileSync(join(directory, "node"), "n7\n");
    expect(loadSettings({ directory, env: { BELLHOP_NODE_FILE: join(directory, "node") } }).settings.node).toBe("n7");
    expect(problemsOf({ env: { BELLHOP_NODE_FILE: join(directory, "node"), BELLHOP_NODE: "n8" } })).toEqual(["BELLHOP_NODE_FILE and BELLHOP_NODE are both set; leave one out."]);
    expect(problemsOf({ env: { BELLHOP_NODE_FILE: join(directory, "none") } })).toEqual([expect.stringContaining("BELLHOP_NODE_FILE: ENOENT")]);
  });

  test("sizes and times may be written with their unit", () => {
    const { settings } = loadSettings({ directory, flags: { segmentBytes: "128MiB", retainSeconds: "2d", maxPayloadBytes: "1000" } });
    expect([settings.segmentBytes, settings.retainSeconds, settings.maxPayloadBytes]).toEqual([128 * 1024 * 1024, 172_800, 1000]);
  });

  test("other variables of the environment are left alone", () => {
    expect(problemsOf({ env: { PATH: "/bin", HOME: "/" } })).toEqual([]);
  });
});

describe("refused", () => {
  test("unknown names, with the nearest known one in the spelling of the place", () => {
    writeFileSync(join(directory, "bellhop.json"), JSON.stringify({ windw: 1 }));
    expect(problemsOf({ env: { BELLHOP_BUKET_COUNT: "4" }, flags: { maxPayloadByte: "5" } })).toEqual([
      `bellhop.json: "windw" is not a setting. Did you mean "window"?`,
      "BELLHOP_BUKET_COUNT is not a setting. Did you mean BELLHOP_BUCKET_COUNT?",
      "--max-payload-byte is not a setting. Did you mean --max-payload-bytes?",
    ]);
  });

  test("unknown names that are near none", () => {
    const problems = problemsOf({ flags: { colour: "red", constructor: "x" } });
    expect(problems.map((problem) => problem.split(".")[0])).toEqual(["--colour is not a setting", "--constructor is not a setting"]);
    expect(problems.join()).not.toContain("Did you mean");
  });

  test.each<[keyof Settings, string]>([
    ["window", "0"],
    ["window", "65536"],
    ["window", "1.5"],
    ["window", "-1"],
    ["window", "ten"],
    ["window", "10KiB"],
    ["segmentBytes", "1d"],
    ["node", "N 1"],
    ["http", "4800"],
    ["http", "127.0.0.1:70000"],
    ["logLevel", "loud"],
    ["data", ""],
  ])("%s = %j", (name, value) => {
    const problems = problemsOf({ flags: { [name]: value } });
    expect(problems).toHaveLength(1);
    expect(problems[0]).toMatch(/^--[a-z-]+ must /);
    expect(problems[0]).toContain(JSON.stringify(value));
  });

  test("values of a wrong type in the file", () => {
    writeFileSync(join(directory, "bellhop.json"), JSON.stringify({ window: true, node: 5, http: null, bucketCount: [64] }));
    expect(problemsOf({})).toHaveLength(4);
    writeFileSync(join(directory, "bellhop.json"), "[]");
    expect(problemsOf({})).toEqual([expect.stringContaining("must hold one JSON object")]);
    writeFileSync(join(directory, "bellhop.json"), "{");
    expect(problemsOf({})).toEqual([expect.stringContaining("is not JSON")]);
  });

  test("settings that this version does not have yet", () => {
    for (const name of ["spare"]) {
      expect(problemsOf({ flags: { [name]: "x" } })).toEqual([expect.stringContaining("not available in this version")]);
    }
  });

  test.each(["0.0.0.0:4800", "192.168.1.5:4800", "[::]:4800", "[2001:db8::1]:4800", "broker.example:4800", "127.0.0.1.example.com:4800"])("a door beyond loopback: %s", (address) => {
    for (const door of ["http", "device"]) {
      const problems = problemsOf({ flags: { [door]: address, allowPlaintext: "yes" } });
      expect(problems).toEqual([expect.stringContaining(`${door} (${address}) is beyond loopback`)]);
      expect(problems[0]).toContain("Set auth to required");
      expect(problems[0]).toContain("or listen on 127.0.0.1");
      expect(problemsOf({ flags: { [door]: address, allowPlaintext: "yes", auth: "required" } })).toEqual([]);
    }
  });

  test("plain text beyond loopback, unless it is asked for by name", () => {
    const beyond = "192.168.1.5:4800";
    const about = (problems: readonly string[]): readonly string[] => problems.filter((problem) => problem.includes("without TLS"));
    expect(about(problemsOf({ flags: { http: beyond } }))).toEqual([expect.stringMatching(/^http \(192\.168\.1\.5:4800\) is beyond loopback.*set tlsCert and tlsKey.*allowPlaintext/)]);
    expect(about(problemsOf({ flags: { http: beyond, allowPlaintext: "yes" } }))).toEqual([]);
    expect(about(problemsOf({ flags: { http: beyond, tlsCert: "a", tlsKey: "b" } }))).toEqual([]);
    expect(about(problemsOf({ flags: { http: beyond, deviceTlsCert: "a", deviceTlsKey: "b" } }))).toHaveLength(1);
    expect(about(problemsOf({ flags: { device: beyond, deviceTlsCert: "a", deviceTlsKey: "b" } }))).toEqual([]);
  });

  test.each<[Partial<Settings>, string]>([
    [{ tlsCert: "a" }, "tlsCert needs tlsKey beside it."],
    [{ deviceTlsKey: "a" }, "deviceTlsKey needs deviceTlsCert beside it."],
    [{ deviceCa: "a" }, "deviceCa needs TLS"],
    [{ deviceCrl: "a" }, "deviceCrl needs deviceCa beside it."],
  ])("half of a pair: %o", (chosen, problem) => {
    expect(problemsOf({ flags: chosen as Record<string, string> })).toEqual([expect.stringContaining(problem)]);
  });

  test("a secret is shown nowhere: not in what is effective, nor in what is wrong with it", () => {
    const secret = "x".repeat(40);
    const loaded = loadSettings({ env: { BELLHOP_ADMIN_KEY: secret } });
    expect(loaded.settings.adminKey).toBe(secret);
    expect(JSON.stringify(describeEffective(loaded))).not.toContain(secret);
    const [problem] = problemsOf({ env: { BELLHOP_ADMIN_KEY: "short-secret" } });
    expect(problem).toContain("BELLHOP_ADMIN_KEY must be 32 to 255 visible characters");
    expect(problem).not.toContain("short-secret");
  });

  test.each(["127.0.0.1:1", "127.9.9.9:1", "[::1]:1", "[0:0:0:0:0:0:0:1]:1", "localhost:1"])("a door on loopback is open: %s", (address) => {
    expect(problemsOf({ flags: { http: address } })).toEqual([]);
  });

  test("both doors on one port", () => {
    expect(problemsOf({ flags: { http: "127.0.0.1:5000", device: "127.0.0.1:5000" } })).toEqual([expect.stringContaining("give them different ports")]);
    expect(problemsOf({ flags: { http: "127.0.0.1:0", device: "127.0.0.1:0" } })).toEqual([]);
  });

  test.each<[string, Partial<Settings>, string]>([
    ["a frame that does not hold a message", { maxFrameBytes: 256 * 1024 }, "maxFrameBytes"],
    ["a window that does not hold a frame", { windowBytes: 65_536 }, "windowBytes"],
    ["a body that does not hold a payload", { httpBodyBytes: 65_536 }, "httpBodyBytes"],
    ["a page that does not hold an entry", { pageBytes: 65_536 }, "pageBytes"],
    ["a follower's buffer that does not hold an entry", { followerBytes: 65_536 }, "followerBytes"],
    ["retention below what is in use", { retainBytes: 64 * 1024 * 1024 }, "retainBytes"],
  ])("%s", (_what, chosen, name) => {
    expect(() => settingsWith(chosen)).toThrow(new RegExp(`^${name} \\(\\d+\\) must be at least \\d+: `, "m"));
  });

  test("a segment that is no row of blocks", () => {
    expect(() => settingsWith({ segmentBytes: 2 * 1024 * 1024 + 1 })).toThrow("segmentBytes (2097153) must be a multiple of 512");
  });

  test("all problems at once", () => {
    expect(problemsOf({ flags: { window: "0", colour: "red", http: "0.0.0.0:1", allowPlaintext: "yes" } })).toHaveLength(3);
  });
});

describe("the table", () => {
  test("its defaults are within their ranges and do not contradict each other", () => {
    expect(loadSettings({ directory, flags: Object.fromEntries(Object.entries(defaults()).map(([name, value]) => [name, String(value)])) }).settings).toEqual(defaults());
  });

  test("every setting is described, and shown with its value and source", () => {
    expect(describeSettings().map((line) => line.name)).toEqual(SETTING_NAMES);
    expect(describeSettings().every((line) => line.what.length > 10 && line.range !== "")).toBe(true);
    const shown = describeEffective(loadSettings({ directory, flags: { window: "7" } })).find((line) => line.name === "window");
    expect(shown).toEqual({ name: "window", value: 7, unit: "messages", source: "flag" });
  });

  test("every setting does something: it is read somewhere in the source", () => {
    const source = join(import.meta.dirname, "../../src");
    const text = readdirSync(source, { recursive: true, encoding: "utf8" })
      .filter((name) => name.endsWith(".ts") && name !== "config.ts")
      .map((name) => readFileSync(join(source, name), "utf8"))
      .join("\n");
    const isRead = (name: string): boolean => new RegExp(`settings\\.${name}\\b|\\(settings, [^)\n]*"${name}"`).test(text);
    expect(SETTING_NAMES.filter((name) => !isRead(name))).toEqual([]);
  });

  test("docs/configuration.md holds it", () => {
    expect(readFileSync(join(import.meta.dirname, "../../docs/configuration.md"), "utf8")).toContain(settingsMarkdown());
  });

  test("addresses are taken apart", () => {
    expect(hostAndPort("[::1]:4800")).toEqual({ host: "::1", port: 4800 });
    expect(hostAndPort("127.0.0.1:0")).toEqual({ host: "127.0.0.1", port: 0 });
  });
});

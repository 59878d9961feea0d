// The settings of a node: one table with every name, unit, default, range and line of documentation; flags > environment > file.

import { readFileSync } from "node:fs";
import { isIPv6 } from "node:net";
import { hostname } from "node:os";
import { join } from "node:path";
import { hostAndPort } from "./base/address.ts";
import { nearest } from "./base/near.ts";

const KiB = 1024;
const MiB = 1024 * KiB;
const GiB = 1024 * MiB;
const HOUR = 3600;
const DAY = 24 * HOUR;

interface NumberSetting {
  readonly kind: "number";
  readonly unit: Unit;
  readonly default: number;
  readonly min: number;
  readonly max: number;
  readonly what: string;
  /** A reload takes it; others need a restart. */
  readonly reloads?: true;
}

interface TextSetting {
  readonly kind: "text" | "address";
  readonly default: string;
  readonly pattern: RegExp;
  /** What the pattern wants, for the error. */
  readonly form: string;
  readonly what: string;
  readonly reloads?: true;
}

interface ChoiceSetting<Choice extends string> {
  readonly kind: "choice";
  readonly choices: readonly Choice[];
  readonly default: Choice;
  readonly what: string;
  readonly reloads?: true;
}

/** Given by the environment, or a file that it names; shown nowhere. */
interface SecretSetting {
  readonly kind: "secret";
  readonly default: "";
  readonly pattern: RegExp;
  readonly form: string;
  readonly what: string;
  readonly reloads?: true;
}

type Setting = NumberSetting | TextSetting | ChoiceSetting<string> | SecretSetting;

type Unit = "bytes" | "bytes/s" | "seconds" | "milliseconds" | "messages" | "devices" | "connections" | "sessions" | "streams" | "entries" | "buckets" | "requests/s" | "messages/s" | "connections/s" | "nodes" | "copies";

function number(unit: Unit, initial: number, min: number, max: number, what: string): NumberSetting {
  return { kind: "number", unit, default: initial, min, max, what };
}

function text(initial: string, pattern: RegExp, form: string, what: string): TextSetting {
  return { kind: "text", default: initial, pattern, form, what };
}

const address = (initial: string, what: string): TextSetting => ({
  kind: "address",
  default: initial,
  pattern: /^(?:\[[0-9a-fA-F:.]+\]|[0-9A-Za-z.-]+):\d{1,5}$/,
  form: "HOST:PORT",
  what,
});

const PEM_FILE = "a PEM file, or nothing";
const file = (what: string): TextSetting => text("", /^.*$/, PEM_FILE, what);

/** F4: changed in the file, it is taken by SIGHUP and by the watch on the file. */
const reloaded = <One extends Setting>(setting: One): One & { readonly reloads: true } => ({ ...setting, reloads: true });

const advertised = (port: string): TextSetting => ({
  ...address("", `What others are told of the ${port} port, where it is not what this node listens on.`),
  pattern: /^(?:(?:\[[0-9a-fA-F:.]+\]|[0-9A-Za-z.-]+):\d{1,5})?$/,
});

const ETCD = /^(?:https?:\/\/(?:\[[0-9a-fA-F:.]+\]|[0-9A-Za-z.-]+):\d{1,5}(?:,(?=h)|$))*$/;

/** Everything that can be set. Help, `config show --effective` and docs/configuration.md are made from this table. */
export const SETTINGS = {
  node: text("n1", /^[a-z0-9][a-z0-9-]{0,62}$/, "1 to 63 of a–z, 0–9 and -", "Id of this node."),
  zone: text(
    zoneOfHost(), /^[\w.-]{1,253}$/, "1 to 253 letters, digits, _, . and -",
    "Where this node stands; copies go to other zones where there are any. Its default is the host's name.",
  ),
  data: text("./bellhop-data", /^.+$/, "a directory", "Directory of the log and the state."),
  http: address("127.0.0.1:4800", "Where backends connect. Port 0 takes a free one."),
  device: address("127.0.0.1:4810", "Where devices connect. Port 0 takes a free one."),
  peer: address("127.0.0.1:4820", "Where the other nodes of a cluster connect. Port 0 takes a free one."),
  cluster: text("", /^[\w.-]{0,64}$/, "up to 64 letters, digits, _, . and -", "Name of the cluster that this node belongs to; empty: it is alone, with everything embedded."),
  etcd: text("", ETCD, "http(s)://HOST:PORT, several with commas between", "The etcd that holds the cluster's control log."),
  etcdUser: text("", /^.*$/, "a name, or nothing", "User at etcd; its password is etcdPassword."),
  etcdPassword: {
    kind: "secret",
    default: "",
    pattern: /^.*$/,
    form: "a password",
    what: "Password of etcdUser; by BELLHOP_ETCD_PASSWORD or BELLHOP_ETCD_PASSWORD_FILE only.",
  },
  etcdCa: file("Authorities that sign etcd's certificates."),
  etcdCert: file("This node's certificate for etcd."),
  etcdKey: file("Private key of etcdCert."),
  peerCa: file("Authority of the nodes' certificates: links between nodes then are TLS, and both ends show theirs."),
  peerCert: file("This node's certificate for the other nodes; its common name is the node's id."),
  peerKey: file("Private key of peerCert."),
  bootstrap: number("nodes", 0, 0, 1000, "Nodes that must have registered before a new cluster makes its table; 0: as many as `copies`."),
  copies: number("copies", 3, 1, 5, "Copies of each bucket in a new cluster: 1, 3 or 5."),
  minCopies: number("copies", 2, 1, 5, "Copies that must be there for a bucket of a new cluster to take writes."),
  suspicionMilliseconds: number(
    "milliseconds", 500, 100, 60_000,
    "Silence after which the other nodes hold one to be lost and go on without it; the same on every node. Less is a shorter pause, more bears a more loaded machine.",
  ),
  advertiseHttp: advertised("HTTP"),
  advertiseDevice: advertised("device"),
  advertisePeer: advertised("peer"),
  auth: {
    kind: "choice",
    choices: ["off", "required"],
    default: "off",
    what: "required: HTTP calls need an API key, devices a token or a certificate. off: whoever reaches a port may do everything, so the ports must be loopback.",
  },
  adminKey: {
    kind: "secret",
    default: "",
    pattern: /^(?:[\x21-\x7e]{32,255})?$/,
    form: "32 to 255 visible characters",
    what: "An administrator's API key beside those made by `bellhop key add`; by BELLHOP_ADMIN_KEY or BELLHOP_ADMIN_KEY_FILE only.",
  },
  logLevel: reloaded({
    kind: "choice",
    choices: ["fatal", "error", "warn", "info", "debug", "trace", "silent"],
    default: "info",
    what: "Least severe lines that are logged.",
  }),

  tlsCert: reloaded(file("Certificate of both ports with its chain; both then speak TLS. Empty: no TLS.")),
  tlsKey: reloaded(file("Private key of tlsCert.")),
  deviceTlsCert: reloaded(file("Certificate of the device port, where it has one of its own.")),
  deviceTlsKey: reloaded(file("Private key of deviceTlsCert.")),
  deviceCa: reloaded(file("Authorities whose client certificates devices may show instead of a token.")),
  deviceCrl: reloaded(file("Revocation lists of deviceCa, one for each authority; a certificate on one is refused, and its connection ends.")),
  allowPlaintext: {
    kind: "choice",
    choices: ["no", "yes"],
    default: "no",
    what: "yes: a port without TLS may listen beyond loopback; whoever is on the way can read and change what passes.",
  },

  bucketCount: number("buckets", 64, 1, 65_536, "Buckets of a new data directory; an existing one keeps its own."),
  segmentBytes: number("bytes", 64 * MiB, MiB, GiB, "Size of a file of the log; a multiple of 512."),
  retainSeconds: number("seconds", 7 * DAY, 60, 3650 * DAY, "Entries older than this may be forgotten."),
  retainBytes: number("bytes", 8 * GiB, 4 * MiB, 1024 * GiB, "The oldest entries are forgotten when the log is larger than this."),
  eraseSeconds: number("seconds", 60, 1, DAY, "How often the log's files are looked through for entries of removed devices, whose bytes are then blanked."),
  eraseBytesPerSecond: number("bytes/s", 16 * MiB, 64 * KiB, 16 * GiB, "Greatest rate at which that reads and writes."),
  minFreeBytes: number(
    "bytes", 64 * MiB, 0, 1024 * GiB,
    "While less than this is free on the disk, writes are refused with `storage_full`; reads go on.",
  ),
  tailCacheBytes: number("bytes", 64 * MiB, MiB, 64 * GiB, "Newest entries kept in memory for readers."),
  checkpointSeconds: number("seconds", 30, 1, HOUR, "Time between two checkpoints of the state."),
  checkpointBytesPerSecond: number("bytes/s", 32 * MiB, 64 * KiB, 16 * GiB, "Greatest rate at which checkpoints write."),
  stateCacheDevices: number(
    "devices", 200_000, 1000, 100_000_000,
    "Devices whose state is kept in memory; the others are read from disk when they are needed.",
  ),

  maxPayloadBytes: number(
    "bytes", 256 * KiB, 64, 8 * MiB,
    "Greatest payload of a message over HTTP; of a device's message, payload and headers together have at most maxPayloadBytes + maxHeadersBytes.",
  ),
  maxHeadersBytes: number("bytes", 8 * KiB, 64, 64 * KiB, "Greatest size of a message's headers together, over HTTP; for devices see maxPayloadBytes."),
  keyRetentionSeconds: number("seconds", DAY, 60, 365 * DAY, "An idempotency key is known for at least this long."),
  keyBytesPerBucket: number(
    "bytes", 16 * MiB, 64 * KiB, 4 * GiB,
    "Room for the idempotency keys of a bucket; when young keys fill it, new keyed publishes get 429.",
  ),
  sessionsPerDevice: number("sessions", 16, 1, 1024, "Publishers that keep a session with one device."),

  window: number("messages", 1024, 1, 65_535, "Messages in flight in a session."),
  windowBytes: number("bytes", MiB, 64 * KiB, GiB, "Bytes in flight in a session."),
  maxFrameBytes: number("bytes", 320 * KiB, KiB, 16 * MiB, "Greatest frame of the device protocol."),
  maxConnections: number("connections", 16_000, 1, 1_000_000, "Connections of devices at once."),
  connectionsPerAddress: reloaded(number("connections", 0, 0, 1_000_000, "Connections of devices at once from one address; 0: no limit of its own, for fleets behind one.")),
  helloTimeoutSeconds: reloaded(number("seconds", 10, 1, 300, "Time that a new connection has for its TLS handshake and its HELLO, together.")),
  handshakesAtOnce: reloaded(number("connections", 500, 1, 100_000, "TLS handshakes of devices at once; further connections wait unread for their turn.")),
  hellosPerSecond: reloaded(number("connections/s", 2000, 1, 1_000_000, "HELLOs taken in a second; those above it are given a time to come back at.")),
  hellosPerAddress: reloaded(number("connections/s", 0, 0, 1_000_000, "HELLOs taken in a second from one address; 0: no limit of its own.")),
  messagesPerDevice: reloaded(number("messages/s", 0, 0, 1_000_000, "Messages that one device may publish in a second; above it is read more slowly. 0: no limit.")),
  bytesPerDevice: reloaded(number("bytes/s", 0, 0, GiB, "Bytes that one device may publish in a second; above it is read more slowly. 0: no limit.")),
  backlogBytes: reloaded(number(
    "bytes", 256 * MiB, MiB, 64 * GiB,
    "Bytes of all devices that wait for their acknowledgement; above it no further ones are read from those that have some waiting.",
  )),
  keepAliveSeconds: reloaded(number(
    "seconds", 60, 1, HOUR,
    "Keep-alive of a device that asks for no other: it sends something at least this often.",
  )),

  httpMaxConnections: reloaded(number("connections", 2000, 1, 1_000_000, "HTTP connections at once.")),
  httpRequestsPerKey: reloaded(number("requests/s", 0, 0, 1_000_000, "HTTP requests in a second with one API key; above it 429. 0: no limit.")),
  httpRequestsPerAddress: reloaded(number("requests/s", 0, 0, 1_000_000, "HTTP requests in a second from one address; above it 429. 0: no limit.")),
  httpBodyBytes: number("bytes", MiB, 64 * KiB, 64 * MiB, "Greatest body of an HTTP request."),
  httpRequestSeconds: number("seconds", 30, 1, HOUR, "Time that an HTTP request has to arrive whole."),
  httpKeepAliveSeconds: number(
    "seconds", 75, 1, HOUR,
    "An idle HTTP connection closes after this; above what clients use, so that none of them meets a closing one.",
  ),
  publishSeconds: number("seconds", 15, 1, 300, "Time after which a publish that is not yet stored is answered with 503 `deadline`."),
  overloadSeconds: number("seconds", 2, 1, 300, "While no HTTP request that waits for the disk is answered within this, new ones get 503 `overloaded` at once."),
  maxLongPollSeconds: number("seconds", 30, 1, 300, "Longest `wait` of a long poll."),
  maxFollowers: number("streams", 1000, 1, 1_000_000, "Followed streams (SSE) and waiting long polls at once."),
  followerBytes: number(
    "bytes", MiB, 64 * KiB, 256 * MiB,
    "What may wait unsent for a follower; the stream pauses there until its reader has caught up.",
  ),
  pageEntries: number("entries", 1000, 1, 100_000, "Greatest `limit` of a page."),
  pageBytes: number("bytes", 4 * MiB, 64 * KiB, 256 * MiB, "Greatest payload bytes of a page."),
  drainSeconds: number("seconds", 10, 1, HOUR, "Time that open requests have to end when the node stops."),
} as const satisfies Record<string, Setting>;

export type SettingName = keyof typeof SETTINGS;

type ValueOf<One> = One extends NumberSetting ? number : One extends ChoiceSetting<infer Choice> ? Choice : string;

export type Settings = {
  readonly [Name in SettingName]: ValueOf<(typeof SETTINGS)[Name]>;
};

export type Source = "default" | "file" | "environment" | "flag";

export interface LoadedSettings {
  readonly settings: Settings;
  readonly sources: Readonly<Record<SettingName, Source>>;
  /** Files that were read for them. */
  readonly files: readonly string[];
}

/** Settings of later versions: said so instead of ignored. */
const NOT_YET = ["spare"];

const NOT_YET_SAID = "is not available in this version; leave it out.";

/** Everything that is wrong with the settings, one problem a line. */
export class ConfigError extends Error {
  override readonly name = "ConfigError";
  readonly problems: readonly string[];

  constructor(problems: readonly string[]) {
    super(problems.join("\n"));
    this.problems = problems;
  }
}

export const SETTING_NAMES = Object.keys(SETTINGS) as readonly SettingName[];

/** The files that settings name and that cannot be read, one a line. Not part of `loadSettings`: settings may be looked at where their files are not. */
export function unreadableFiles(settings: Settings): string[] {
  const problems: string[] = [];
  for (const name of SETTING_NAMES) {
    const setting: Setting = SETTINGS[name];
    const path = settings[name];
    if (setting.kind !== "text" || setting.form !== PEM_FILE || path === "") continue;
    try {
      readFileSync(String(path));
    } catch (error) {
      problems.push(`${name} (${path}) cannot be read: ${(error as Error).message}`);
    }
  }
  return problems;
}

/** `maxPayloadBytes` → `--max-payload-bytes` */
export function flagOf(name: string): string {
  return `--${name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}`;
}

/** `maxPayloadBytes` → `BELLHOP_MAX_PAYLOAD_BYTES` */
export function variableOf(name: string): string {
  return `BELLHOP_${name.replace(/[A-Z]/g, (letter) => `_${letter}`).toUpperCase()}`;
}

/** Variables that the command line reads itself. */
const OTHER_VARIABLES = ["BELLHOP_CONFIG", "BELLHOP_CA", "BELLHOP_KEY", "BELLHOP_KEY_FILE", "BELLHOP_TOKEN", "BELLHOP_TOKEN_FILE"];

/**
 * Reads the settings: flags > environment > file > default. `flags` has the values by the setting's name (`maxPayloadBytes`), as written.
 * The file is `configFile`, else the one that BELLHOP_CONFIG names, else `bellhop.json` in `directory` where there is one.
 * Throws ConfigError with every problem found: unknown names, values out of range, limits that contradict each other.
 */
export function loadSettings(input: {
  readonly flags?: Readonly<Record<string, string | undefined>>;
  readonly env?: Readonly<Record<string, string | undefined>>;
  readonly configFile?: string;
  readonly directory?: string;
}): LoadedSettings {
  const problems: string[] = [];
  const env = input.env ?? {};
  const values: Partial<Record<SettingName, string | number>> = {};
  const sources = Object.fromEntries(SETTING_NAMES.map((name) => [name, "default"])) as Record<SettingName, Source>;

  const take = (source: Source, where: string, spelling: (name: string) => string, given: Readonly<Record<string, unknown>>): void => {
    for (const [name, value] of Object.entries(given)) {
      if (value === undefined) continue;
      if (NOT_YET.includes(name)) {
        problems.push(`${where}${spelling(name)} ${NOT_YET_SAID}`);
        continue;
      }
      if (!isSetting(name)) {
        problems.push(`${where}${spelling(name)} is not a setting.${suggestion(name, spelling)}`);
        continue;
      }
      const parsed = parse(name, value);
      if (typeof parsed === "object") problems.push(`${where}${spelling(name)} ${parsed.problem}`);
      else {
        values[name] = parsed;
        sources[name] = source;
      }
    }
  };

  const named = input.configFile ?? env["BELLHOP_CONFIG"];
  const path = named ?? join(input.directory ?? ".", "bellhop.json");
  const files = [path];
  take("file", `${named ?? "bellhop.json"}: `, (name) => `"${name}"`, readConfigFile(path, named !== undefined, problems));
  take("environment", "", variableOf, fromEnvironment(env, files, problems));
  take("flag", "", flagOf, input.flags ?? {});

  const settings = { ...defaults(), ...values } as Settings;
  problems.push(...contradictions(settings));
  if (problems.length > 0) throw new ConfigError(problems);
  return { settings, sources, files };
}

/** The defaults with some values set by a program; checked like any others. */
export function settingsWith(chosen: Partial<Settings>): Settings {
  const flags = Object.entries(chosen).map(([name, value]) => [name, String(value)] as const);
  return loadSettings({ flags: Object.fromEntries(flags) }).settings;
}

export function defaults(): Settings {
  return Object.fromEntries(SETTING_NAMES.map((name) => [name, SETTINGS[name].default])) as Settings;
}

function isSetting(name: string): name is SettingName {
  return Object.hasOwn(SETTINGS, name);
}

function zoneOfHost(): string {
  return hostname().replace(/[^\w.-]/g, "-").slice(0, 253) || "local";
}

function readConfigFile(file: string, mustBeThere: boolean, problems: string[]): Record<string, unknown> {
  let content: string;
  try {
    content = readFileSync(file, "utf8");
  } catch (error) {
    const missing = (error as NodeJS.ErrnoException).code === "ENOENT";
    if (mustBeThere || !missing) problems.push(`${file} cannot be read: ${(error as Error).message}`);
    return {};
  }
  try {
    const value: unknown = JSON.parse(content);
    if (typeof value === "object" && value !== null && !Array.isArray(value)) return value as Record<string, unknown>;
    problems.push(`${file} must hold one JSON object.`);
  } catch (error) {
    problems.push(`${file} is not JSON: ${(error as Error).message}`);
  }
  return {};
}

/** BELLHOP_X, or BELLHOP_X_FILE for a value that is kept in a file of its own (a secret, say). */
function fromEnvironment(env: Readonly<Record<string, string | undefined>>, files: string[], problems: string[]): Record<string, string> {
  const known = new Map([...SETTING_NAMES, ...NOT_YET].map((name) => [variableOf(name), name]));
  const values: Record<string, string> = {};
  for (const [variable, value] of Object.entries(env)) {
    if (value === undefined || !variable.startsWith("BELLHOP_") || OTHER_VARIABLES.includes(variable)) continue;
    const name = known.get(variable) ?? known.get(variable.replace(/_FILE$/, ""));
    if (name === undefined) {
      problems.push(`${variable} is not a setting.${suggestion(variable, variableOf)}`);
    } else if (known.has(variable)) {
      values[name] = value;
    } else if (env[variableOf(name)] !== undefined) {
      problems.push(`${variable} and ${variableOf(name)} are both set; leave one out.`);
    } else {
      files.push(value);
      try {
        values[name] = readFileSync(value, "utf8").trimEnd();
      } catch (error) {
        problems.push(`${variable}: ${(error as Error).message}`);
      }
    }
  }
  return values;
}

const MULTIPLIERS: Readonly<Record<string, number>> = { KiB, MiB, GiB, s: 1, m: 60, h: HOUR, d: DAY };

/** The value, or what is wrong with it as the rest of a sentence. */
function parse(name: SettingName, given: unknown): string | number | { readonly problem: string } {
  const setting: Setting = SETTINGS[name];
  switch (setting.kind) {
    case "number":
      return parseNumber(setting, given);
    case "choice":
      if (typeof given === "string" && setting.choices.includes(given)) return given;
      return { problem: `must be one of ${setting.choices.join(", ")}, not ${JSON.stringify(given)}.` };
    case "secret":
      return typeof given === "string" && setting.pattern.test(given) ? given : { problem: `must be ${setting.form}.` };
    case "text":
    case "address":
      if (typeof given !== "string" || !setting.pattern.test(given)) {
        return { problem: `must be ${setting.form}, not ${JSON.stringify(given)}.` };
      }
      if (setting.kind === "address" && given !== "" && hostAndPort(given).port > 65_535) {
        return { problem: `must have a port up to 65535, not ${JSON.stringify(given)}.` };
      }
      return given;
  }
}

function parseNumber(setting: NumberSetting, given: unknown): number | { readonly problem: string } {
  const suffixes = setting.unit.startsWith("bytes") ? "KiB|MiB|GiB" : setting.unit === "seconds" ? "s|m|h|d" : "";
  const written = typeof given === "number" || typeof given === "string" ? String(given) : "";
  const match = new RegExp(`^(\\d{1,15})(${suffixes})?$`).exec(written);
  const value = match === null ? Number.NaN : Number(match[1]) * (MULTIPLIERS[match[2] ?? ""] ?? 1);
  if (value >= setting.min && value <= setting.max) return value;
  const alsoWritten = suffixes === "" ? "" : ` (${suffixes.replaceAll("|", ", ")} may follow it)`;
  const { unit, min, max } = setting;
  return { problem: `must be a whole number of ${unit} from ${min} to ${max}${alsoWritten}, not ${JSON.stringify(given)}.` };
}

/** Limits that contradict each other, and doors that may not be opened. */
function contradictions(settings: Settings): string[] {
  const problems: string[] = [];
  const atLeast = (greater: SettingName, lesser: number, because: string): void => {
    if (Number(settings[greater]) < lesser) problems.push(`${greater} (${settings[greater]}) must be at least ${lesser}: ${because}`);
  };
  const message = settings.maxPayloadBytes + settings.maxHeadersBytes;
  atLeast("maxFrameBytes", message + KiB, "a frame holds maxPayloadBytes + maxHeadersBytes + 1 KiB for itself.");
  atLeast("windowBytes", settings.maxFrameBytes, "the greatest frame must fit the window.");
  atLeast("httpBodyBytes", settings.maxPayloadBytes, "a body holds maxPayloadBytes.");
  atLeast("pageBytes", settings.maxPayloadBytes, "a page holds at least one entry.");
  atLeast("followerBytes", settings.maxPayloadBytes, "at least one entry must fit.");
  atLeast("segmentBytes", 2 * message, "a segment holds at least two of the greatest messages.");
  atLeast("retainBytes", 4 * settings.segmentBytes, "the log is forgotten by segments, and the newest are in use.");
  if (settings.segmentBytes % 512 !== 0) {
    problems.push(`segmentBytes (${settings.segmentBytes}) must be a multiple of 512: the log is written in blocks.`);
  }
  for (const name of ["http", "device"] as const) {
    const { host } = hostAndPort(settings[name]);
    if (isLoopback(host)) continue; // F3
    if (settings.auth === "off") {
      problems.push(
        `${name} (${settings[name]}) is beyond loopback, and auth is off: whoever reaches the port could read and publish. ` +
          `Set auth to required (--auth required, BELLHOP_AUTH=required), or listen on 127.0.0.1 or [::1].`,
      );
    }
  }
  problems.push(...tlsProblems(settings), ...clusterProblems(settings));
  if (settings.http === settings.device && hostAndPort(settings.http).port !== 0) {
    problems.push(`http and device are both ${settings.http}; give them different ports.`);
  }
  return problems;
}

/** What a node of a cluster needs, and its door for the others (F1, F3). */
function clusterProblems(settings: Settings): string[] {
  const problems: string[] = [];
  const needs = (one: SettingName, other: SettingName): void => {
    if (settings[one] !== "" && settings[other] === "") problems.push(`${one} needs ${other} beside it.`);
  };
  for (const [one, other] of [["peerCa", "peerCert"], ["peerCert", "peerKey"], ["peerKey", "peerCa"], ["etcdCert", "etcdKey"], ["etcdKey", "etcdCert"], ["etcdUser", "etcdPassword"], ["etcd", "cluster"]] as const) needs(one, other);
  if (![1, 3, 5].includes(settings.copies)) problems.push(`copies (${settings.copies}) must be 1, 3 or 5.`);
  if (settings.minCopies > settings.copies) problems.push(`minCopies (${settings.minCopies}) must be at most copies (${settings.copies}).`);
  if (settings.cluster !== "" && settings.peerCa === "" && settings.allowPlaintext === "no" && !isLoopback(hostAndPort(settings.peer).host)) {
    problems.push(`peer (${settings.peer}) is beyond loopback, and without certificates whoever reaches the port could act as a node: set peerCa, peerCert and peerKey.`);
  }
  return problems;
}

/** Halves of pairs, and plain text where others can read it (F3). */
function tlsProblems(settings: Settings): string[] {
  const problems: string[] = [];
  for (const [one, other] of [["tlsCert", "tlsKey"], ["tlsKey", "tlsCert"], ["deviceTlsCert", "deviceTlsKey"], ["deviceTlsKey", "deviceTlsCert"], ["deviceCrl", "deviceCa"]] as const) {
    if (settings[one] !== "" && settings[other] === "") problems.push(`${one} needs ${other} beside it.`);
  }
  const hasTls = { http: settings.tlsCert !== "", device: settings.tlsCert !== "" || settings.deviceTlsCert !== "" };
  if (settings.deviceCa !== "" && !hasTls.device) problems.push("deviceCa needs TLS: set deviceTlsCert and deviceTlsKey, or tlsCert and tlsKey.");
  for (const door of ["http", "device"] as const) {
    if (hasTls[door] || settings.allowPlaintext === "yes" || isLoopback(hostAndPort(settings[door]).host)) continue;
    problems.push(
      `${door} (${settings[door]}) is beyond loopback, and without TLS whoever is on the way could read and change what passes: ` +
        `set tlsCert and tlsKey. Where a proxy or a private network encrypts, say so with allowPlaintext: "yes".`,
    );
  }
  return problems;
}

/** The name or address is of this machine alone. */
export function isLoopback(host: string): boolean {
  return host === "localhost" || /^127\.\d{1,3}\.\d{1,3}\.\d{1,3}$/.test(host) || (isIPv6(host) && /^(?:0{0,4}:){1,7}0{0,3}1$/.test(host));
}

/** ` Did you mean …?` where a known name is near, else nothing. */
function suggestion(unknown: string, spelling: (name: string) => string): string {
  const asWritten = unknown.startsWith("BELLHOP_") ? unknown : spelling(unknown);
  const near = nearest(asWritten, SETTING_NAMES.map(spelling));
  return near !== undefined ? ` Did you mean ${near}?` : " See `bellhop config show --effective` for all settings.";
}

/** One line for each setting, for help, `config show` and the documentation. */
export interface SettingLine {
  readonly name: SettingName;
  readonly flag: string;
  readonly variable: string;
  readonly unit: string;
  readonly default: string;
  /** `64 … 16777216`, the choices, or the form. */
  readonly range: string;
  /** A reload takes it; else a restart is needed. */
  readonly reloads: boolean;
  readonly what: string;
  /** Not to be given as a flag, and never shown. */
  readonly isSecret: boolean;
}

export function describeSettings(): readonly SettingLine[] {
  return SETTING_NAMES.map((name) => {
    const setting: Setting = SETTINGS[name];
    return {
      name,
      flag: flagOf(name),
      variable: variableOf(name),
      unit: setting.kind === "number" ? setting.unit : "",
      default: name === "zone" ? "the host's name" : setting.kind === "secret" ? "none" : String(setting.default),
      range: rangeOf(setting),
      reloads: setting.reloads === true,
      what: setting.what,
      isSecret: setting.kind === "secret",
    };
  });
}

function rangeOf(setting: Setting): string {
  if (setting.kind === "number") return `${setting.min} … ${setting.max}`;
  return setting.kind === "choice" ? setting.choices.join(", ") : setting.form;
}

export interface EffectiveSetting {
  readonly name: SettingName;
  readonly value: string | number;
  readonly unit: string;
  readonly source: Source;
}

/** What `config show --effective` prints: each value and where it comes from. */
export function describeEffective(loaded: LoadedSettings): readonly EffectiveSetting[] {
  return describeSettings().map(({ name, unit }) => ({ name, value: shown(name, loaded.settings[name]), unit, source: loaded.sources[name] }));
}

function shown(name: SettingName, value: string | number): string | number {
  return SETTINGS[name].kind === "secret" && value !== "" ? "[secret]" : value;
}

/** The table of docs/configuration.md. */
export function settingsMarkdown(): string {
  const lines = describeSettings().map((line) => `| \`${line.name}\` | ${line.default} | ${line.unit} | ${line.range} | ${line.reloads ? "reload" : "restart"} | ${line.what} |`);
  return ["| setting | default | unit | range | changed by | what it is |", "|---|---|---|---|---|---|", ...lines].join("\n");
}

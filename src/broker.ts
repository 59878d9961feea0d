// The composition root: the only file that wires storage, control log, node and front-ends into a running broker.

import { readFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";

import { hostAndPort, withPort } from "./base/address.ts";
import { BellhopError } from "./base/errors.ts";
import type { Settings } from "./config.ts";
import { EmbeddedControl } from "./control/embedded.ts";
import { EtcdControl } from "./control/etcd.ts";
import { joinCluster } from "./control/joining.ts";
import type { ControlLog } from "./control/port.ts";
import type { NodeLimits } from "./core/node.ts";
import { DevicePort } from "./device/port.ts";
import { startDeviceServer } from "./device/server.ts";
import { readPeerCertificates } from "./doors/certificates.ts";
import { Reloader } from "./doors/reload.ts";
import { firstKey } from "./http/first-key.ts";
import { HttpPort } from "./http/port.ts";
import { startHttpServer } from "./http/server.ts";
import { RunningNode } from "./node/node.ts";
import { createLog, RepeatedLog, type Log } from "./observe/log.ts";
import { LoopWatch } from "./observe/loop.ts";
import { createMetrics, together, type Reading, type Readings } from "./observe/metrics.ts";
import { version } from "./observe/version.ts";
import { Links } from "./peer/links.ts";
import { StorageError } from "./storage/errors.ts";
import { openStorage } from "./storage/open.ts";
import type { LogEvents } from "./storage/port.ts";

export interface Broker {
  /** HOST:PORT where it listens; the real port where 0 was asked for. */
  readonly httpAddress: string;
  readonly deviceAddress: string;
  /** The running node; another one after an incarnation was over. */
  readonly node: RunningNode;
  /** Reads settings and certificates again (F4); what is bad is logged, and what was set before stays. `why`: for the log. */
  reload(why: string): void;
  /** Something failed that nothing can answer: logs it and stops as after a broken invariant. */
  fail(error: Error): void;
  /** Refuses new work and lets what is open end: sockets are told when to come back. */
  drain(): Promise<void>;
  /** Writes the last checkpoint and closes the files. */
  close(): Promise<void>;
}

/** Where the settings came from, to be read again by a reload. */
export interface SettingsSource {
  /** Throws what is wrong with them. */
  read(): Settings;
  /** Files that are watched beside the certificates'. */
  readonly files: readonly string[];
}

export interface BrokerOptions {
  /** The node could not go on after its start; by default the process logs and exits with 70. */
  readonly failed?: (error: Error) => void;
  /** Where the settings came from; without it a reload reads nothing new. */
  readonly source?: SettingsSource;
  /** The control log that this process was given; else the settings say which. It is not closed with the broker. */
  readonly control?: ControlLog;
}

/** An incarnation of the node with its front-ends. */
interface Incarnation {
  readonly node: RunningNode;
  readonly peerAddress: string;
  reload(why: string): void;
  drain(): Promise<void>;
  close(): Promise<void>;
  /** Cuts every connection and closes the files; the doors' ports stay open for the next one. */
  abandon(): Promise<void>;
}

/** The doors' ports: made by the first incarnation, open until the broker drains. */
interface Ports {
  http?: HttpPort;
  device?: DevicePort;
}

/** Before an incarnation that was over soon after its start is followed by another one; in milliseconds. */
const ANEW_MS = 1000;

/** Resolves when the node is registered and both ports listen; a node that is alone has every bucket open then. */
export async function startBroker(settings: Settings, options: BrokerOptions = {}): Promise<Broker> {
  const log = createLog(settings.logLevel, settings.node);
  const failed = options.failed ?? ((error: Error) => exitWith(log, error, settings.data));
  const source = options.source ?? { read: () => settings, files: [] };
  const ports: Ports = {};
  const linkTroubles = new RepeatedLog(log); // over all incarnations: one that nobody reaches starts anew again and again
  let bound = settings;
  let closed = false;
  let anew: Promise<void> | undefined;
  const start = async (): Promise<Incarnation> => {
    for (;;) {
      let isRunning = false;
      let whyOver: string | undefined;
      const over = (why: string): void => {
        if (whyOver !== undefined) return;
        whyOver = why;
        log.warn({ code: "over" }, `this incarnation is over: ${why}; the node starts anew`);
        if (isRunning) anew = startAnew();
      };
      const incarnation = await startIncarnation(bound, log, source, { failed, control: options.control, over, ports, linkTroubles });
      isRunning = true;
      if (whyOver === undefined) return incarnation;
      await incarnation.abandon(); // it was over before it was ready
      await sleep(ANEW_MS * Math.random());
    }
  };
  /** What a node does that finds itself departed: it drops its roles and registers anew (R4), as if its process had been started again. */
  const startAnew = async (): Promise<void> => {
    await current.abandon();
    while (!closed) {
      await sleep(ANEW_MS * Math.random());
      try {
        if (!closed) current = await start();
        return;
      } catch (error) {
        if (!(error instanceof BellhopError && error.code === "deadline")) return failed(error as Error);
        log.warn({ code: "control_log_away" }, `${error.detail} The node starts anew when it does`); // R15: the others go on meanwhile
      }
    }
  };
  const closePorts = async (): Promise<void> => {
    ports.device?.close();
    await ports.http?.close(0);
  };
  let current = await start().catch(async (error: unknown) => {
    await closePorts();
    throw error;
  });
  const [httpAddress, deviceAddress] = [ports.http!.address, ports.device!.address];
  bound = { ...settings, http: httpAddress, device: deviceAddress, peer: current.peerAddress };
  return {
    httpAddress,
    deviceAddress,
    get node() {
      return current.node;
    },
    reload: (why) => current.reload(why),
    fail: failed,
    drain: () => current.drain(),
    async close() {
      closed = true;
      await anew;
      await current.close();
      await closePorts(); // where the last incarnation was over and no other came
    },
  };
}

async function startIncarnation(
  settings: Settings, log: Log, source: SettingsSource,
  { failed, over, control: given, ports, linkTroubles }:
  { failed: (error: Error) => void; over: (why: string) => void; control: ControlLog | undefined; ports: Ports; linkTroubles: RepeatedLog },
): Promise<Incarnation> {
  const isAlone = settings.cluster === "";
  const peerCertificates = isAlone ? undefined : readPeerCertificates(settings);
  const relay = relayUntilConnected(failed);
  const directory = settings.data;
  const storage = await openStorage(directory, { segmentBytes: settings.segmentBytes, opensDamaged: !isAlone }, relay.events);
  const undo: (() => Promise<unknown>)[] = [() => storage.close()];
  const undoAll = async (): Promise<void> => {
    for (const step of undo) await step().catch(() => undefined);
  };
  try {
    const control = given ?? (isAlone ? await EmbeddedControl.open(directory) : etcdControl(settings));
    if (given === undefined) undo.unshift(() => control.close());
    const keeper = control instanceof EtcdControl ? await joinCluster(control, directory, settings.cluster) : undefined;
    const links = isAlone ? undefined : await Links.listen({
      cluster: settings.cluster,
      node: settings.node,
      listen: hostAndPort(settings.peer),
      tls: peerCertificates,
      silentMs: leaseMs(settings),
      log: (peer, what, isTrouble) => (isTrouble ? linkTroubles.warn({ code: "link", peer }, what) : log.info({ code: "link", peer }, what)),
    });
    if (links !== undefined) undo.unshift(() => links.close());
    const peerAddress = links === undefined ? "" : withPort(settings.peer, links.port);
    const node = await RunningNode.start(
      {
        id: settings.node,
        zone: settings.zone,
        address: {
          http: settings.advertiseHttp === "" ? settings.http : settings.advertiseHttp,
          device: settings.advertiseDevice === "" ? settings.device : settings.advertiseDevice,
          peer: settings.advertisePeer === "" ? peerAddress : settings.advertisePeer,
        },
        beginning: isAlone
          ? { bucketCount: settings.bucketCount, copies: 1, minCopies: 1, nodes: 1 }
          : { bucketCount: settings.bucketCount, copies: settings.copies as 1 | 3 | 5, minCopies: settings.minCopies, nodes: settings.bootstrap === 0 ? settings.copies : settings.bootstrap },
        storage,
        links,
        directory,
        minFreeBytes: settings.minFreeBytes,
        control,
        keeper,
        leaseMs: leaseMs(settings),
        limits: limitsOf(settings),
        checkpoints: {
          seconds: settings.checkpointSeconds,
          bytesPerSecond: settings.checkpointBytesPerSecond,
          dirtyDevices: settings.stateCacheDevices,
        },
        overloadMs: settings.overloadSeconds * 1000,
        retention: { seconds: settings.retainSeconds, bytes: settings.retainBytes },
        erasing: { seconds: settings.eraseSeconds, bytesPerSecond: settings.eraseBytesPerSecond },
        failed,
        over,
        departed: (node) => log.warn({ code: "departed", peer: node }, `node ${node} has departed: its buckets go on at the other nodes, and it comes back as a new incarnation (bellhop status)`),
        waits: (registered) => log.info({ code: "waiting_for_nodes", registered }, "the cluster begins when enough nodes have registered"),
        away: (isAway) => {
          if (isAway) log.warn({ code: "control_log_away" }, `the control log${settings.etcd === "" ? "" : " in etcd"} does not answer: writes go on, changes of governments wait, and nobody takes over for a node that fails`);
          else log.info({ code: "control_log_back" }, "the control log answers again");
        },
        full: (isFull) => (isFull ? log.error({ code: "storage_full" }, "the disk is full: writes are refused with storage_full until there is space") : log.info({ code: "storage_ok" }, "the disk has space again")),
      },
      relay.connect,
    );
    undo.unshift(() => node.stop());
    const adminKeyFile = await firstKey(node.keys, settings);
    if (adminKeyFile !== undefined) log.warn({ code: "admin_key_made", file: adminKeyFile }, "no API key was there: an administrator's key is in this file; make others with `bellhop key add`");
    const reloader = new Reloader(settings, source, log, (next, certificates) => {
      log.level = next.logLevel;
      device.reload(next, certificates);
      http.reload(next, certificates);
    });
    undo.unshift(async () => reloader.close());
    const { certificates } = reloader;
    const devicePort = (ports.device ??= new DevicePort(settings.device, certificates.device !== undefined));
    const device = await startDeviceServer({ node, settings, log, certificates, port: devicePort });
    undo.unshift(() => device.leave());
    const metrics = createMetrics(() => readings());
    const httpPort = (ports.http ??= new HttpPort(settings, certificates));
    httpPort.use(certificates);
    const http = await startHttpServer({ node, settings, log, metrics, port: httpPort });
    reloader.watch();
    const loop = new LoopWatch(log); // from here on: a start may keep the loop for long
    undo.unshift(async () => loop.stop());
    const build: Reading = { labels: { version: version(), node: settings.node, runtime: process.version }, value: 1 };
    const readings = (): Readings => together({ build_info: [build] }, node.readings(), loop.readings(), device.readings(), http.readings());
    log.info({ code: "ready", http: httpPort.address, device: devicePort.address, data: directory, incarnation: node.status().incarnation }, "ready");
    if (settings.allowPlaintext === "yes") log.warn({ code: "plaintext" }, "allowPlaintext is yes: what passes a port without TLS can be read and changed on the way");
    let drained: Promise<unknown> | undefined;
    const drain = async (): Promise<void> => {
      reloader.close();
      drained ??= node.handOver(settings.drainSeconds * 1000).then(() => Promise.all([http.close(), device.close()])); // the others lead before the doors close: a pause, and no errors
      await drained;
    };
    return {
      peerAddress,
      node,
      reload: (why) => reloader.reload(why),
      drain,
      async close() {
        await drain();
        for (const step of undo) await step();
      },
      async abandon() {
        reloader.close();
        drained ??= Promise.all([http.leave(), device.leave()]);
        await drained;
        await undoAll();
      },
    };
  } catch (error) {
    await undoAll();
    throw error;
  }
}

/** The etcd that the settings name. */
export function etcdControl(settings: Settings): EtcdControl {
  return new EtcdControl(settings.cluster, {
    endpoints: settings.etcd.split(","),
    user: settings.etcdUser === "" ? undefined : settings.etcdUser,
    password: settings.etcdPassword,
    ca: pem(settings.etcdCa),
    cert: pem(settings.etcdCert),
    key: pem(settings.etcdKey),
  });
}

function pem(path: string): string | undefined {
  return path === "" ? undefined : readFileSync(path, "utf8");
}

/** The settings as the core's limits, each with its unit there. */
export function limitsOf(settings: Settings): NodeLimits {
  const perBucket = (all: number, least: number): number => Math.max(least, Math.ceil(all / settings.bucketCount));
  const bodyBytes = settings.maxPayloadBytes + settings.maxHeadersBytes + BODY_OVERHEAD_BYTES;
  const suspicionMs = settings.suspicionMilliseconds;
  return {
    replica: {
      residentBytes: perBucket(settings.tailCacheBytes, 64 * 1024),
      appendBytes: 1024 * 1024,
      inflightBytes: 8 * 1024 * 1024,
      partBytes: 512 * 1024,
      nearEntries: 4096,
      resendMs: 250,
      heartbeatMs: 1000, // beats say which nodes live: what is idle says so seldom
      acclimationMs: 60_000,
      slowMs: 150,
    },
    stream: { cachedDevices: perBucket(settings.stateCacheDevices, 64) },
    admission: {
      window: settings.window,
      sessionsPerDevice: settings.sessionsPerDevice,
      keyRetentionMs: settings.keyRetentionSeconds * 1000,
      keySpaceBytes: settings.keyBytesPerBucket,
      bodyBytes,
      held: 10_000,
      waiting: 10_000,
      seats: settings.maxConnections,
    },
    gateway: {
      window: settings.window,
      windowBytes: settings.windowBytes,
      requests: 10_000,
      askAgainMs: 500,
      pauseMs: 60_000,
      backoffMs: 20,
      backoffCapMs: 500,
    },
    coordinator: {
      suspicionMs,
      hintedMs: Math.min(150, suspicionMs),
      greetingMs: Math.max(5000, 2 * suspicionMs),
      loneSuspicionMs: 4 * suspicionMs,
      slowForMs: 6 * suspicionMs,
      dampingMs: 60_000,
      leasesFreshMs: leaseMs(settings),
      repeatMs: 500,
      plansAtOnce: PLANS_AT_ONCE,
      rebalanceRestMs: 5000,
    },
    beatMs: Math.min(100, suspicionMs / 5),
  };
}

/** R18: buckets whose copies are made or moved at once, in the whole cluster: each takes disk and link from those that serve. */
const PLANS_AT_ONCE = 4;

/** A lease outlives a silence that the others bear. */
function leaseMs({ suspicionMilliseconds }: Settings): number {
  return Math.max(3000, 2 * suspicionMilliseconds);
}

/** What msgpack adds around payload and headers in a body. */
const BODY_OVERHEAD_BYTES = 64;

/** The log speaks before the node exists: nothing is written until then, so only failures can come. */
function relayUntilConnected(failed: (error: Error) => void): { readonly events: LogEvents; readonly connect: (to: LogEvents) => void } {
  let to: LogEvents | undefined;
  return {
    events: {
      durable: (ticket) => to?.durable(ticket),
      full: (isFull) => to?.full(isFull),
      failed: (error) => (to === undefined ? failed(error) : to.failed(error)),
    },
    connect: (events) => {
      to = events;
    },
  };
}

/** sysexits.h: an internal software error. */
const EXIT_INTERNAL = 70;

function exitWith(log: Log, error: Error, directory: string): void {
  const isOfDisk = "syscall" in error || error instanceof StorageError;
  const why = isOfDisk ? `the disk under ${directory} failed (${error.message})` : error.message;
  const next = isOfDisk ? "check that disk (dmesg), then start the node again" : "start the node again, and report what this line says";
  log.fatal({ err: error, data: directory }, `the node stops: ${why}; what was answered is on disk: ${next}`);
  log.flush(() => process.exit(EXIT_INTERNAL));
}

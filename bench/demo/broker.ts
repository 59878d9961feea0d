// The demo's broker, a process of its own: what `bellhop start` runs, and it ends with the demo.

import { startBroker, type Broker } from "../../src/broker.ts";
import { prepareData } from "../../src/cli/data.ts";
import { CliError } from "../../src/cli/exit.ts";
import { reportFailure } from "../../src/cli/output.ts";
import { settingsOf } from "../../src/cli/start.ts";
import type { Settings } from "../../src/config.ts";
import { StorageError } from "../../src/storage/errors.ts";
import { endWithParent } from "./parent.ts";

/** What the demo is told when its broker is ready. */
export interface BrokerReady {
  /** HOST:PORT each. */
  readonly http: string;
  readonly device: string;
  readonly data: string;
}

const ELSEWHERE = "npm run demo -- --http 127.0.0.1:4900 --device 127.0.0.1:4910 --data ./demo-data";

endWithParent();

const place = JSON.parse(process.argv[2]!) as Record<string, string>;
try {
  const { settings } = settingsOf({ ...place, logLevel: "error" });
  const broker = await started(settings);
  process.once("SIGTERM", () => void broker.close().then(() => process.exit(0)));
  const ready: BrokerReady = { http: broker.httpAddress, device: broker.deviceAddress, data: settings.data };
  process.send!(ready);
} catch (error) {
  reportFailure(error, "text");
  process.exit();
}

async function started(settings: Settings): Promise<Broker> {
  try {
    prepareData(settings.data);
    return await startBroker(settings);
  } catch (error) {
    const { code, address, port } = error as { code?: string; address?: string; port?: number };
    if (code === "EADDRINUSE") throw new CliError("failed", "address_in_use", `${address}:${port} is in use.`, "a broker, another demo or a program listens there", `stop it, or run the demo elsewhere:\n        ${ELSEWHERE}`);
    if (error instanceof StorageError && error.code === "locked") throw new CliError("inUse", "locked", error.message, "", `stop that process, or run the demo elsewhere:\n        ${ELSEWHERE}`);
    throw error;
  }
}

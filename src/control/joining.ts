// How a data directory comes into a cluster (E5): a node that was alone brings its control log into an empty etcd; one that was in the cluster
// never goes on with an etcd that has lost it.

import { unlink } from "node:fs/promises";
import { join } from "node:path";
import { BellhopError } from "../base/errors.ts";
import { Table } from "../core/table/table.ts";
import type { EtcdControl } from "./etcd.ts";
import { archiveName, controlFolder, readLog, readSnapshot, writeLog } from "./file.ts";
import { Keeper, readKept, writeKept } from "./kept.ts";

/** For the process that holds the directory's lock. @throws BellhopError `internal` where the histories do not fit; `deadline` where etcd does not answer */
export async function joinCluster(control: EtcdControl, dataDirectory: string, cluster: string): Promise<Keeper> {
  const kept = await readKept(dataDirectory);
  if (kept !== undefined && kept.cluster !== cluster) throw new BellhopError("internal", `${dataDirectory} belongs to the cluster ${kept.cluster}, not to ${cluster}.`);
  const own = await readOwn(dataDirectory);
  if (own !== undefined) {
    await bring(control, dataDirectory, cluster, own, kept !== undefined);
    return new Keeper(dataDirectory, cluster, own.version);
  }
  if (kept !== undefined && (await control.isEmpty())) {
    throw new BellhopError("internal", `The control log of cluster ${cluster} is gone from etcd, and this node was a part of it. Restore it from the nodes: bellhop control export on each, then bellhop control import.`);
  }
  return new Keeper(dataDirectory, cluster, kept?.version ?? 0);
}

/** What a node that was alone has folded; undefined where the directory has no control log of its own. */
export async function readOwn(dataDirectory: string): Promise<Table | undefined> {
  const folder = controlFolder(dataDirectory);
  const log = await readLog(join(folder, "log"));
  if (log === undefined) return undefined;
  const { position, state } = await readSnapshot(folder);
  const table = Table.restore(position, state);
  for (const entry of log.entries) if (entry.position > position) table.apply(entry.position, entry.id, entry.commands);
  return table;
}

/** @param began an earlier start wrote down that it would bring it: what etcd has then is this directory's own */
async function bring(control: EtcdControl, dataDirectory: string, cluster: string, own: Table, began: boolean): Promise<void> {
  const isEmpty = await control.isEmpty();
  if (!isEmpty && !began) {
    throw new BellhopError(
      "internal",
      `${dataDirectory} has the control log of a node that was alone, and the cluster ${cluster} has one already: two histories cannot become one. Start this node on an empty directory, or as the first one of another cluster.`,
    );
  }
  if (isEmpty) {
    const state = own.snapshot();
    await writeKept(dataDirectory, { cluster, version: own.version, position: own.position, state });
    await control.begin(state);
  }
  await archiveOwn(controlFolder(dataDirectory));
}

/** Its entries stay to be explained (C9). */
async function archiveOwn(folder: string): Promise<void> {
  const log = await readLog(join(folder, "log"));
  if (log === undefined) return;
  const last = log.after + log.entries.length;
  if (log.entries.length > 0) await writeLog(folder, archiveName(log.after + 1, last), log);
  await unlink(join(folder, "log"));
  await unlink(join(folder, "snapshot")).catch(() => undefined); // there is none before the first trim
}

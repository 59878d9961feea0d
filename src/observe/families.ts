// One table of every metric of Bellhop's own: its type, its labels, what it says. docs/metrics.md is made from it; no label names a device or a key.

interface Family {
  readonly type: "counter" | "gauge" | "histogram";
  readonly labels: readonly string[];
  readonly help: string;
}

const counter = (help: string, ...labels: string[]): Family => ({ type: "counter", labels, help });
const gauge = (help: string, ...labels: string[]): Family => ({ type: "gauge", labels, help });
const histogram = (help: string, ...labels: string[]): Family => ({ type: "histogram", labels, help });

/** By name, without the `bellhop_` in front. */
export const FAMILIES = {
  build_info: gauge("1; the labels say what runs.", "version", "node", "runtime"),
  ready: gauge("1 while the node takes traffic."),
  uptime_seconds: gauge("Time since the node has started."),
  control_log_silent_seconds: gauge("Time since the control log last answered; while it does not, writes go on, and changes of governments wait."),
  waiting: gauge("What waits, by where it waits.", "where"),

  publishes_total: counter(
    "Messages that publishers were answered about: stored, duplicate, or the error's code. front: device or http. A device's message that was refused for now is counted again when it comes again.",
    "front", "outcome",
  ),
  publish_seconds: histogram("Time from the arrival of a message to its answer; of a device's connection, one message at a time is timed.", "front"),
  requests_total: counter("Other questions to the leader of a bucket (state changes, sessions, creating and removing devices) by their outcome: done or the error's code.", "type", "outcome"),

  connections: gauge("Open connections to the port.", "front"),
  connections_total: counter("Connections that the port has taken.", "front"),
  connections_closed_total: counter("Connections of devices that ended, by the code of CLOSE; goodbye: the device said so; lost: the socket just ended.", "code"),
  hellos_total: counter("Handshakes that devices have begun."),
  hellos_refused_total: counter("Handshakes that ended without a session, by code.", "code"),
  devices_connected: gauge("Devices with an open session on this node."),

  deliveries_total: counter("Messages sent down to devices."),
  deliveries_expired_total: counter("Messages passed over because their expiry was over."),
  deliveries_missed_total: counter("Gaps that devices were told of: what they should have got is no longer kept, or larger than they take.", "code"),
  series_broken_total: counter("Sessions that were told that messages may be missing (BROKEN)."),
  streams_watched: gauge("Streams that somebody here follows: devices and readers over HTTP."),
  followers: gauge("Readers over HTTP that follow a stream or wait for its next entry."),

  http_requests_total: counter("HTTP requests answered. Followed streams are counted by `followers`.", "method", "route", "status"),
  http_request_seconds: histogram("Time from a request's head to its answer, long polls included.", "method", "route"),

  buckets: gauge("Buckets of the cluster."),
  buckets_led: gauge("Buckets that this node leads."),
  buckets_open: gauge("Buckets that this node serves."),
  entries_total: counter("Entries committed in the buckets of this node, since the first start."),
  entries_forgotten_total: counter("Entries that retention has let go, since the first start."),
  resident_bytes: gauge("Newest entries kept in memory."),

  log_bytes: gauge("Size of the write-ahead log."),
  log_segments: gauge("Files of the write-ahead log."),
  log_groups_total: counter("Groups written to the log: one fdatasync each."),
  log_written_bytes_total: counter("Bytes written to the log."),
  log_write_seconds: histogram("Time from handing a group to the disk until it is durable (write and fdatasync)."),

  state_bytes: gauge("Size of the state store."),
  checkpoints_total: counter("Checkpoints of a bucket's state."),
  checkpoint_bytes_total: counter("Bytes written by checkpoints, at most."),
  checkpoint_seconds: histogram("Time of one checkpoint of one bucket."),
  checkpoints_without_room_total: counter("Checkpoints that found the disk full; they are tried again."),
  removals_pending: gauge("Removed devices whose entries may still be in the log's files."),
  erased_entries_total: counter("Entries of removed devices whose payload was blanked in the log's files."),
  storage_full: gauge("1 while writes are refused because the disk is full."),
  disk_free_bytes: gauge("Free space on the disk of the data directory."),

  loop_delay_seconds: histogram("How late the event loop came to a timer that was due every 20 ms."),
  loop_blocked_total: counter("Times that the event loop was late by 100 ms or more."),
} as const satisfies Record<string, Family>;

export type MetricName = keyof typeof FAMILIES;

/** The table of docs/metrics.md. */
export function metricsMarkdown(): string {
  const lines = Object.entries<Family>(FAMILIES).map(([name, { type, labels, help }]) => `| \`bellhop_${name}\` | ${type} | ${labels.map((label) => `\`${label}\``).join(", ")} | ${help} |`);
  return ["| metric | type | labels | what it says |", "|---|---|---|---|", ...lines].join("\n");
}

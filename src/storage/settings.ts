// The limits of the log, each with its unit and its default.

import { assert } from "../base/assert.ts";
import { BLOCK } from "./record.ts";

export interface LogSettings {
  /** Size of a segment, bytes; a multiple of 512. */
  readonly segmentBytes: number;
  /** A group is closed when it holds this much, bytes. A record that is larger has a group of its own. */
  readonly groupBytes: number;
  /** Groups being written at once. */
  readonly groupsInFlight: number;
  /** Retired segments kept to be used again. */
  readonly poolSegments: number;
  /** When the sealed segments hold more than this many segments' worth of entries that could go, the oldest one's rest is copied forward. */
  readonly pinnedSegments: number;
  /** Pause before a write that found the disk full is tried again, milliseconds. */
  readonly fullRetryMs: number;
  /** A damaged log is opened and reported as unclean (R21): for a node whose copies other nodes have too. Else opening fails, and changes nothing. */
  readonly opensDamaged: boolean;
}

export const DEFAULT_LOG_SETTINGS: LogSettings = {
  segmentBytes: 64 * 1024 * 1024,
  groupBytes: 256 * 1024,
  groupsInFlight: 3,
  poolSegments: 2,
  pinnedSegments: 4,
  fullRetryMs: 250,
  opensDamaged: true,
};

export function checkLogSettings(settings: LogSettings): void {
  assert(settings.segmentBytes % BLOCK === 0 && settings.segmentBytes < 2 ** 32, "segmentBytes is a multiple of 512 below 4 GiB");
  assert(settings.groupBytes >= BLOCK && settings.groupBytes * 4 <= settings.segmentBytes, "four groups fit a segment");
  assert(settings.groupsInFlight >= 1 && settings.groupsInFlight <= 64, "groupsInFlight is 1 to 64");
}

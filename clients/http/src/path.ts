// Where a device is under a broker's address.

import { BellhopError } from "./errors.ts";

/** @throws BellhopError `bad_request` for what a URL cannot name: "." and ".." are steps in its path */
export function devicePath(device: string): string {
  if (device === "" || device === "." || device === "..") {
    throw new BellhopError("bad_request", `${JSON.stringify(device)} is no device's id.`, { retryable: false, device });
  }
  return `/v1/devices/${encodeURIComponent(device)}`;
}

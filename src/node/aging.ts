// Devices that keep less than the broker by age: proposes what each may forget, for the buckets led here; every copy forgets alike when the entry is applied.

import type { BucketCopy } from "../core/bucket.ts";
import { COMMAND, encodeCommand } from "../core/stream/commands.ts";
import type { Device } from "../core/stream/device.ts";
import { earliest, indexesOf } from "../core/stream/view.ts";
import type { Host } from "./host.ts";

/** Devices looked at in one round: the rest has its turn in the next one. */
const DEVICES_AT_LOOK = 1000;

export class Aging {
  readonly #host: Host;
  /** Where the next round begins. */
  #bucket = 0;
  #after = "";

  constructor(host: Host) {
    this.#host = host;
  }

  async look(): Promise<void> {
    const { core } = this.#host;
    const { length } = core.table.buckets;
    let left = DEVICES_AT_LOOK;
    for (let turn = 0; turn < length && left > 0 && !core.storageFull; turn += 1) {
      const copy = core.copy(this.#bucket);
      const devices = copy?.replica.role === "leader" && copy.replica.isOpen ? take(copy.machine.aging(this.#after), left) : [];
      for (const device of devices) await this.#age(copy!, device);
      left -= devices.length;
      this.#after = left === 0 ? (devices.at(-1)?.id ?? "") : "";
      if (left > 0) this.#bucket = (this.#bucket + 1) % length;
    }
  }

  async #age(copy: BucketCopy, device: Device): Promise<void> {
    const before = Date.now() - device.retain.seconds * 1000;
    const first = earliest(copy.machine, device);
    let low = first;
    let high = device.end + 1;
    if (low < high && (await this.#timeOf(copy, device, low)) >= before) return;
    while (low < high) {
      const middle = Math.floor((low + high) / 2);
      if ((await this.#timeOf(copy, device, middle)) < before) low = middle + 1; // A14: times never fall within a stream
      else high = middle;
    }
    if (low === first) return;
    const payload = encodeCommand({ command: COMMAND.trim, device: device.id, since: device.since, first: low });
    this.#host.run(() => {
      if (copy.replica.isOpen) copy.replica.propose(payload, Date.now());
    });
  }

  /** Milliseconds since 1970; an entry that is gone meanwhile is as old as can be. */
  async #timeOf(copy: BucketCopy, device: Device, offset: number): Promise<number> {
    const [index] = indexesOf(copy.machine, device, offset, offset).indexes;
    if (index === undefined) return 0;
    const [entry] = await this.#host.log.read(copy.bucket, [index], 1);
    return entry?.time ?? 0;
  }
}

function take(devices: Iterable<Device>, most: number): Device[] {
  const taken: Device[] = [];
  for (const device of devices) {
    taken.push(device);
    if (taken.length === most) break;
  }
  return taken;
}

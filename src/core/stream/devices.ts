// The devices in memory: those that changed since they were last encoded, and an lru-cache of clean ones. The rest is in the state store: a million known devices do not sit in memory.

import { LRUCache } from "lru-cache";
import { NumberMap } from "../../base/number-map.ts";
import { Device, decodeDevice, encodeDevice } from "./device.ts";
import { DEVICES, deviceName } from "./names.ts";
import type { Overlay } from "./overlay.ts";
import type { Session } from "./session.ts";

export class Devices {
  readonly #records: Overlay;
  readonly #dirty = new Map<string, Device>();
  readonly #clean: LRUCache<string, Device>;
  /** Current sessions of the devices in memory, by number: the hot path finds one by an integer. */
  readonly #sessions = new NumberMap<Session>();
  readonly #watched = new Map<string, number>();

  /** @param most clean devices kept in memory */
  constructor(records: Overlay, most: number) {
    this.#records = records;
    this.#clean = new LRUCache({
      max: most,
      dispose: (device, _, reason) => {
        if (reason === "evict") this.#unlist(device);
      },
    });
  }

  get dirty(): number {
    return this.#dirty.size;
  }

  find(id: string): Device | undefined {
    const known = this.#dirty.get(id) ?? this.#clean.get(id);
    if (known !== undefined) return known;
    const bytes = this.#records.get(deviceName(id));
    if (bytes === undefined) return undefined;
    const device = decodeDevice(bytes);
    this.#list(device);
    this.#clean.set(id, device);
    return device;
  }

  /** The session of this number, if it is in memory. */
  session(number: number): Session | undefined {
    return this.#sessions.get(number);
  }

  /** Makes a device known at this log index. */
  add(id: string, index: number): Device {
    const device = new Device(id, index);
    this.#list(device);
    this.touch(device);
    return device;
  }

  remove(device: Device): void {
    this.#unlist(device);
    this.#dirty.delete(device.id);
    this.#clean.delete(device.id);
    this.#records.set(deviceName(device.id), undefined);
  }

  /** The device changes: it stays in memory until it is encoded. */
  touch(device: Device): void {
    if (device.dirty) return;
    device.dirty = true;
    this.#clean.delete(device.id);
    this.#dirty.set(device.id, device);
  }

  put(device: Device, session: Session): void {
    const former = device.session(session.publisher);
    if (former !== undefined) this.#unlistSession(former);
    device.put(session);
    this.#listSession(session);
  }

  /** Encodes what changed; afterwards every device may be evicted. */
  settle(): void {
    for (const device of this.#dirty.values()) {
      this.#records.set(deviceName(device.id), encodeDevice(device));
      device.dirty = false;
      this.#clean.set(device.id, device);
    }
    this.#dirty.clear();
  }

  /** Known devices after the place of `after` ("" from the first), in the order of their names in the store. */
  *list(after: string): Iterable<Device> {
    this.settle();
    for (const [, bytes] of this.#records.range(DEVICES, after === "" ? "" : deviceName(after))) yield decodeDevice(bytes);
  }

  watch(id: string): void {
    this.#watched.set(id, (this.#watched.get(id) ?? 0) + 1);
    this.#flag(id, true);
  }

  unwatch(id: string): void {
    const left = (this.#watched.get(id) ?? 1) - 1;
    if (left > 0) {
      this.#watched.set(id, left);
      return;
    }
    this.#watched.delete(id);
    this.#flag(id, false);
  }

  clear(): void {
    this.#dirty.clear();
    this.#clean.clear();
    for (const session of this.#sessions.items()) session.current = false;
    this.#sessions.clear();
  }

  #flag(id: string, watched: boolean): void {
    const device = this.#dirty.get(id) ?? this.#clean.peek(id);
    if (device !== undefined) device.watched = watched;
  }

  #list(device: Device): void {
    device.watched = this.#watched.has(device.id);
    for (const session of device.sessions) this.#listSession(session);
  }

  #unlist(device: Device): void {
    for (const session of device.sessions) this.#unlistSession(session);
  }

  #listSession(session: Session): void {
    session.current = true;
    this.#sessions.set(session.number, session);
  }

  #unlistSession(session: Session): void {
    session.current = false;
    this.#sessions.delete(session.number);
  }
}

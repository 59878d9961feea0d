// The streams as simply as they can be said: plain maps, everything in memory, nothing encoded. What the machine must agree with.

import { PUBLISH_KIND, type PublishKind } from "../../../src/core/hop.ts";
import { COMMAND, type Command, type Keyed, type Open } from "../../../src/core/stream/commands.ts";

export interface Publish {
  readonly command: typeof COMMAND.publish;
  readonly device: string;
  readonly publisher: string;
  readonly session: number;
  readonly series: number;
  readonly kind: PublishKind;
  readonly code: number;
  /** A state patch, or a message's text. */
  readonly text: string;
}

interface ModelSession {
  readonly number: number;
  nonce: bigint;
  readonly generation: number;
  last: number;
  attachment: number;
}

interface ModelDevice {
  /** Log index and type of each entry of its stream. */
  readonly stream: { readonly index: number; readonly type: string }[];
  readonly sessions: Map<string, ModelSession>;
  readonly documents: Record<"reported" | "desired", { value: unknown; version: number }>;
  readonly keys: Map<string, { readonly fingerprint: string; readonly offset: number; readonly time: number }>;
  credentials: { readonly id: number; readonly name: string }[];
  delivered: number;
  handled: number;
  first: number;
  keepEntries: number;
}

export class Model {
  readonly devices = new Map<string, ModelDevice>();

  apply(index: number, time: number, command: Publish | Command): void {
    switch (command.command) {
      case COMMAND.publish:
        return this.#publish(index, command);
      case COMMAND.open:
        return this.#open(index, command);
      case COMMAND.attach: {
        const session = this.devices.get(command.device)?.sessions.get(command.publisher);
        if (!this.#isHeld(command)) return;
        if (session === undefined || session.number !== command.session || session.generation !== command.generation) return;
        if (command.nonce < session.nonce || command.oldest - 1 > session.last || session.last >= command.next) return;
        session.nonce = command.nonce;
        return this.#up(index, command.device, session, command.gateway !== undefined);
      }
      case COMMAND.detach:
        for (const gone of command.sessions) {
          const session = this.devices.get(gone.device)?.sessions.get("");
          if (session?.number !== gone.session || session.attachment !== gone.attachment) continue;
          session.attachment = 0;
          this.#show(gone.device, index, "presence");
        }
        return;
      case COMMAND.keyed:
        return this.#keyed(index, time, command);
      case COMMAND.state: {
        const version = this.devices.get(command.device)?.documents[command.which].version ?? 0;
        if (command.ifVersion !== undefined && command.ifVersion !== version) return;
        this.#change(index, command.device, command.which, command.how, new TextDecoder().decode(command.document));
        return;
      }
      case COMMAND.received:
        for (const cursor of command.cursors) {
          const device = this.devices.get(cursor.device);
          const session = device?.sessions.get("");
          if (device === undefined || session?.number !== cursor.session || session.attachment !== cursor.attachment) continue;
          device.delivered = Math.max(device.delivered, Math.min(device.stream.length, cursor.delivered));
          device.handled = Math.max(device.handled, Math.min(device.stream.length, cursor.handled));
        }
        return;
      case COMMAND.create: {
        const device = this.#known(command.device);
        device.keepEntries = command.retain?.entries ?? device.keepEntries;
        return forgetByCount(device);
      }
      case COMMAND.trim: {
        const device = this.devices.get(command.device);
        if (device !== undefined) device.first = Math.max(device.first, Math.min(command.first, device.stream.length + 1));
        return;
      }
      case COMMAND.sweep:
        return;
      case COMMAND.remove:
        this.devices.delete(command.device);
        return;
      case COMMAND.putCredential: {
        const held = this.devices.get(command.device)?.credentials ?? [];
        if (held.length < 4 && !held.some(({ name }) => name === command.name)) this.#known(command.device).credentials.push({ id: index, name: command.name });
        return;
      }
      case COMMAND.removeCredential: {
        const device = this.devices.get(command.device);
        if (device !== undefined) device.credentials = device.credentials.filter(({ name }) => name !== command.name);
        return;
      }
      case COMMAND.unkeyed:
      case COMMAND.forgetGateway:
        throw new Error("The model does not know publishes without a key: their tests are in resends.test.ts.");
    }
  }

  #known(id: string): ModelDevice {
    let device = this.devices.get(id);
    if (device === undefined) {
      const documents = { reported: { value: {}, version: 0 }, desired: { value: {}, version: 0 } };
      this.devices.set(id, (device = { stream: [], sessions: new Map(), documents, keys: new Map(), credentials: [], delivered: 0, handled: 0, first: 1, keepEntries: 0 }));
    }
    return device;
  }

  #show(id: string, index: number, type: string): void {
    const device = this.#known(id);
    device.stream.push({ index, type });
    forgetByCount(device);
  }

  #publish(index: number, publish: Publish): void {
    const session = this.devices.get(publish.device)?.sessions.get(publish.publisher);
    if (session?.number !== publish.session || publish.series !== session.last + 1) return;
    session.last += 1;
    if (publish.kind === PUBLISH_KIND.message) this.#show(publish.device, index, publish.publisher === "" ? "uplink" : "downlink");
    else if (publish.kind === PUBLISH_KIND.statePatch) this.#change(index, publish.device, "reported", "patch", publish.text);
  }

  #isHeld({ device, credential }: { readonly device: string; readonly credential: number }): boolean {
    return credential === 0 || this.devices.get(device)?.credentials.some(({ id }) => id === credential) === true;
  }

  #open(index: number, open: Open): void {
    if (!this.#isHeld(open)) return;
    const { sessions } = this.#known(open.device);
    const former = sessions.get(open.publisher);
    if (former !== undefined && open.nonce < former.nonce) return;
    if (former === undefined && sessions.size >= open.most) return;
    if (former?.nonce === open.nonce) return this.#up(index, open.device, former, open.gateway !== undefined);
    const session = { number: open.generation * 2 ** 40 + index, nonce: open.nonce, generation: open.generation, last: 0, attachment: 0 };
    sessions.set(open.publisher, session);
    this.#up(index, open.device, session, open.gateway !== undefined);
  }

  #up(index: number, id: string, session: ModelSession, attach: boolean): void {
    if (!attach) return;
    session.attachment = index;
    this.#show(id, index, "presence");
  }

  #keyed(index: number, time: number, keyed: Keyed): void {
    if (this.devices.get(keyed.device)?.keys.has(keyed.key) === true || (keyed.expires !== 0 && keyed.expires < time)) return;
    const { keys, stream } = this.#known(keyed.device);
    this.#show(keyed.device, index, "downlink");
    keys.set(keyed.key, { fingerprint: keyed.fingerprint, offset: stream.length, time });
  }

  #change(index: number, id: string, which: "reported" | "desired", how: "put" | "patch", text: string): void {
    let change: unknown;
    try {
      change = JSON.parse(text);
    } catch {
      return;
    }
    if (typeof change !== "object" || change === null || Array.isArray(change)) return;
    const document = this.#known(id).documents[which];
    document.value = how === "put" ? change : merged(document.value, change);
    document.version += 1;
    this.#show(id, index, "state");
  }
}

function forgetByCount(device: ModelDevice): void {
  if (device.keepEntries > 0) device.first = Math.max(device.first, device.stream.length - device.keepEntries + 1);
}

function merged(target: unknown, patch: unknown): unknown {
  if (typeof patch !== "object" || patch === null || Array.isArray(patch)) return patch;
  const names = typeof target === "object" && target !== null && !Array.isArray(target) ? new Map(Object.entries(target)) : new Map<string, unknown>();
  for (const [name, value] of Object.entries(patch)) {
    if (value === null) names.delete(name);
    else names.set(name, merged(names.get(name), value));
  }
  return Object.fromEntries(names);
}

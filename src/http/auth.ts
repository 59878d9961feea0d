// Who may call what (F2): the key of a request, by the SHA-256 of its secret, and the role that its route asks for.
// 401 where no known key came, 403 where it may not do this. What lives long with a key ends with it (F4).

import { hash, timingSafeEqual } from "node:crypto";
import type { FastifyReply, FastifyRequest } from "fastify";
import { assert } from "../base/assert.ts";
import { BellhopError } from "../base/errors.ts";
import type { ApiKey } from "../core/table/keys.ts";
import type { ApiKeys } from "../node/api.ts";
import type { Server } from "./server.ts";
import type { Role } from "./roles.ts";

/** What a request may do, and until when. */
export interface Access {
  readonly name: string;
  readonly role: Role;
  /** Only devices whose id begins with this; "" for every call. */
  readonly devices: string;
  /** Aborts when the key is revoked or has expired: waiting requests and followed streams end. */
  readonly ended: AbortSignal;
}

declare module "fastify" {
  interface FastifyRequest {
    access: Access;
  }
}

/** Where no keys are asked for. */
export const EVERYONE: Access = { name: "", role: "admin", devices: "", ended: new AbortController().signal };
const NOBODY: Access = { ...EVERYONE, role: "read", devices: "" };

const RANKS: Readonly<Record<Role, number>> = { read: 0, publish: 1, admin: 2 };
const BEARER = /^Bearer +([\x21-\x7e]{1,255})$/i;
/** Digits of a digest that keys are found by; the rest is compared in constant time. */
const PREFIX_DIGITS = 16;
/** Greatest wait for an expiry: longer ones are looked at again. Milliseconds. */
const LOOK_AGAIN_MS = 24 * 3600 * 1000;

interface Holder extends Access {
  readonly digest: Buffer;
  /** Milliseconds since 1970; 0: never. */
  readonly expires: number;
  readonly end: AbortController;
}

export class KeyRing {
  readonly #keys: ApiKeys;
  readonly #unwatch: () => void;
  /** The administrator's key of the settings: no record of the control log. */
  readonly #own: Holder | undefined;
  #holders = new Map<string, Holder>();
  #timer: NodeJS.Timeout | undefined;

  /** @param adminKey a secret that is an administrator's key beside the others; "" for none */
  constructor(keys: ApiKeys, adminKey: string) {
    this.#keys = keys;
    this.#own = adminKey === "" ? undefined : holderOf({ name: "BELLHOP_ADMIN_KEY", digest: sha256(adminKey), role: "admin", devices: "", created: 0, expires: 0 });
    this.#unwatch = keys.watch(() => this.#load());
    this.#load();
  }

  /** undefined where the header names no key, or one that is not known or has expired. */
  find(authorization: string | undefined): Access | undefined {
    const secret = BEARER.exec(authorization ?? "")?.[1];
    if (secret === undefined) return undefined;
    const digest = sha256(secret);
    const holder = this.#holders.get(digest.slice(0, PREFIX_DIGITS));
    if (holder === undefined || !timingSafeEqual(holder.digest, Buffer.from(digest, "hex"))) return undefined;
    return isOver(holder) ? undefined : holder;
  }

  close(): void {
    this.#unwatch();
    clearTimeout(this.#timer);
  }

  /** Keys that stay keep their holder, so that only what was made with a removed one ends. */
  #load(): void {
    const before = this.#holders;
    this.#holders = new Map();
    if (this.#own !== undefined) this.#hold(this.#own);
    for (const key of this.#keys.all.values()) {
      const known = before.get(key.digest.slice(0, PREFIX_DIGITS));
      this.#hold(known?.name === key.name ? known : holderOf(key));
    }
    for (const [prefix, holder] of before) if (this.#holders.get(prefix) !== holder) holder.end.abort();
    this.#endExpired();
  }

  #hold(holder: Holder): void {
    this.#holders.set(holder.digest.toString("hex").slice(0, PREFIX_DIGITS), holder);
  }

  #endExpired(): void {
    clearTimeout(this.#timer);
    let next = Infinity;
    for (const holder of this.#holders.values()) {
      if (isOver(holder)) holder.end.abort();
      else if (holder.expires !== 0) next = Math.min(next, holder.expires);
    }
    if (next === Infinity) return;
    this.#timer = setTimeout(() => this.#endExpired(), Math.min(LOOK_AGAIN_MS, Math.max(1, next - Date.now())));
    this.#timer.unref();
  }
}

/**
 * Of every request: its `access`, or the refusal as a throw. `ring` undefined: everyone may do everything.
 * @throws BellhopError `unauthenticated`, `forbidden`
 */
export function guarded(server: Server, ring: KeyRing | undefined): (request: FastifyRequest, reply: FastifyReply) => void {
  server.decorateRequest("access", null as unknown as Access);
  server.addHook("onRoute", ({ url, config }) => assert(config?.role !== undefined || !url.startsWith("/v1/"), `${url} says which role it is for`));
  return (request, reply) => {
    request.access = EVERYONE;
    const refusal = ring === undefined ? undefined : refusalOf(ring, request, reply);
    if (refusal !== undefined) throw refusal;
  };
}

function refusalOf(ring: KeyRing, request: FastifyRequest, reply: FastifyReply): BellhopError | undefined {
  request.access = NOBODY;
  const wanted = request.is404 ? "read" : (request.routeOptions.config.role ?? "admin");
  if (wanted === "anyone") return undefined;
  const { authorization } = request.headers;
  const access = ring.find(authorization);
  if (access === undefined) {
    void reply.header("www-authenticate", authorization === undefined ? `Bearer realm="bellhop"` : `Bearer realm="bellhop", error="invalid_token"`);
    return new BellhopError("unauthenticated", "Send a valid key: `Authorization: Bearer bhk_…`.");
  }
  if (RANKS[access.role] < RANKS[wanted]) {
    void reply.header("www-authenticate", `Bearer realm="bellhop", error="insufficient_scope", scope="${wanted}"`);
    return new BellhopError("forbidden", `The key ${access.name} has the role ${access.role}; this call wants ${wanted}.`);
  }
  const { device } = request.params as { readonly device?: string };
  if (access.devices !== "" && device?.startsWith(access.devices) !== true) {
    return new BellhopError("forbidden", `The key ${access.name} is for devices whose id begins with ${JSON.stringify(access.devices)}, and for calls that name one.`);
  }
  request.access = access;
  return undefined;
}

/** Hexadecimal. */
export function sha256(secret: string): string {
  return hash("sha256", secret, "hex");
}

function holderOf({ name, digest, role, devices, expires }: ApiKey): Holder {
  const end = new AbortController();
  return { name, role, devices, expires, digest: Buffer.from(digest, "hex"), end, ended: end.signal };
}

function isOver({ expires }: Holder): boolean {
  return expires !== 0 && expires <= Date.now();
}

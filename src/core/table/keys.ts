// The API keys, as part of the table: few, known to every node, each by the SHA-256 of its secret only (F2).

/** What a key may do: `publish` may read too, `admin` may do everything. */
export type Role = "read" | "publish" | "admin";

const ROLES: readonly Role[] = ["read", "publish", "admin"];

export interface ApiKey {
  /** A label, unique among the keys. */
  readonly name: string;
  /** SHA-256 of the secret, 64 hexadecimal digits. */
  readonly digest: string;
  readonly role: Role;
  /** Only devices whose id begins with this; "" for all, and for calls that name no device. */
  readonly devices: string;
  /** Milliseconds since 1970, the clock of who made it; `expires` 0: never. */
  readonly created: number;
  readonly expires: number;
}

export type KeyCommand =
  | { readonly type: "putKey"; readonly key: ApiKey }
  | { readonly type: "removeKey"; readonly name: string; readonly digest: string };

/** Keys at once. The same on every node. */
export const MOST_KEYS = 1000;
const KEY_NAME = /^[a-z0-9][a-z0-9._-]{0,62}$/;
const DIGEST = /^[0-9a-f]{64}$/;

export type Keys = ReadonlyMap<string, ApiKey>;

/** The keys after the command; the same map where a guard fails. */
export function foldKey(keys: Keys, command: KeyCommand): Keys {
  if (command.type === "putKey") return isPut(keys, command.key) ? new Map(keys).set(command.key.name, command.key) : keys;
  if (keys.get(command.name)?.digest !== command.digest) return keys; // R2: decided on this key
  const left = new Map(keys);
  left.delete(command.name);
  return left;
}

/** R2: a key is put once; another secret wants another name, and no two names share one. */
function isPut(keys: Keys, { name, digest, role }: ApiKey): boolean {
  if (keys.size >= MOST_KEYS || keys.has(name)) return false;
  if (!KEY_NAME.test(name) || !DIGEST.test(digest) || !ROLES.includes(role)) return false;
  return ![...keys.values()].some((key) => key.digest === digest);
}

/** By name: equal keys give equal bytes of a snapshot, whatever order they came in. */
export function sortedKeys(keys: Keys): ApiKey[] {
  return [...keys.values()].sort((a, b) => (a.name < b.name ? -1 : 1));
}

// A slow decoder of device frames, written to be obviously right: first any msgpack into a tree, then the grammar of the page on the tree.
// The real codec must accept and refuse the same frames.

import { MAX_DEPTH, MAX_SKIPPED } from "../../src/wire/msgpack.ts";

type Tree =
  | { readonly is: "number"; readonly value: bigint; readonly float: boolean }
  | { readonly is: "string" | "binary" | "extension"; readonly bytes: Buffer }
  | { readonly is: "nil" | "boolean" | "other" }
  | { readonly is: "array" | "map"; readonly items: readonly Tree[] };

class Refused extends Error {}

function need(condition: boolean): asserts condition {
  if (!condition) throw new Refused();
}

function parse(bytes: Buffer, start: number, depth: number): [Tree, number] {
  need(start < bytes.length && depth <= 64);
  const head = bytes[start]!;
  const at = start + 1;
  const unsigned = (size: number): bigint => {
    need(at + size <= bytes.length);
    return BigInt(`0x${bytes.subarray(at, at + size).toString("hex")}`);
  };
  const signed = (size: number): bigint => BigInt.asIntN(8 * size, unsigned(size));
  const raw = (is: "string" | "binary" | "extension", size: number, extra: number, length = Number(unsigned(size))): [Tree, number] => {
    const from = at + size;
    need(from + length + extra <= bytes.length);
    return [{ is, bytes: bytes.subarray(from, from + length + extra) }, from + length + extra];
  };
  const many = (is: "array" | "map", count: number, from: number): [Tree, number] => {
    const items: Tree[] = [];
    let next = from;
    for (let i = 0; i < (is === "map" ? 2 * count : count); i += 1) {
      const [item, behind] = parse(bytes, next, depth + 1);
      items.push(item);
      next = behind;
    }
    return [{ is, items }, next];
  };
  const number = (value: bigint, size: number, float = false): [Tree, number] => [{ is: "number", value, float }, at + size];
  if (head < 0x80) return number(BigInt(head), 0);
  if (head >= 0xe0) return number(BigInt(head - 256), 0);
  if (head < 0x90) return many("map", head & 15, at);
  if (head < 0xa0) return many("array", head & 15, at);
  if (head < 0xc0) {
    need(at + (head & 31) <= bytes.length);
    return raw("string", 0, 0, head & 31);
  }
  switch (head) {
    case 0xc0: return [{ is: "nil" }, at];
    case 0xc2: case 0xc3: return [{ is: "boolean" }, at];
    case 0xc4: return raw("binary", 1, 0);
    case 0xc5: return raw("binary", 2, 0);
    case 0xc6: return raw("binary", 4, 0);
    case 0xc7: return raw("extension", 1, 1);
    case 0xc8: return raw("extension", 2, 1);
    case 0xc9: return raw("extension", 4, 1);
    case 0xca: need(at + 4 <= bytes.length); return [{ is: "other" }, at + 4];
    case 0xcb: {
      need(at + 8 <= bytes.length);
      const value = bytes.readDoubleBE(at);
      return Number.isInteger(value) ? number(BigInt(value), 8, true) : [{ is: "other" }, at + 8];
    }
    case 0xcc: return number(unsigned(1), 1);
    case 0xcd: return number(unsigned(2), 2);
    case 0xce: return number(unsigned(4), 4);
    case 0xcf: return number(unsigned(8), 8);
    case 0xd0: return number(signed(1), 1);
    case 0xd1: return number(signed(2), 2);
    case 0xd2: return number(signed(4), 4);
    case 0xd3: return number(signed(8), 8);
    case 0xd4: case 0xd5: case 0xd6: case 0xd7: case 0xd8: return raw("extension", 0, 1, 1 << (head - 0xd4));
    case 0xd9: return raw("string", 1, 0);
    case 0xda: return raw("string", 2, 0);
    case 0xdb: return raw("string", 4, 0);
    case 0xdc: return many("array", Number(unsigned(2)), at + 2);
    case 0xdd: return many("array", Number(unsigned(4)), at + 4);
    case 0xde: return many("map", Number(unsigned(2)), at + 2);
    case 0xdf: return many("map", Number(unsigned(4)), at + 4);
    default: throw new Refused();
  }
}

const SAFE = BigInt(Number.MAX_SAFE_INTEGER);
type Rule = (tree: Tree) => void;

const uint = (min: number | bigint, max: number | bigint = SAFE): Rule => (tree) => need(tree.is === "number" && tree.value >= min && tree.value <= max);
const u64: Rule = (tree) => need(tree.is === "number" && tree.value >= 0n && tree.value < (tree.float ? SAFE + 1n : 1n << 64n));
const utf8 = (tree: Tree): string => {
  need(tree.is === "string");
  const text = tree.bytes.toString("utf8");
  need(Buffer.from(text, "utf8").equals(tree.bytes));
  return text;
};
const str = (max: number): Rule => (tree) => {
  utf8(tree);
  need(tree.is === "string" && tree.bytes.length <= max);
};
const deviceId: Rule = (tree) => {
  str(128)(tree);
  need(/^\P{Cc}+$/u.test(utf8(tree)));
};
const bin: Rule = (tree) => need(tree.is === "binary" && tree.bytes.length <= 1 << 24);
const bool: Rule = (tree) => need(tree.is === "boolean");
const orNil = (rule: Rule): Rule => (tree) => (tree.is === "nil" ? undefined : rule(tree));

function unknown(tree: Tree, depth: number, budget: { left: number }): void {
  budget.left -= 1;
  need(budget.left >= 0 && depth <= MAX_DEPTH);
  if (tree.is === "array" || tree.is === "map") for (const item of tree.items) unknown(item, depth + 1, budget);
}

/** Rules for the elements in turn; those after the first `required` may be left out; what follows is unknown. */
function elements(tree: Tree, required: number, rules: readonly Rule[], budget: { left: number }): void {
  need(tree.is === "array" && tree.items.length >= required);
  tree.items.forEach((item, i) => (i < rules.length ? rules[i]!(item) : unknown(item, 0, budget)));
}

const header: Rule = (tree) => {
  need(tree.is === "map" && tree.items.length <= 128);
  const names = tree.items.filter((_item, i) => i % 2 === 0).map(utf8);
  names.forEach((name) => need(name !== "" && Buffer.byteLength(name) <= 128));
  need(new Set(names).size === names.length);
  tree.items.forEach((item, i) => i % 2 === 1 && str(4096)(item));
};

const body = (isVoid: boolean, budget: { left: number }): Rule => (tree) =>
  elements(tree, 3, [
    (payload) => need(payload.is === "binary" || (payload.is === "nil" && isVoid) || utf8(payload) !== undefined),
    orNil(header),
    orNil(uint(0)),
  ], budget);

const voids = (budget: { left: number }): Rule => (tree) => {
  need(tree.is === "array" && tree.items.length <= 65_535);
  tree.items.forEach((one) => elements(one, 2, [any, str(64)], budget));
};

const window = uint(0, 65_535);
const any = uint(0);

/** Would a codec that keeps to the page take this frame (without its length)? */
export function accepts(frame: Buffer, byBroker: boolean): boolean {
  try {
    const [tree, end] = parse(frame, 0, 0);
    need(end === frame.length && tree.is === "array");
    const first = tree.items[0];
    need(first !== undefined && first.is === "number");
    const budget = { left: MAX_SKIPPED };
    const check = (required: number, ...rules: Rule[]): void => elements(tree, required, [any, ...rules], budget);
    const second = tree.items[1];
    switch (byBroker ? Number(first.value) : -Number(first.value)) {
      case 1: {
        const numbers = [orNil(any), orNil(uint(1, 65_535)), orNil((wrap) => need(wrap.is === "number" && (wrap.value === 0n || (wrap.value >= 16n && wrap.value <= 1n << 32n)))),
          orNil(uint(0, 65_535)), orNil(uint(0, 65_535)), orNil(uint(1024, 1 << 24)), orNil(any), orNil(any)];
        check(8, uint(1, 1), deviceId, str(1024), any, u64, uint(1), uint(1), ...numbers);
        const [oldest, next] = [tree.items[6]!, tree.items[7]!];
        need(oldest.is === "number" && next.is === "number" && oldest.value <= next.value);
        break;
      }
      case 2: {
        const kind = tree.items[2];
        check(4, any, uint(0, 2), body(kind?.is === "number" && kind.value === 2n, budget));
        break;
      }
      case 3: check(3, any, uint(0, second?.is === "number" ? second.value : 0)); break;
      case 4: check(2, uint(1, 0xffff_ffff)); break;
      case 5: case 6: check(1); break;
      case -17: check(14, any, any, any, any, any, window, uint(0, 1n << 32n), window, uint(0, 1 << 24), window, any, any, any, orNil(voids(budget))); break;
      case -18: check(2, any, orNil(voids(budget))); break;
      case -19: check(4, any, str(64), bool); break;
      case -20: check(4, any, body(false, budget), any); break;
      case -21:
        if (tree.items.length >= 6) check(6, uint(0, 0xffff_ffff), any, bin, any, bin);
        else elements(tree, 4, [any, uint(0, 0xffff_ffff), any, bin], budget);
        break;
      case -22: check(2, window); break;
      case -23: check(4, any, any, u64); break;
      case -24: check(1); break;
      case -25: check(5, str(64), str(1024), any, bool); break;
      case -26: check(4, any, any, str(64)); break;
      default: throw new Refused();
    }
    return true;
  } catch (error) {
    if (error instanceof Refused) return false;
    throw error;
  }
}

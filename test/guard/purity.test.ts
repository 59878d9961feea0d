// Lint holds the purity of base, core and wire; this shows that each forbidden thing is found, and that plain code passes.

import { ESLint } from "eslint";
import { join } from "node:path";
import tseslint from "typescript-eslint";
import { describe, expect, test } from "vitest";

const root = join(import.meta.dirname, "../..");

// The planted text is no file of the project, so the rules that need types are off here.
const eslint = new ESLint({ cwd: root, overrideConfig: [{ files: ["**/*.ts"], ...tseslint.configs.disableTypeChecked }] });

async function rulesBroken(path: string, text: string): Promise<string[]> {
  const results = await eslint.lintText(`${text}\n`, { filePath: join(root, path) });
  return results.flatMap((result) => result.messages.map((message) => message.ruleId ?? message.message));
}

describe("purity of src/core, src/wire and src/base", () => {
  test.each([
    ["no-restricted-imports", `export { readFileSync } from "node:fs";`],
    ["no-restricted-imports", `export { fastify } from "fastify";`],
    ["no-restricted-imports", `export type { Logger } from "pino";`],
    ["no-restricted-globals", `export const now = (): number => Date.now();`],
    ["no-restricted-globals", `export const now = (): number => performance.now();`],
    ["no-restricted-globals", `export const later = (): unknown => setTimeout(() => 1, 5);`],
    ["no-restricted-globals", `export const later = (): unknown => setImmediate(() => 1);`],
    ["no-restricted-globals", `export const later = (): void => queueMicrotask(() => undefined);`],
    ["no-restricted-globals", `export const later = Promise.resolve();`],
    ["no-restricted-globals", `export const home = process.env;`],
    ["no-restricted-globals", `export const id = crypto.randomUUID();`],
    ["no-restricted-globals", `export const get = (): unknown => fetch("/");`],
    ["no-restricted-globals", `export const now = (globalThis as unknown as { Date: { now(): number } }).Date.now();`],
    ["no-restricted-properties", `export const chance = Math.random();`],
    ["no-restricted-syntax", `export async function wait(): Promise<void> {}`],
    ["no-restricted-syntax", `export const wait = async (): Promise<void> => {};`],
    ["no-restricted-syntax", `export const load = (): unknown => import("./other.ts");`],
  ])("%s finds %s", async (rule, text) => {
    for (const folder of ["src/core", "src/core/replica", "src/wire", "src/base"]) {
      expect(await rulesBroken(`${folder}/planted.ts`, text)).toContain(rule);
    }
  });

  test("plain code passes, and so does the clock outside", async () => {
    expect(await rulesBroken("src/core/planted.ts", `import { assert } from "../base/assert.ts";\nexport const half = (n: number): number => (assert(n > 0, "n"), n / 2);`)).toEqual([]);
    expect(await rulesBroken("src/node/planted.ts", `export const now = (): number => Date.now();`)).toEqual([]);
  });
});

describe("the promise rules", () => {
  test("are on in every TypeScript file", async () => {
    for (const path of ["src/node/planted.ts", "test/storage/planted.test.ts", "bench/load/planted.ts", "clients/device/src/planted.ts"]) {
      const { rules } = (await new ESLint({ cwd: root }).calculateConfigForFile(join(root, path))) as { rules: Record<string, [number]> };
      for (const rule of ["no-floating-promises", "no-misused-promises", "await-thenable"]) expect(rules[`@typescript-eslint/${rule}`]?.[0]).toBe(2);
    }
  });
});

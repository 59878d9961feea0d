// Bundles the simulator into one file, whole or with one rule broken: mutants live here, the production source has no switches.

import { build, type Plugin } from "esbuild";
import { readFileSync } from "node:fs";
import { join, relative, sep } from "node:path";
import type { CASES } from "./cases.ts";

/** One rule broken on purpose. The simulator must catch it within `budget` seeds. */
export interface Mutant {
  readonly name: string;
  /** The rule of the protocol that it breaks, e.g. "R13". */
  readonly rule: string;
  /** From the project's root. */
  readonly file: string;
  /** Found exactly once in the file. */
  readonly find: string;
  readonly replace: string;
  /** Seeds. */
  readonly budget: number;
  /** A directed case that catches it, run before the seeds. */
  readonly directed?: keyof typeof CASES;
}

export const ROOT = join(import.meta.dirname, "../..");

/** @throws when `find` is not there exactly once: the mutant no longer says what it means. */
export function mutate(text: string, mutant: Mutant): string {
  const places = text.split(mutant.find).length - 1;
  if (places !== 1) throw new Error(`mutant "${mutant.name}": its text is ${places} times in ${mutant.file}, not once`);
  return text.replace(mutant.find, () => mutant.replace);
}

/** Writes the bundle of `test/simulator/worker.ts` to `outfile`. */
export async function bundleSimulator(outfile: string, mutant: Mutant | undefined): Promise<void> {
  let applied = false;
  const plugin: Plugin = {
    name: "mutant",
    setup(bundle) {
      bundle.onLoad({ filter: /\.ts$/ }, ({ path }) => {
        const file = relative(ROOT, path).split(sep).join("/");
        if (mutant === undefined || file !== mutant.file) return undefined;
        applied = true;
        return { contents: mutate(readFileSync(path, "utf8"), mutant), loader: "ts" };
      });
    },
  };
  await build({
    entryPoints: [join(ROOT, "test/simulator/worker.ts")],
    outfile,
    bundle: true,
    platform: "node",
    format: "esm",
    target: "node20",
    packages: "external",
    sourcemap: "linked",
    logLevel: "error",
    plugins: [plugin],
  });
  if (mutant !== undefined && !applied) throw new Error(`mutant "${mutant.name}": ${mutant.file} is no part of the simulator`);
}

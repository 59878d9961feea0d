// Every mutant, and the branches that need not be reached.

import type { Mutant } from "../bundle.ts";

export const MUTANTS: readonly Mutant[] = [];

/** Branches that exist for what must never happen. */
export const NEVER_REACHED: readonly { readonly file: string; readonly text: string }[] = [];

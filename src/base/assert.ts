// Invariants, asserted in production: a broken one is thrown as a BrokenInvariant, on which the node logs and stops.

export class BrokenInvariant extends Error {
  override readonly name = "BrokenInvariant";
}

export function assert(condition: boolean, invariant: string): asserts condition {
  if (!condition) throw new BrokenInvariant(invariant);
}

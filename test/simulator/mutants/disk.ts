// Mutants of the rules that live in the driver and the log: they are broken in the simulated disk and node, which stand for the real ones here.
// The real log has a crash simulation of its own.

import type { Mutant } from "../bundle.ts";

const file = "test/simulator/disk.ts";

export const DISK_MUTANTS: readonly Mutant[] = [
  {
    name: "ack before fsync", rule: "R14", file,
    find: "    this.handedOver = group.ticket;\n",
    replace: "    this.handedOver = group.ticket;\n    disk.world.after(1, this.#process, \"early\", \"\", () => this.#events.durable(group.ticket));\n",
    budget: 300,
  },
  { name: "a later group acked before an earlier", rule: "R14", file, find: "if (!groups[at]!.synced) return;", replace: "at = groups.lastIndexOf(group);", budget: 600 },
  {
    name: "clean by a shutdown marker", rule: "R21", file,
    find: "const clean = !this.unclean;",
    replace: "const clean = true;",
    budget: 600,
  },
  {
    name: "unclean is not marked", rule: "R22", file,
    find: 'records: [...buckets].map((bucket) => ({ type: "mark", bucket, incomplete: true }))', replace: "records: []", budget: 1500,
  },
  {
    name: "ack a recovered page that was not synced", rule: "R23", file,
    find: "for (const group of this.groups) group.synced = true;",
    replace: "",
    budget: 600,
  },
  {
    name: "a group resurrected after a cut", rule: "R23", file,
    find: "if (firstDamaged !== -1) this.groups.length = firstDamaged;",
    replace: "if (firstDamaged !== -1) this.groups.splice(firstDamaged, 1);",
    budget: 1500,
  },
  {
    name: "a copied record replaces", rule: "R24", file,
    find: "for (const entry of record.entries) if (!this.entries.has(entry.index)) this.entries.set(entry.index, entry);",
    replace: 'for (const entry of record.entries) this.add({ type: "entry", bucket: record.bucket, entry });',
    budget: 1500,
  },
  {
    name: "a failed sync does not stop the node", rule: "R24", file,
    find: "      this.#events.failed(); // R24: the node stops.\n      return;",
    replace: "      group.synced = true;\n      this.#tellDurable(group);\n      group.synced = false;\n      return;",
    budget: 600,
  },
  { name: "a reset leaves the copy unmarked", rule: "R22", file, find: "        this.incomplete = true;\n", replace: "", budget: 600 },
];

// A cluster in words: what moves is told, and not what has been done.

import { expect, test } from "vitest";
import { clusterInWords, type Cluster } from "../../src/cli/cluster-words.ts";

const plan = { bucket: 63, series: 1, step: 0, target: ["n1", "n2", "n3"], leader: "n1" };
const cluster = (incomplete: number): Cluster => ({
  self: "n1", controlSeconds: 0, copies: 3, minCopies: 2, position: "1", buckets: 64, incomplete, nodes: [], links: [], learners: [],
  plans: [{ ...plan, kind: "recover" }, { ...plan, kind: "migrate", bucket: 7 }], dark: { count: 0, buckets: [] },
});

test("a repair is told while a copy is missing, and not behind \"every bucket has its 3 copies\"", () => {
  expect(clusterInWords(cluster(1))).toContain("repair bucket 63");
  const whole = clusterInWords(cluster(0));
  expect(whole).toContain("every bucket has its 3 copies");
  expect(whole).not.toContain("repair");
  expect(whole).toContain("migrate bucket 7");
});

// The control log's twin in memory passes the port's conformance suite.

import { MemoryControl, SharedControl } from "../../src/control/memory.ts";
import { controlConformance } from "../conformance/control.ts";

controlConformance("memory", async () => {
  const shared = new SharedControl();
  return {
    connect: async () => new MemoryControl(shared),
    crash: async () => new MemoryControl(shared),
    destroy: async () => undefined,
  };
});

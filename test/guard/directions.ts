// The direction of imports: base ← core, base ← wire, {core, wire} ← {storage, control, peer} ← node ← {device, http} ← broker ← cli ← main.
// Each layer names what it may import from; everything else is forbidden. Rules for dependency-cruiser.

import type { IForbiddenRuleType } from "dependency-cruiser";

/** Layer → the layers it may import from, itself left out. A layer is a path under the root. */
const MAY_IMPORT: Record<string, readonly string[]> = {
  "src/base": [],
  "src/core": ["src/base"],
  "src/wire": ["src/base"],
  "src/observe": ["src/base"],
  "src/config": ["src/base"],
  "src/doors": ["src/base", "src/observe", "src/config"],
  "src/storage": ["src/base", "src/core", "src/wire"],
  "src/control": ["src/base", "src/core", "src/wire"],
  "src/peer": ["src/base", "src/core", "src/wire"],
  "src/node": ["src/base", "src/core", "src/wire", "src/observe", "src/config", "src/storage", "src/control", "src/peer"],
  "src/device": ["src/base", "src/core", "src/wire", "src/observe", "src/config", "src/doors", "src/node"],
  "src/http": ["src/base", "src/core", "src/wire", "src/observe", "src/config", "src/doors", "src/node"],
  "src/check": ["src/base", "src/core", "clients"],
  "src/broker": [
    "src/base", "src/core", "src/wire", "src/observe", "src/config", "src/doors", "src/storage", "src/control", "src/peer", "src/node", "src/device", "src/http",
  ],
  "src/cli": ["src/(?!main)", "clients", "bench"],
  "src/main": ["src/(?!main)"],
  "clients": ["src/base", "src/wire"],
  "bench": ["src/(?!main)", "clients"],
};

/** `src/config` is `src/config.ts` or `src/config/…`, and not `src/configure.ts`. */
const inside = (layer: string): string => (layer.endsWith(")") ? `^${layer}` : `^${layer}(/|\\.ts$)`);

const layerRules: IForbiddenRuleType[] = Object.entries(MAY_IMPORT).map(([layer, allowed]) => ({
  name: `direction-of-${layer}`,
  severity: "error",
  from: { path: inside(layer) },
  to: { path: "^(src|clients|bench|test)/", pathNot: [inside(layer), ...allowed.map(inside)] },
}));

export const DIRECTIONS: IForbiddenRuleType[] = [
  ...layerRules,
  {
    name: "every-file-has-a-layer",
    severity: "error",
    from: { path: "^(src|clients|bench)/", pathNot: Object.keys(MAY_IMPORT).map(inside) },
    to: {},
  },
  {
    name: "replica-knows-no-stream", // B13: another state machine can stand behind the replica.
    severity: "error",
    from: { path: "^src/core/replica/" },
    to: { path: "^src/core/(stream|gateway)/" },
  },
  {
    name: "pure-code-needs-no-platform",
    severity: "error",
    from: { path: "^src/(base|core|wire)/" },
    to: { dependencyTypes: ["core"] },
  },
  { name: "no-circle", severity: "error", from: { path: "^(src|clients|bench)/" }, to: { circular: true, viaOnly: { dependencyTypesNot: ["type-only"] } } },
];

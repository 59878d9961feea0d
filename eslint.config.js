// Lint: the promise rules everywhere, the purity of base, core and wire, and one length limit for files.

import tseslint from "typescript-eslint";

/** The only packages that pure code may import: used without its time limits, lru-cache reads no clock. */
const PURE_PACKAGES = ["lru-cache"];

const IMPURE_GLOBALS = [
  "Date", "performance", "setTimeout", "setInterval", "setImmediate", "queueMicrotask", "clearTimeout", "clearInterval", "clearImmediate",
  "Promise", "process", "crypto", "fetch", "console", "require", "globalThis", "global",
];

const PURE = "base, core and wire are pure and synchronous: time, chance and effects come in as parameters and go out through a sink.";

export default tseslint.config(
  { ignores: ["**/dist/", "**/node_modules/", "coverage/", ".cache/", "bellhop-data/", "**/*.js", "**/*.mjs", "**/*.d.ts"] },
  { linterOptions: { reportUnusedDisableDirectives: "error" } },
  {
    files: ["**/*.ts"],
    extends: [tseslint.configs.base, tseslint.configs.eslintRecommended],
    languageOptions: { parserOptions: { projectService: true, tsconfigRootDir: import.meta.dirname } },
    rules: {
      "@typescript-eslint/no-floating-promises": "error",
      "@typescript-eslint/no-misused-promises": "error",
      "@typescript-eslint/await-thenable": "error",
      "@typescript-eslint/return-await": ["error", "error-handling-correctness-only"],
      "@typescript-eslint/only-throw-error": "error",
      "@typescript-eslint/prefer-promise-reject-errors": "error",
      "@typescript-eslint/no-array-delete": "error",
      "@typescript-eslint/no-base-to-string": "error",
      "@typescript-eslint/no-explicit-any": "error",
      "@typescript-eslint/no-for-in-array": "error",
      "@typescript-eslint/no-unused-expressions": "error",
      "@typescript-eslint/no-unnecessary-type-assertion": "error",
      "@typescript-eslint/switch-exhaustiveness-check": ["error", { considerDefaultExhaustiveForUnions: true }],
      "array-callback-return": "error",
      "eqeqeq": "error",
      "no-constant-binary-expression": "error",
      "no-constant-condition": ["error", { checkLoops: "allExceptWhileTrue" }],
      "no-control-regex": "error",
      "no-debugger": "error",
      "no-empty": "error",
      "no-fallthrough": "error",
      "no-self-compare": "error",
      "no-shadow-restricted-names": "error",
      "no-template-curly-in-string": "error",
      "no-unsafe-finally": "error",
      "no-useless-catch": "error",
      "no-var": "error",
      "object-shorthand": "error",
      "prefer-const": "error",
      "max-lines": ["error", { max: 600 }],
    },
  },
  {
    files: ["src/base/**/*.ts", "src/core/**/*.ts", "src/wire/**/*.ts"],
    rules: {
      "no-restricted-imports": ["error", { patterns: [{ regex: `^(?!\\.{1,2}/|(?:${PURE_PACKAGES.join("|")})$)`, message: PURE }] }],
      "no-restricted-globals": ["error", ...IMPURE_GLOBALS.map((name) => ({ name, message: PURE }))],
      "no-restricted-properties": ["error", { object: "Math", property: "random", message: PURE }],
      "no-restricted-syntax": ["error",
        { selector: ":function[async=true]", message: PURE },
        { selector: "AwaitExpression", message: PURE },
        { selector: "ForOfStatement[await=true]", message: PURE },
        { selector: "ImportExpression", message: PURE },
      ],
    },
  },
  // A file that may be longer than 600 lines stands here, with its reason. There is none.
);

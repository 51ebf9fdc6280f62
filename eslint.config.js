import js from "@eslint/js";
import globals from "globals";

export default [
  js.configs.recommended,
  {
    files: ["js/**/*.js", "tests/js/**/*.js", "scripts/**/*.js", "training/**/*.js"],
    rules: {
      "curly": "error",
      "eqeqeq": ["error", "always", { null: "ignore" }],
      "no-console": "error",
      "no-implicit-globals": "error",
      "no-shadow": "error",
      "no-unused-vars": ["error", { argsIgnorePattern: "^_" }],
      "no-var": "error",
      "object-shorthand": "error",
      "prefer-const": "error",
    },
  },
  {
    files: ["js/**/*.js"],
    languageOptions: { globals: globals.browser },
    rules: {
      // The page is the host's: whatever we put on it is seen by every other pack.
      "no-restricted-syntax": [
        "error",
        { selector: "AssignmentExpression[left.object.name=/^(window|globalThis)$/]", message: "Write nothing to window." },
        { selector: "ImportDeclaration[source.value=/scripts\\u002f(?!(app|api)\\.js$)/]", message: "Import only app.js and api.js of the host." },
        { selector: "ExportDefaultDeclaration", message: "Name what you export." },
      ],
      "no-eval": "error",
    },
  },
  { files: ["tests/js/**/*.js", "training/**/*.js"], languageOptions: { globals: globals.node } },
  {
    files: ["scripts/**/*.js"],
    languageOptions: { sourceType: "script", globals: { ...globals.browser, app: "readonly", LiteGraph: "readonly" } },
    rules: { "no-implicit-globals": "off" },
  },
  { files: ["scripts/convert.js", "scripts/chains.js"], languageOptions: { sourceType: "module", globals: globals.node } },
];

/** Lines of `key=value`, with a tab between two of them; `\t`, `\n`, `\r` and `\\` stand in values. */
import * as engine from "./engine-plugin.js";

const ESCAPES = { "\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r" };
const PLAIN = Object.fromEntries(Object.entries(ESCAPES).map(([character, escape]) => [escape, character]));

engine.format("{{name}}", {
  summary: "Lines of key=value",
  settings: { columns: engine.mapping("Reading: the columns by name, and their types.", { default: {} }) },
  examples: { calls: { columns: { caller: "text", seconds: "integer" } } },

  open(config) {
    this.types = config.columns;
  },
  columns() {
    return this.types;
  },

  decodeLine(line) {
    const row = Object.fromEntries(Object.keys(this.types).map((name) => [name, null]));
    for (const field of line ? line.split("\t") : []) {
      const [, key, text] = field.match(/^([^=]*)=(.*)$/s) ?? [];
      if (key === undefined || !Object.hasOwn(this.types, key)) {
        throw new engine.Reject("unknown_key", `\`${field}\` is no key with a value, or its key is no column`);
      }
      row[key] = engine.fromText(
        text.replace(/\\./gs, (escape) => PLAIN[escape] ?? escape),
        this.types[key],
      );
    }
    return row;
  },

  encodeLine(row) {
    const escaped = (value) => engine.toText(value).replace(/[\\\t\n\r]/g, (character) => ESCAPES[character]);
    const cells = Object.entries(row).filter(([, value]) => value !== null && value !== undefined);
    return cells.map(([key, value]) => `${key}=${escaped(value)}`).join("\t");
  },
});

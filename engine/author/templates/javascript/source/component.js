/** Counts upwards, some numbers a run. */
import * as engine from "./engine-plugin.js";

const SPLITS = 4;

engine.source("{{name}}", {
  summary: "Counts upwards, some numbers a run",
  settings: {
    to: engine.integer("The last number; the first one is 1.", { minimum: 1 }),
    per_run: engine.integer("At most this many numbers in one run.", { default: 1_000_000, minimum: 1 }),
  },
  examples: { "from one to ten": { to: 10 } },
  columns: { n: "integer", text: "text" },

  open(config) {
    this.config = config;
  },

  plan(cursor) {
    // The cursor is the last number of the run before.
    const last = cursor ?? 0;
    const upper = Math.max(last, Math.min(this.config.to, last + this.config.per_run));
    const length = Math.ceil((upper - last) / SPLITS);
    const splits = [];
    for (let at = last; at < upper; at += length) {
      splits.push({ first: at + 1, last: Math.min(at + length, upper) });
    }
    return { splits, upper };
  },

  *read({ first, last }) {
    for (let n = first; n <= last; n += 1) yield { n, text: `number ${n}` };
  },
});

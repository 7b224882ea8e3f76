/** Brings phone numbers into one form: `+`, country and digits. */
import * as engine from "./engine-plugin.js";

engine.transform("{{name}}", {
  summary: "Brings phone numbers into one form",
  settings: {
    column: engine.text("The text column with the numbers."),
    country: engine.text("What replaces a leading 0, such as 49.", { default: "49" }),
  },
  examples: { "the number of a caller": { column: "caller" } },

  open({ column, country }) {
    Object.assign(this, { column, country });
  },

  start(columns) {
    if (Object.hasOwn(columns, this.column)) return columns;
    const hint = `there are ${Object.keys(columns).join(", ")}`;
    throw new engine.Error("config", `there is no column \`${this.column}\``, { hint });
  },

  transform(row) {
    const number = row[this.column];
    if (number === null) return row;
    const bare = String(number).replace(/[\s()/.-]/g, "");
    const digits = /^(00|\+)/.test(bare) ? bare.replace(/^(00|\+)/, "") : bare.replace(/^0/, this.country);
    if (!/^[1-9]\d{4,14}$/.test(digits)) {
      throw new engine.Reject("bad_number", `\`${number}\` in \`${this.column}\` is no phone number`);
    }
    return { ...row, [this.column]: `+${digits}` };
  },
});

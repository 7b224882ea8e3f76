/**
 * The engine's kit for components in JavaScript.
 *
 * `engine plugins new` writes this file beside `component.js`, where the component
 * stands; `engine plugins build` makes one `.wasm` of them. It is not to be edited:
 * a newer engine may bring a newer one.
 *
 * What a component looks like:
 *
 *     import * as engine from "./engine-plugin.js";
 *
 *     engine.transform("shout", {
 *       summary: "Writes a column in capitals",
 *       settings: { column: engine.text("The text column.") },
 *       examples: { "the name": { column: "name" } },
 *
 *       open(config) {
 *         this.column = config.column;
 *       },
 *       transform(row) {
 *         if (row[this.column] === null) throw new engine.Reject("no_text", `\`${this.column}\` is empty`);
 *         row[this.column] = row[this.column].toUpperCase();
 *         return row;
 *       },
 *     });
 *
 * `source`, `transform`, `format` and `sink` say in their own texts which methods a
 * component may have. Each may be async. Every component may also have
 *
 *     open(config)    the settings, checked and with defaults filled in. Looks at them
 *                     only: throws Error("config", …) for what the schema cannot say,
 *                     and reaches nothing outside
 *     check()         tries what is needed to work, changes nothing, and returns one
 *                     line for a person
 *
 * A row is an object from column to value: string, number, boolean, null; a bigint
 * for an integer that a number cannot hold; Uint8Array for `binary`; `decimal(…)` is a
 * string with all digits. Dates and times are strings, as ISO 8601 writes them.
 * Columns are an object from name to type: `text`, `integer`, `number`,
 * `decimal(12,2)`, `boolean`, `date`, `timestamp`, `timestamptz`, `binary`.
 *
 * What goes wrong is thrown: Reject for a row or record that is refused, Error for
 * everything that ends the work. Anything else is taken for a bug.
 */

/** Rows of one batch that a source gives. */
const BATCH_ROWS = 1000;
/** A source gives a smaller batch rather than make the engine wait longer. */
const BATCH_MILLISECONDS = 100;
/** The largest piece of a file that is given at once. */
const PIECE_BYTES = 1024 * 1024;
/** A line of more bytes becomes a dead letter that keeps its beginning. */
const LONGEST_LINE_BYTES = 16 * 1024 * 1024;

const KINDS = ["config", "denied", "unavailable", "rate_limited", "rejected", "internal", "cancelled"];

/**
 * Ends the work. The kind alone decides what the engine does.
 *
 *     config        wrong settings, no such column or table: gives up at once
 *     denied        a login or a permission was refused: gives up at once
 *     unavailable   cannot be reached, not ready, disk full: tries again
 *     rate_limited  the other side asks to wait: tries again after `retryAfterMs`
 *     rejected      a sink: the whole delivery's rows become dead letters
 *     internal      a bug
 *     cancelled     stopped because `cancelled()` was true
 *
 * Do not retry in the component: the engine does. Never put a secret in a text.
 */
class EngineError extends Error {
  constructor(kind, message, { hint, retryAfterMs } = {}) {
    if (!KINDS.includes(kind))
      throw new TypeError(`\`${kind}\` is no kind of error; the kinds are ${KINDS.join(", ")}`);
    super(message);
    this.name = "EngineError";
    Object.assign(this, { kind, hint, retryAfterMs });
  }
}
export { EngineError as Error };

/**
 * Refuses one row or record, which becomes a dead letter; its neighbours go on.
 * `code` is a short stable word to group by, such as `bad_date`; `reason` says what is
 * wrong, with the value and the column, for a person.
 */
export class Reject extends Error {
  constructor(code, reason) {
    super(`${code}: ${reason}`);
    this.name = "Reject";
    Object.assign(this, { code, reason });
  }
}

// ---- Settings ----------------------------------------------------------------------

function setting(schema, description, options) {
  schema.description = description;
  if ("default" in options) {
    schema.default = options.default;
    if (options.default === null) schema.type = [schema.type, "null"];
  }
  for (const limit of ["minimum", "maximum", "format"]) {
    if (options[limit] !== undefined) schema[limit] = options[limit];
  }
  if (options.format === "secret") schema.writeOnly = true;
  if (options.choices && schema.type !== "object")
    schema.enum = [...options.choices, ...(options.default === null ? [null] : [])];
  return schema;
}

/**
 * A text; without a `default` it must be given. Options: `default`, `choices`, and
 * `format`, which may be `secret`, `template`, `duration` or `bytes`.
 */
export const text = (description, options = {}) => setting({ type: "string" }, description, options);
/** A whole number. Options: `default`, `minimum`, `maximum`. */
export const integer = (description, options = {}) => setting({ type: "integer" }, description, options);
/** A number. Options: `default`, `minimum`, `maximum`. */
export const number = (description, options = {}) => setting({ type: "number" }, description, options);
/** `true` or `false`. */
export const boolean = (description, options = {}) => setting({ type: "boolean" }, description, options);
/** A list of texts. */
export const texts = (description, options = {}) =>
  setting({ type: "array", items: { type: "string" } }, description, options);
/** Names to texts; with `choices`, to one of these. */
export const mapping = (description, options = {}) =>
  setting(
    { type: "object", additionalProperties: { type: "string", ...(options.choices && { enum: options.choices }) } },
    description,
    options,
  );

function typesOf(value) {
  if (value === null) return ["null"];
  if (Array.isArray(value)) return ["array"];
  if (typeof value === "number") return Number.isInteger(value) ? ["integer", "number"] : ["number"];
  return [typeof value];
}

/** Checks as much of JSON Schema as settings are made of, also hand-written ones. */
function fits(schema, value, place) {
  const refuse = (what) => {
    throw new EngineError("config", `${place} ${what}`, { hint: schema.description });
  };
  const types = [schema.type ?? []].flat();
  if (types.length && !typesOf(value).some((type) => types.includes(type)))
    refuse(`must be of the type ${types.join(" or ")}`);
  if (schema.enum && !schema.enum.includes(value)) refuse(`must be one of ${schema.enum.join(", ")}`);
  if (typeof value === "number" && value < schema.minimum) refuse(`must be at least ${schema.minimum}`);
  if (typeof value === "number" && value > schema.maximum) refuse(`must be at most ${schema.maximum}`);
  if (value?.length < (schema.minLength ?? schema.minItems)) refuse("is too short");
  if (Array.isArray(value)) value.forEach((item) => fits(schema.items ?? {}, item, `an item of ${place}`));
  else if (value !== null && typeof value === "object") {
    const known = schema.properties ?? {};
    for (const [name, member] of Object.entries(value)) {
      if (Object.hasOwn(known, name)) fits(known[name], member, `\`${name}\``);
      else if (schema.additionalProperties === false) {
        const names = Object.keys(known).join(", ");
        const hint = names ? `the settings are ${names}` : "there are no settings";
        throw new EngineError("config", `unknown setting \`${name}\``, { hint });
      } else if (schema.additionalProperties) fits(schema.additionalProperties, member, `\`${name}\` in ${place}`);
    }
    for (const name of schema.required ?? []) {
      if (!Object.hasOwn(value, name)) {
        throw new EngineError("config", `\`${name}\` is missing`, { hint: known[name]?.description });
      }
    }
  }
}

// ---- Components ----------------------------------------------------------------------

const components = new Map();

/** What each kind must have: one of each line. */
const NEEDED = {
  source: [["plan"], ["read"]],
  transform: [["transform", "push"]],
  format: [["decodeLine", "decode", "encodeLine", "encode"]],
  sink: [["write"], ["commit"]],
};

function register(kind, name, component, members) {
  for (const names of NEEDED[kind]) {
    if (names.some((each) => typeof component[each] === "function")) continue;
    const wanted = names.map((each) => `\`${each}\``).join(" or ");
    throw new TypeError(`the ${kind} \`${name}\` needs a method ${wanted}, and has none`);
  }
  const properties = component.settings ?? {};
  const schema = {
    $schema: "https://json-schema.org/draft/2020-12/schema",
    type: "object",
    additionalProperties: false,
    properties,
    required: Object.keys(properties).filter((name) => !("default" in properties[name])),
  };
  const examples = Object.entries(component.examples ?? {}).map(([title, config]) => ({ title, config }));
  components.set(`${kind} ${name}`, {
    component,
    description: { summary: component.summary, schema, examples, ...members },
  });
}

/**
 * A source. Members beside `summary`, `settings` and `examples` (a title to a
 * configuration): `columns`; `gives: "files"`; `repeatable: false` where a split that is
 * read again may give other rows.
 *
 *     plan(cursor)  cuts what there is to read: returns { splits, upper }. A split is an
 *                   object of all that `read` needs, in the order of the rows; `upper`
 *                   is the next run's cursor. `cursor` is null in the first run. Without
 *                   `upper` every run reads everything. When nothing is new: no splits,
 *                   and the cursor as it came
 *     *read(split)  gives the rows of one split, always the same, in the same order.
 *                   With gives: "files": [name, bytes] pairs
 *     columns()     instead of the member, where the columns follow from the settings
 */
export function source(name, component) {
  const { gives = "rows", repeatable = true } = component;
  register("source", name, component, { gives, repeatable });
}

/**
 * A transform. Members beside `summary`, `settings` and `examples`: `scope` (`row`,
 * `batch` or `window`), `added` (columns) and `removed` (names).
 *
 *     transform(row)  returns the row that goes out, null to leave it out, or throws
 *                     Reject. The row is the method's own to change
 *     push(rows)      instead, for whole batches, with scope "batch" or "window": returns
 *                     the rows that go out. What it leaves out on purpose it counts with
 *                     `filtered`, what it refuses it gives to `rejectRows`
 *     start(columns)  a stream begins; returns the columns of what comes out. Replaces
 *                     `added` and `removed`
 *     finish()        the stream has ended: returns the rows that `push` held back
 */
export function transform(name, component) {
  register("transform", name, component, { scope: component.scope ?? "row" });
}

/**
 * A format: what it has of `decode…` and `encode…` says which ways it goes.
 *
 *     decodeLine(line)    the row of one line of text, given without its end; null if
 *                         the line holds no record; or throws Reject
 *     *decode(name, data) instead, for files that are no lines: gives the rows of one
 *                         whole file. `rejectRecord` refuses what cannot be read
 *     columns()           the columns of what is decoded; or a member `columns`
 *     encodeLine(row)     the line of one row, without its end; or throws Reject
 *     encode(rows)        instead: the text or bytes of some rows
 *     encodeStart(columns), encodeEnd()
 *                         what stands before the first row and behind the last
 */
export function format(name, component) {
  const decodes = "decode" in component || "decodeLine" in component;
  register("format", name, component, { decodes, encodes: "encode" in component || "encodeLine" in component });
}

/**
 * A sink. Members beside `summary`, `settings` and `examples`: `promise`
 * (`at-least-once`, `idempotent`, `effectively-once`), `takes: "files"`, `unit: "run"`.
 * A delivery is an object; its `key` never stands for another delivery.
 *
 *     beginRun(run)         once a window. True: several instances may deliver splits at
 *                           the same time, in any order
 *     beginSplit(delivery)  an object (the receipt) if the delivery has arrived before,
 *                           else null
 *     start(delivery, columns)  the rows begin
 *     write(rows)           takes some rows, visible to no one; with takes: "files":
 *                           write(name, data), one piece of a file
 *     finish(delivery)      all of it is there: makes it ready. May return an object with
 *                           `bytes`, `sha256` and `parts`
 *     commit(delivery)      makes it visible, all or nothing, once; returns the receipt:
 *                           an object with `rows`, `bytes`, `location`
 *     abort(delivery)       throws away what an unfinished delivery left; works on
 *                           nothing, and twice
 *     finishRun(run)        after the last commit; must work twice
 *
 * A row that is refused goes to `rejectRows`; all others count as taken.
 */
export function sink(name, component) {
  const { takes = "rows", promise = "at-least-once", unit = "split" } = component;
  register("sink", name, component, { takes, promise, unit });
}

// ---- What the engine offers ------------------------------------------------------------

/** `host` is plugin.wit's, `files` as in engine-plugin-main.js, `environment` an object. */
let surroundings;
let open;
let folder = "";
let kept = null;
let rejectedRows = 0;

/** Tells the kit where it runs. Only the two other files of the kit call it. */
export function connect(to) {
  surroundings = to;
}

function outside() {
  if (!surroundings)
    throw new EngineError("internal", "there is no engine: open the component with Test of engine-plugin-test.js");
  return surroundings;
}

/** Calls the engine; an error that it answers is thrown on. */
function ask(name, ...values) {
  try {
    return outside().host[name](...values);
  } catch (error) {
    const found = error?.payload;
    if (!found?.kind) throw error;
    const retryAfterMs = found.retryAfterMs === undefined ? undefined : Number(found.retryAfterMs);
    throw new EngineError(found.kind.replace("-", "_"), found.message, { hint: found.hint, retryAfterMs });
  }
}

/** Writes to the engine's log; levels are error, warn, info, debug, trace. */
export const log = (message, level = "info") => ask("log", level, String(message));
/** Whether the work should stop soon. The kit asks for every batch; ask in anything longer than 100 ms. */
export const cancelled = () => ask("cancelled");
/** Ends the work if it should stop. */
export function checkCancelled() {
  if (cancelled()) throw new EngineError("cancelled", "stopped on request");
}
/** Milliseconds that the present operation may still take; undefined: no limit. */
export const deadline = () => {
  const left = ask("deadline");
  return left === undefined ? undefined : Number(left);
};
/** Counts rows that a transform left out on purpose. For `push`; `transform` returns null instead. */
export const filtered = (rows) => ask("filtered", BigInt(rows));
/** Refuses rows, as they came in. For `push` and `write`; elsewhere throw Reject. */
export function rejectRows(code, reason, rows) {
  ask("rejectRows", code, reason, bytesOf(rowsText(rows)));
  rejectedRows += rows.length;
}
/** Refuses a record in `decode`: `data` is what it takes to read it alone. */
export function rejectRecord(code, reason, name, data) {
  open.records += 1;
  ask("rejectRecord", code, reason, name, bytesOf(data));
}
/** Adds a part to the present delivery's receipt: anything that JSON can write. */
export const receipt = (part) => ask("receipt", JSON.stringify(part));
/**
 * Keeps a value for this stage, also for later runs: what would be costly to get again, such as a login.
 * `null` forgets it.
 */
export const remember = (value) => ask("remember", JSON.stringify(value));
/** What was kept with `remember` when the component was opened; null where there is none. */
export const remembered = () => kept;
/** An environment variable that the pipeline grants; undefined where it is not there. */
export const environment = (name) => outside().environment()[name];

/**
 * As the global `fetch`, of which it says why it failed: an Error of the kind
 * `unavailable`, which the engine makes `denied` where the host is not granted.
 */
export async function fetch(resource, options) {
  try {
    return await globalThis.fetch(resource, options);
  } catch (error) {
    const host = String(resource?.url ?? resource).match(/^[a-z]+:\/\/(?:[^/@]*@)?([^/?#]*)/i)?.[1] ?? "the address";
    throw new EngineError("unavailable", `${host}: ${error?.message ?? error}`);
  }
}

/** A path of the configuration: relative ones are relative to the pipeline file. */
export function path(text) {
  const parts = [];
  for (const part of (text.startsWith("/") ? text : `${folder}/${text}`).split("/")) {
    if (part === ".." && parts.length && parts.at(-1) !== "..") parts.pop();
    else if (part !== "" && part !== ".") parts.push(part);
  }
  const absolute = text.startsWith("/") || folder.startsWith("/");
  return (absolute ? "/" : "") + parts.join("/") || ".";
}

/**
 * Files below the folders that the pipeline grants:
 *
 *     files.size(path)              in bytes; undefined where there is no file
 *     files.read(path)              all of it, as Uint8Array
 *     files.create(path)            an empty file, replacing what is there, with
 *                                   write(data), and close(), which also puts it on disk
 *     files.rename(from, to)
 *     files.remove(path)            no error where there is nothing
 */
export const files = {
  size: (path) => outside().files.size(path),
  read: (path) => outside().files.read(path),
  create: (path) => outside().files.create(path),
  rename: (from, to) => outside().files.rename(from, to),
  remove: (path) => outside().files.remove(path),
};

/** A text as a value of a column's type; throws Reject if it is none. */
export function fromText(text, type) {
  if (type === "integer" && /^-?[0-9]+$/.test(text)) {
    if (Number.isSafeInteger(Number(text))) return Number(text);
    if (BigInt.asIntN(64, BigInt(text)) === BigInt(text)) return BigInt(text);
  } else if (type === "number" && /^(-?([0-9.]+([eE][-+]?[0-9]+)?|Infinity)|NaN)$/.test(text)) {
    if (text === "NaN" || !Number.isNaN(Number(text))) return Number(text);
  } else if (type.startsWith("decimal") && /^-?[0-9]+(\.[0-9]+)?$/.test(text)) return text;
  else if (type === "boolean" && (text === "true" || text === "false")) return text === "true";
  else if (type === "binary") return fromBase64(text);
  else if (!/^(integer|number|decimal.*|boolean)$/.test(type)) return text;
  throw new Reject(`bad_${type.split("(")[0]}`, `\`${text}\` is no ${type}`);
}

/** A value as the text that `fromText` reads back. */
export function toText(value) {
  if (value instanceof Uint8Array) return toBase64(value);
  return value !== null && typeof value === "object" ? valueText(value) : String(value);
}

// ---- Rows as JSON -----------------------------------------------------------------------

const encoder = new TextEncoder();
const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

const FILES = [
  { name: "name", type: "text", nullable: false },
  { name: "data", type: "binary", nullable: false },
];

function bytesOf(data) {
  if (data === null || data === undefined) return new Uint8Array();
  return typeof data === "string" ? encoder.encode(data) : data;
}

/** How many bytes become characters at once; a call takes only so many arguments. */
const CHARACTERS = 0x8000;

function toBase64(bytes) {
  if (bytes.toBase64) return bytes.toBase64();
  let text = "";
  for (let at = 0; at < bytes.length; at += CHARACTERS) {
    text += String.fromCharCode(...bytes.subarray(at, at + CHARACTERS));
  }
  return btoa(text);
}

function fromBase64(text) {
  if (Uint8Array.fromBase64) return Uint8Array.fromBase64(text);
  const characters = atob(text);
  const bytes = new Uint8Array(characters.length);
  for (let at = 0; at < bytes.length; at += 1) bytes[at] = characters.charCodeAt(at);
  return bytes;
}

function valueText(value) {
  switch (typeof value) {
    case "string":
    case "boolean":
      return JSON.stringify(value);
    case "bigint":
      // A number of JSON keeps 64 bits.
      return BigInt.asIntN(64, value) === value || BigInt.asUintN(64, value) === value ? String(value) : `"${value}"`;
    case "number":
      if (Object.is(value, -0)) return "-0.0";
      // JSON has no NaN and no infinity; they cross as texts.
      return Number.isFinite(value) ? String(value) : `"${value}"`;
    case "undefined":
      return "null";
    case "object":
      if (value === null) return "null";
      if (value instanceof Uint8Array) return `"${toBase64(value)}"`;
      if (value instanceof Date) return JSON.stringify(value);
      if (Array.isArray(value)) return `[${value.map(valueText).join(",")}]`;
      return `{${Object.entries(value).map(([name, member]) => `${JSON.stringify(name)}:${valueText(member)}`)}}`;
    default:
      throw new TypeError(`a row holds a ${typeof value}, which no column can have`);
  }
}

const rowsText = (rows) => valueText(rows);
const columnList = (columns) => Object.entries(columns).map(([name, type]) => ({ name, type }));

/**
 * JSON whose numbers JavaScript cannot hold: these become texts that begin with a NUL,
 * and texts that do so anyway get a second one.
 */
function markNumbers(text, fractions) {
  return text.replace(/"(?:[^"\\]|\\.)*"|-?\d[\d.eE+-]*/g, (token) => {
    if (token[0] === '"') return token.startsWith('"\\u0000') ? `"\\u0000${token.slice(1)}` : token;
    const whole = /^-?\d+$/.test(token);
    return (whole ? Number.isSafeInteger(Number(token)) : !fractions) ? token : `"\\u0000${token}"`;
  });
}

function unmark(value) {
  if (typeof value === "string" && value[0] === "\0") {
    if (value[1] === "\0") return value.slice(1);
    return /^-?\d+$/.test(value.slice(1)) ? BigInt(value.slice(1)) : Number(value.slice(1));
  }
  if (Array.isArray(value)) return value.map(unmark);
  if (value === null || typeof value !== "object") return value;
  return Object.fromEntries(Object.entries(value).map(([name, member]) => [name, unmark(member)]));
}

/** What is not finite crosses as a text, as Arrow or JavaScript writes it. */
function toNumber(value) {
  if (typeof value === "bigint") return Number(value);
  return typeof value === "string" ? Number(value.replace(/inf$/, "Infinity")) : value;
}

/** What a number cannot hold crosses as a text. */
function toInteger(value) {
  if (typeof value !== "string") return value;
  return Number.isSafeInteger(Number(value)) ? Number(value) : BigInt(value);
}

/** Reads and writes the rows of one stream. */
class Rows {
  constructor(columns) {
    this.columns = columns;
    this.names = new Set(columns.map((column) => column.name));
    const those = (test) => columns.filter(({ type }) => test(type)).map(({ name }) => name);
    this.numbers = those((type) => type === "number");
    this.integers = those((type) => /^(integer|u?int(8|16|32|64))$/i.test(type));
    this.binaries = those((type) => type === "binary");
    this.decimals = those((type) => type.startsWith("decimal"));
  }

  static of(schema) {
    return new Rows(JSON.parse(decoder.decode(schema)).columns);
  }

  schema() {
    return encoder.encode(JSON.stringify({ columns: this.columns }));
  }

  types() {
    return Object.fromEntries(this.columns.map((column) => [column.name, column.type]));
  }

  /** Rows as JSON has them, except for numbers that would lose digits. */
  read(batch) {
    const text = decoder.decode(batch);
    if (!this.decimals.length && !/\d{16}/.test(text)) return JSON.parse(text);
    const rows = JSON.parse(markNumbers(text, this.decimals.length > 0));
    for (const row of rows) {
      for (const name of this.decimals) {
        const value = row[name];
        if (value !== null && value !== undefined) row[name] = String(value).replace("\0", "");
      }
      for (const name in row) row[name] = unmark(row[name]);
    }
    return rows;
  }

  /** A row as an author sees it: a new object. */
  row(raw) {
    const row = { ...raw };
    for (const name of this.numbers) if (name in row) row[name] = toNumber(row[name]);
    for (const name of this.integers) if (name in row) row[name] = toInteger(row[name]);
    for (const name of this.binaries) if (typeof row[name] === "string") row[name] = fromBase64(row[name]);
    return row;
  }

  write(rows) {
    for (const row of rows) {
      if (!isObject(row)) {
        const hint = "a row is an object of columns and values";
        throw new EngineError("internal", `${shown(row)} was given for a row`, { hint });
      }
      for (const name in row) {
        if (this.names.has(name)) continue;
        const hint = "a transform names new columns in `added`, or returns all of them from `start`";
        throw new EngineError("internal", `a row has the column \`${name}\`, which was not declared`, { hint });
      }
    }
    return encoder.encode(rowsText(rows));
  }
}

const isObject = (value) => value !== null && typeof value === "object" && !Array.isArray(value);

/** What an author gave instead of something else. */
function shown(value) {
  if (value === undefined || value === null) return "nothing";
  return Array.isArray(value) ? "an array" : `a ${typeof value}`;
}

// ---- An open component --------------------------------------------------------------------

function find(kind, name) {
  const found = components.get(`${kind} ${name}`);
  if (found) return found;
  const known = [...components.keys()].join(", ") || "none";
  const hint = "the names in component.js and plugin.json must be the same";
  throw new EngineError("internal", `plugin.json lists the ${kind} \`${name}\`, and this module has ${known}`, { hint });
}

/** One component between `open` and the end of its instance. */
export class Opened {
  static async open(kind, name, request) {
    const { component, description } = find(kind, name);
    const { config, folder: place = "", remembered: value = null } = JSON.parse(request);
    fits(description.schema, config, "the configuration");
    folder = place;
    kept = value;
    const opened = new Opened();
    Object.assign(opened, { kind, name, description, records: 0, component: Object.create(component) });
    const filled = { ...config };
    for (const [name, { default: value }] of Object.entries(description.schema.properties)) {
      if (value !== undefined && !Object.hasOwn(filled, name)) filled[name] = structuredClone(value);
    }
    await opened.component.open?.(filled);
    return opened;
  }

  async check() {
    const summary = await this.component.check?.();
    return JSON.stringify({ summary: summary || "the configuration is complete" });
  }

  async ownColumns() {
    const { columns } = this.component;
    const found = columnList((typeof columns === "function" ? await this.component.columns() : columns) ?? {});
    if (!found.length)
      throw new EngineError("config", `\`${this.name}\` has no columns`, { hint: "name them in the settings" });
    return found;
  }

  // Sources

  async plan(request) {
    const planned = await this.component.plan(JSON.parse(request).cursor ?? null);
    if (!isObject(planned) || !Array.isArray(planned.splits)) {
      const hint = "return { splits, upper }, with an array of splits";
      throw new EngineError("internal", `plan() returned ${shown(planned)}`, { hint });
    }
    const { splits, upper } = planned;
    const named = splits.map((split, number) => ({
      // Ids sort in the order of the rows, hence the zeros.
      id: String(number).padStart(6, "0"),
      ...("id" in split && "spec" in split ? split : { spec: split }),
    }));
    return JSON.stringify({ splits: named, ...(upper !== null && upper !== undefined && { upper }) });
  }

  async read(split) {
    this.output = new Rows(this.description.gives === "files" ? FILES : await this.ownColumns());
    const rows = await this.component.read(JSON.parse(split).spec);
    this.rows = rows[Symbol.asyncIterator]?.() ?? rows[Symbol.iterator]();
    this.piece = undefined;
    return this.output.schema();
  }

  async next() {
    checkCancelled();
    if (this.description.gives === "files") return this.nextPiece();
    const rows = [];
    const until = Date.now() + BATCH_MILLISECONDS;
    while (rows.length < BATCH_ROWS && Date.now() <= until) {
      let step = this.rows.next();
      if (isPromise(step)) step = await step;
      if (step.done) break;
      rows.push(step.value);
    }
    return rows.length ? this.output.write(rows) : undefined;
  }

  async nextPiece() {
    if (!this.piece) {
      const { done, value } = await this.rows.next();
      if (done) return undefined;
      this.piece = { name: value[0], data: bytesOf(value[1]) };
    }
    const { name, data } = this.piece;
    this.piece = data.length > PIECE_BYTES ? { name, data: data.subarray(PIECE_BYTES) } : undefined;
    return this.output.write([{ name, data: data.subarray(0, PIECE_BYTES) }]);
  }

  // Transforms

  async startTransform(schema) {
    this.input = Rows.of(schema);
    let columns = { ...this.input.types(), ...this.component.added };
    if (this.component.start) {
      columns = await this.component.start(this.input.types());
      if (!isObject(columns)) {
        const hint = "return the columns of what comes out: an object of names and types";
        throw new EngineError("internal", `start() returned ${shown(columns)}`, { hint });
      }
    } else for (const name of this.component.removed ?? []) delete columns[name];
    // What the engine said about a column that stays is said again.
    const known = (made) => this.input.columns.find(({ name, type }) => name === made.name && type === made.type);
    this.output = new Rows(columnList(columns).map((made) => known(made) ?? made));
    return this.output.schema();
  }

  async pushTransform(batch) {
    checkCancelled();
    const raws = this.input.read(batch);
    if (this.component.push) return this.batches(await this.component.push(raws.map((raw) => this.input.row(raw))));
    const out = [];
    let leftOut = 0;
    for (const raw of raws) {
      try {
        let row = this.component.transform(this.input.row(raw));
        if (isPromise(row)) row = await row;
        if (row === null) leftOut += 1;
        else if (isObject(row)) out.push(row);
        else {
          const hint = "return the row, null to leave it out, or throw Reject";
          throw new EngineError("internal", `transform() returned ${shown(row)}`, { hint });
        }
      } catch (error) {
        refuseRow(error, raw);
      }
    }
    if (leftOut) filtered(leftOut);
    return this.batches(out);
  }

  async finishTransform() {
    return this.batches(await this.component.finish?.());
  }

  batches(rows) {
    const all = [...(rows ?? [])];
    return all.length ? [this.output.write(all)] : [];
  }

  // Formats

  async startFormat(direction, schema) {
    Object.assign(this, { direction, records: 0, file: undefined, pending: [], skipping: false, given: false });
    this.input = Rows.of(schema);
    if (direction === "decode" && this.description.decodes) this.output = new Rows(await this.ownColumns());
    else if (direction === "encode" && this.description.encodes) {
      this.output = new Rows(FILES);
      this.head = await this.component.encodeStart?.(this.input.types());
    } else throw new EngineError("config", `\`${this.name}\` does not ${direction}`);
    return this.output.schema();
  }

  async pushFormat(batch) {
    checkCancelled();
    if (this.direction === "encode") return this.encode(this.input.read(batch));
    const rows = [];
    let size = 0;
    for (const raw of this.input.read(batch)) {
      const { name, data } = this.input.row(raw);
      size += data.length;
      if (this.file !== undefined && this.file !== name) await this.endFile(rows);
      this.file = name;
      if (this.component.decodeLine) await this.wholeLines(data, rows);
      else this.pending.push(data);
    }
    return this.decoded(rows, size);
  }

  async finishFormat() {
    if (this.direction === "decode") {
      const rows = [];
      if (this.file !== undefined) await this.endFile(rows);
      return this.decoded(rows, 0);
    }
    const pieces = this.pieces([this.takeHead(), bytesOf(await this.component.encodeEnd?.())]);
    // An encoder gives a file also when there are no rows.
    return pieces.length || this.given ? pieces : [this.output.write([{ name: "", data: new Uint8Array() }])];
  }

  decoded(rows, size) {
    ask("progress", BigInt(this.records + rows.length), BigInt(size));
    this.records = 0;
    const batches = [];
    for (let at = 0; at < rows.length; at += BATCH_ROWS)
      batches.push(this.output.write(rows.slice(at, at + BATCH_ROWS)));
    return batches;
  }

  async endFile(rows) {
    const data = joined(this.pending);
    this.pending = [];
    if (!this.component.decodeLine) {
      for await (const row of this.component.decode(this.file, data)) rows.push(row);
    } else if (data.length && !this.skipping) await this.line(data, rows);
    this.skipping = false;
  }

  async wholeLines(data, rows) {
    let at = 0;
    for (let end; (end = data.indexOf(10, at) + 1) > 0; at = end) {
      const line = joined([...this.pending, data.subarray(at, end)]);
      this.pending = [];
      if (!this.skipping) await this.line(line, rows);
      this.skipping = false;
    }
    if (at < data.length && !this.skipping) this.pending.push(data.subarray(at));
    // Many small pieces are joined now and then, so that asking for their size stays cheap.
    if (this.pending.length > 64) this.pending = [joined(this.pending)];
    if (sizeOf(this.pending) > LONGEST_LINE_BYTES) {
      this.tooLong(joined(this.pending));
      this.pending = [];
      this.skipping = true;
    }
  }

  tooLong(data) {
    const kept = data.subarray(0, LONGEST_LINE_BYTES);
    rejectRecord("too_long", `the line is longer than ${LONGEST_LINE_BYTES} bytes`, this.file, kept);
  }

  async line(data, rows) {
    if (data.length > LONGEST_LINE_BYTES) return this.tooLong(data);
    let end = data.length;
    if (data[end - 1] === 10) end -= 1;
    if (data[end - 1] === 13) end -= 1;
    try {
      let row = this.component.decodeLine(lineText(data.subarray(0, end)));
      if (isPromise(row)) row = await row;
      if (row !== null && row !== undefined) rows.push(row);
    } catch (error) {
      if (!(error instanceof Reject)) throw error;
      rejectRecord(error.code, error.reason, this.file, data);
    }
    return undefined;
  }

  takeHead() {
    const head = bytesOf(this.head);
    this.head = undefined;
    return head;
  }

  async encode(raws) {
    const parts = [this.takeHead()];
    if (this.component.encodeLine) {
      let lines = "";
      for (const raw of raws) {
        try {
          let line = this.component.encodeLine(this.input.row(raw));
          if (isPromise(line)) line = await line;
          lines += `${line}\n`;
        } catch (error) {
          refuseRow(error, raw);
        }
      }
      parts.push(bytesOf(lines));
    } else parts.push(bytesOf(await this.component.encode(raws.map((raw) => this.input.row(raw)))));
    return this.pieces(parts);
  }

  pieces(parts) {
    const data = joined(parts);
    const pieces = [];
    for (let at = 0; at < data.length; at += PIECE_BYTES) {
      pieces.push(this.output.write([{ name: "", data: data.subarray(at, at + PIECE_BYTES) }]));
    }
    this.given ||= pieces.length > 0;
    return pieces;
  }

  // Sinks

  async beginRun(run) {
    return JSON.stringify({ parallel: Boolean(await this.component.beginRun?.(JSON.parse(run))) });
  }

  async beginSplit(delivery) {
    const found = await this.component.beginSplit?.(JSON.parse(delivery));
    if (!found) return '{"status": "new"}';
    return JSON.stringify("status" in found ? found : { status: "committed", receipt: found });
  }

  async startWrite(delivery, schema) {
    Object.assign(this, { delivery: JSON.parse(delivery), input: Rows.of(schema), taken: 0, bytes: 0 });
    rejectedRows = 0;
    await this.component.start?.(this.delivery, this.input.types());
  }

  async pushWrite(batch) {
    checkCancelled();
    const rows = this.input.read(batch).map((raw) => this.input.row(raw));
    if (this.description.takes !== "files") {
      this.taken += rows.length;
      await this.component.write(rows);
      return;
    }
    for (const { name, data } of rows) {
      this.bytes += data.length;
      await this.component.write(name, data);
    }
  }

  async finishWrite() {
    const own = await this.component.finish?.(this.delivery);
    return JSON.stringify({ rows: this.taken ? this.taken - rejectedRows : 0, bytes: this.bytes, ...own });
  }

  async commit(delivery) {
    return JSON.stringify((await this.component.commit(JSON.parse(delivery))) ?? {});
  }

  async abort(delivery) {
    await this.component.abort?.(JSON.parse(delivery));
  }

  async finishRun(run) {
    await this.component.finishRun?.(JSON.parse(run));
  }
}

/** What methods that are called for each row answer is waited for only if it must be: waiting costs. */
const isPromise = (value) => typeof value?.then === "function";

function refuseRow(error, raw) {
  if (!(error instanceof Reject)) throw error;
  ask("rejectRows", error.code, error.reason, bytesOf(rowsText([raw])));
}

function lineText(data) {
  try {
    return decoder.decode(data);
  } catch {
    throw new Reject("not_utf8", "the line is not UTF-8 text");
  }
}

const sizeOf = (parts) => parts.reduce((size, part) => size + part.length, 0);

function joined(parts) {
  if (parts.length === 1) return parts[0];
  const whole = new Uint8Array(sizeOf(parts));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}

// ---- The border ------------------------------------------------------------------------------

/** Anything that was thrown, as the error that the engine gets. */
function asError(thrown) {
  if (thrown instanceof EngineError) return thrown;
  if (thrown instanceof Reject) return new EngineError("rejected", thrown.reason);
  // Where it happened: the first line that is not this file's.
  const lines = String(thrown?.stack ?? "").split("\n");
  const place = lines
    .map((line) => line.match(/([\w.-]+\.m?js):(\d+)/))
    .find((found) => found && !found[1].startsWith("engine-plugin"));
  const where = place ? ` (${place[1]}:${place[2]})` : "";
  return new EngineError("internal", `${thrown?.name ?? typeof thrown}: ${thrown?.message ?? thrown}${where}`);
}

/** A call as plugin.wit has it: what is thrown has the error as its `payload`. */
const border =
  (call) =>
  async (...values) => {
    try {
      return await call(...values);
    } catch (thrown) {
      const { kind, message, hint, retryAfterMs } = asError(thrown);
      const retry = retryAfterMs === undefined ? undefined : BigInt(Math.round(retryAfterMs));
      throw Object.assign(new Error(message), {
        payload: { kind: kind.replace("_", "-"), message, hint, retryAfterMs: retry },
      });
    }
  };

/** What the module exports: one object for each interface, of which its world takes some. */
export const exported = {
  component: {
    describe: border((kind, name) => JSON.stringify(find(kind, name).description)),
    open: border(async (kind, name, request) => {
      open = await Opened.open(kind, name, request);
    }),
    check: border(() => open.check()),
  },
  source: {
    plan: border((request) => open.plan(request)),
    read: border((split) => open.read(split)),
    next: border(() => open.next()),
  },
  transform: {
    start: border((schema) => open.startTransform(schema)),
    push: border((batch) => open.pushTransform(batch)),
    finish: border(() => open.finishTransform()),
  },
  format: {
    start: border((direction, schema) => open.startFormat(direction, schema)),
    push: border((batch) => open.pushFormat(batch)),
    finish: border(() => open.finishFormat()),
  },
  sink: {
    beginRun: border((run) => open.beginRun(run)),
    beginSplit: border((delivery) => open.beginSplit(delivery)),
    commit: border((delivery) => open.commit(delivery)),
    abort: border((delivery) => open.abort(delivery)),
    finishRun: border((run) => open.finishRun(run)),
  },
  writer: {
    start: border((delivery, schema) => open.startWrite(delivery, schema)),
    push: border((batch) => open.pushWrite(batch)),
    finish: border(() => open.finishWrite()),
  },
};

/**
 * The engine of a test, which runs in Node. Not to be edited.
 *
 *     import { Test } from "./engine-plugin-test.js";
 *     import "./component.js";
 *
 *     const run = await Test.open("transform", "shout", { column: "name" });
 *     assert.deepEqual(await run.transform([{ name: "a" }]), [{ name: "A" }]);
 *     assert.deepEqual(run.rejected, []);
 *
 * Rows go through the same JSON as in the engine. `columns` of a stream may be left
 * out: they then follow from the first row that has a value.
 */
import * as fs from "node:fs";

import { connect, exported } from "./engine-plugin.js";

const text = (bytes) => new TextDecoder().decode(bytes);
const bytes = (value) => new TextEncoder().encode(JSON.stringify(value));
const base64 = (data) => Buffer.from(data).toString("base64");
const FILES = {
  columns: [
    { name: "name", type: "text" },
    { name: "data", type: "binary" },
  ],
};

const files = {
  size: (path) => fs.statSync(path, { throwIfNoEntry: false })?.size,
  read: (path) => new Uint8Array(fs.readFileSync(path)),
  create(path) {
    const file = fs.openSync(path, "w");
    return { write: (data) => void fs.writeSync(file, data), close: () => fs.closeSync(file) };
  },
  rename: fs.renameSync,
  remove: (path) => fs.rmSync(path, { force: true }),
};

/** Throws what the component threw, as the engine would see it. */
async function call(name, method, ...values) {
  try {
    return await exported[name][method](...values);
  } catch (error) {
    throw Object.assign(error, error.payload);
  }
}

export class Test {
  /** What was refused: { code, reason } with `rows`, or with `name` and `data` where a decoder refused. */
  rejected = [];
  logged = [];
  receipts = [];
  /** What the component has kept for later runs. */
  remembered = null;
  filtered = 0;
  records = 0;
  /** Set it to ask the component to stop. */
  cancel = false;

  /** Opens a component. `folder` is what relative paths are relative to. */
  static async open(kind, name, config, { folder = ".", environment = {} } = {}) {
    const test = new Test();
    const host = {
      log: (level, message) => test.logged.push({ level, message }),
      cancelled: () => test.cancel,
      deadline: () => undefined,
      progress: (records) => void (test.records += Number(records)),
      filtered: (rows) => void (test.filtered += Number(rows)),
      rejectRecord: (code, reason, name, data) => test.rejected.push({ code, reason, name, data }),
      rejectRows: (code, reason, rows) => test.rejected.push({ code, reason, rows: JSON.parse(text(rows)) }),
      receipt: (part) => test.receipts.push(JSON.parse(part)),
      remember: (value) => void (test.remembered = JSON.parse(value)),
    };
    connect({ host, files, environment: () => environment });
    await call("component", "open", kind, name, JSON.stringify({ config, folder }));
    return test;
  }

  /** All rows of one run, and the next run's cursor as `upper`. */
  async read(cursor = null) {
    const { splits, upper } = JSON.parse(await call("source", "plan", JSON.stringify({ cursor })));
    const rows = [];
    for (const split of splits) {
      await call("source", "read", JSON.stringify(split));
      for (let batch; (batch = await call("source", "next"));) rows.push(...JSON.parse(text(batch)));
    }
    return { rows, upper };
  }

  async #stream(name, start, schema, batches) {
    await call(name, "start", ...start, bytes(schema));
    const out = [];
    for (const batch of batches) out.push(...(await call(name, "push", bytes(batch))));
    out.push(...(await call(name, "finish")));
    return out.flatMap((batch) => JSON.parse(text(batch)));
  }

  transform(rows, columns) {
    return this.#stream("transform", [], schemaOf(rows, columns), [rows]);
  }

  /** The rows of one file, which comes in pieces of `pieceBytes`. */
  decode(data, { name = "test", pieceBytes = 1024 * 1024 } = {}) {
    const whole = typeof data === "string" ? new TextEncoder().encode(data) : data;
    const batches = [];
    for (let at = 0; at < Math.max(whole.length, 1); at += pieceBytes) {
      batches.push([{ name, data: base64(whole.subarray(at, at + pieceBytes)) }]);
    }
    return this.#stream("format", ["decode"], FILES, batches);
  }

  /** The bytes of the file. */
  async encode(rows, columns) {
    const pieces = await this.#stream("format", ["encode"], schemaOf(rows, columns), [rows]);
    return new Uint8Array(Buffer.concat(pieces.map((piece) => Buffer.from(piece.data, "base64"))));
  }

  /** Makes a delivery ready: rows, or the bytes or text of one file. False: it has arrived before. */
  async write(key, input, columns) {
    this.delivery = { key, state: "s", pipeline: "p", sink: "k", window: 1, split: "0000" };
    await call("sink", "beginRun", JSON.stringify({ ...this.delivery, splits: ["0000"] }));
    const delivery = JSON.stringify(this.delivery);
    if (JSON.parse(await call("sink", "beginSplit", delivery)).status === "committed") return false;
    const isRows = Array.isArray(input);
    await call("writer", "start", delivery, bytes(isRows ? schemaOf(input, columns) : FILES));
    await call("writer", "push", bytes(isRows ? input : [{ name: "", data: base64(input) }]));
    this.delivery.sealed = JSON.parse(await call("writer", "finish"));
    return true;
  }

  /** Publishes what `write` made ready; the receipt. */
  async commit() {
    return JSON.parse(await call("sink", "commit", JSON.stringify(this.delivery)));
  }

  async abort() {
    await call("sink", "abort", JSON.stringify(this.delivery));
  }
}

function typeOf(value) {
  if (typeof value === "number") return Number.isInteger(value) ? "integer" : "number";
  return typeof value === "boolean" ? "boolean" : "text";
}

function schemaOf(rows, columns) {
  const types = { ...columns };
  for (const row of columns ? [] : rows) {
    for (const [name, value] of Object.entries(row)) types[name] ??= value === null ? undefined : typeOf(value);
  }
  return { columns: Object.entries(types).map(([name, type]) => ({ name, type: type ?? "text" })) };
}

/** Tests of the kit itself: `node --test`, beside `kit`. */
import assert from "node:assert/strict";
import test from "node:test";

import * as engine from "../kit/engine-plugin.js";
import { Test } from "../kit/engine-plugin-test.js";

const { exported } = engine;
const bytes = (text) => new TextEncoder().encode(text);
const text = (data) => new TextDecoder().decode(data);

engine.transform("same", {
  summary: "Changes nothing",
  transform(row) {
    if (row.text === "refuse") throw new engine.Reject("refused", "as asked");
    if (row.text === "break") return row.nothing.there;
    if (row.text === "nothing") return undefined;
    if (row.text === "columns") return { ...row, other: 1 };
    return row.text === "leave out" ? null : row;
  },
});
engine.transform("big", {
  summary: "Gives more than 64 bits",
  transform: () => ({ n: 2n ** 70n }),
});
engine.source("files", {
  summary: "Gives a large file",
  gives: "files",
  plan: () => ({ splits: [{}] }),
  async *read() {
    yield ["large", new Uint8Array(2 * 1024 * 1024 + 1)];
    yield ["empty", ""];
  },
});
engine.format("whole", {
  summary: "Whole files",
  columns: { size: "integer" },
  *decode(name, data) {
    if (data.length === 3) engine.rejectRecord("bad", "as asked", name, data);
    else yield { size: data.length };
  },
});
engine.format("lines", {
  summary: "Lines",
  columns: { line: "text" },
  decodeLine: (line) => (line.startsWith("#") ? null : { line }),
});
engine.sink("list", {
  summary: "Keeps rows in a list",
  settings: {
    limit: engine.integer("Up to which n.", { default: null }),
    mode: engine.text("How.", { default: "a", choices: ["a", "b"] }),
  },
  write(rows) {
    const bad = rows.filter((row) => row.n > 2);
    if (bad.length) engine.rejectRows("too_large", "more than 2", bad);
  },
  commit: (delivery) => ({ rows: delivery.sealed.rows, location: "a list" }),
});

/** One value of a column, as JSON, through a transform that changes nothing. */
async function through(type, value) {
  await Test.open("transform", "same", {});
  await exported.transform.start(
    bytes(
      JSON.stringify({
        columns: [
          { name: "value", type },
          { name: "n", type: "integer" },
        ],
      }),
    ),
  );
  const [batch] = await exported.transform.push(bytes(`[{"value":${value},"n":1}]`));
  return text(batch).slice(10, -8);
}

test("no digit is lost", async () => {
  for (const number of [
    "9223372036854775807",
    "-9223372036854775808",
    "18446744073709551615",
    "9007199254740993",
    "7",
  ]) {
    assert.equal(await through("integer", number), number);
    assert.equal(await through("UInt64", `"${number}"`), number);
  }
  assert.equal(await through("decimal(38,0)", `"${2n ** 70n}"`), `"${2n ** 70n}"`);
  const run = await Test.open("transform", "big", {});
  assert.deepEqual(await run.transform([{ n: 0 }]), [{ n: String(2n ** 70n) }]);
  assert.equal(await through("number", "-0.0"), "-0.0");
  assert.equal(await through("decimal(38,9)", "12345678901234567890.123456789"), '"12345678901234567890.123456789"');
  assert.equal(await through("decimal(38,0)", "12345678901234567890"), '"12345678901234567890"');
  assert.equal(await through("decimal(38,9)", "5"), '"5"');
  assert.equal(await through("number", "0.1"), "0.1");
  assert.equal(await through("list(Int64)", "[9223372036854775807,null]"), "[9223372036854775807,null]");
});

test("what JSON has no number for stays", async () => {
  for (const word of ['"NaN"', '"Infinity"', '"-Infinity"']) assert.equal(await through("number", word), word);
});

test("an infinity may come as Arrow writes it", async () => {
  assert.equal(await through("number", '"-inf"'), '"-Infinity"');
});

test("texts stay, also those that look like a mark or a long number", async () => {
  for (const value of [
    '"\\u0000\\u00007"',
    '"\\u00001234567890123456"',
    '"1234567890123456, 12345678901234567890"',
    '"a\\\\\\"12345678901234567890"',
  ]) {
    for (const type of ["text", "list(Utf8)"]) assert.equal(JSON.parse(await through(type, value)), JSON.parse(value));
    await Test.open("transform", "same", {});
    await exported.transform.start(
      bytes('{"columns":[{"name":"value","type":"text"},{"name":"big","type":"integer"}]}'),
    );
    const [batch] = await exported.transform.push(bytes(`[{"value":${value},"big":12345678901234567}]`));
    assert.match(text(batch), /"big":12345678901234567\}\]$/);
    assert.equal(JSON.parse(text(batch))[0].value, JSON.parse(value));
  }
  assert.equal(await through("binary", '"AP8="'), '"AP8="');
});

test("rows add up", async () => {
  const run = await Test.open("transform", "same", {});
  const rows = await run.transform(["refuse", "leave out", "stay"].map((text) => ({ text })));
  assert.deepEqual([rows, run.filtered, run.rejected[0].rows], [[{ text: "stay" }], 1, [{ text: "refuse" }]]);
});

test("what is returned instead of a row is named", async () => {
  for (const [value, message] of [
    ["nothing", /^transform\(\) returned nothing$/],
    ["columns", /`other`, which was not declared/],
  ]) {
    const run = await Test.open("transform", "same", {});
    await assert.rejects(run.transform([{ text: value }]), { kind: "internal", message, hint: /./ });
  }
});

test("a method that is missing is named when the module is built", () => {
  const misspelt = () => engine.transform("x", { summary: "Misspelt", transfrom: (row) => row });
  assert.throws(misspelt, /the transform `x` needs a method `transform` or `push`/);
});

test("a bug has its place", async () => {
  const run = await Test.open("transform", "same", {});
  await assert.rejects(run.transform([{ text: "break" }]), {
    kind: "internal",
    message: /^TypeError: .* \(kit.test.js:\d+\)$/,
  });
});

test("a large file comes in pieces", async () => {
  const { rows } = await (await Test.open("source", "files", {})).read();
  const size = (row) => Buffer.from(row.data, "base64").length;
  assert.deepEqual(
    rows.map((row) => [row.name, size(row)]),
    [
      ["large", 1048576],
      ["large", 1048576],
      ["large", 1],
      ["empty", 0],
    ],
  );
});

test("a whole file is decoded at its end", async () => {
  const run = await Test.open("format", "whole", {});
  assert.deepEqual(await run.decode("12345", { pieceBytes: 2 }), [{ size: 5 }]);
  assert.deepEqual([await run.decode("bad"), run.records, run.rejected.length], [[], 2, 1]);
});

test("lines that hold no record are not counted and long ones are refused", async () => {
  const run = await Test.open("format", "lines", {});
  const rows = await run.decode(`#\na\r\n${"x".repeat(16 * 1024 * 1024 + 1)}\nb`);
  assert.deepEqual(rows, [{ line: "a" }, { line: "b" }]);
  assert.deepEqual([run.records, run.rejected.map((it) => it.code)], [3, ["too_long"]]);
});

test("a sink counts what it took", async () => {
  const run = await Test.open("sink", "list", {});
  assert.equal(await run.write("key", [{ n: 1 }, { n: 2 }, { n: 3 }]), true);
  assert.equal((await run.commit()).rows, 2);
});

test("wrong settings are named", async () => {
  const wrong = [
    [{ limit: "x" }, "`limit` must be of the type integer or null"],
    [{ limt: 1 }, "unknown setting `limt`"],
    [{ mode: "c" }, "`mode` must be one of a, b"],
    [[], "the configuration must be of the type object"],
  ];
  for (const [config, message] of wrong)
    await assert.rejects(Test.open("sink", "list", config), { kind: "config", message });
});

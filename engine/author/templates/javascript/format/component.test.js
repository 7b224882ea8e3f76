/** Run with `node --test`. Needs no engine. */
import assert from "node:assert/strict";
import test from "node:test";

import "./component.js";
import { Test } from "./engine-plugin-test.js";

const open = () => Test.open("format", "{{name}}", { columns: { caller: "text", seconds: "integer" } });

test("what is written is read back the same", async () => {
  const run = await open();
  const rows = [
    { caller: "a\tb\\n\nc", seconds: 7 },
    { caller: null, seconds: null },
    { caller: "", seconds: 0 },
  ];
  assert.deepEqual(await run.decode(await run.encode(rows)), rows);
  assert.equal(run.records, 3);
});

test("a file may be cut anywhere", async () => {
  const run = await open();
  const file = "caller=Grüße\r\nseconds=7";
  for (let pieceBytes = 1; pieceBytes < file.length; pieceBytes += 1) {
    const rows = await run.decode(file, { pieceBytes });
    assert.deepEqual(rows, [
      { caller: "Grüße", seconds: null },
      { caller: null, seconds: 7 },
    ]);
  }
});

test("a line that cannot be read is kept and counted", async () => {
  const run = await open();
  const file = Buffer.from("seconds=x\nseconds=1\nnumber=1\n\xff\n", "latin1");
  assert.deepEqual(await run.decode(file), [{ caller: null, seconds: 1 }]);
  assert.deepEqual(
    run.rejected.map((it) => it.code),
    ["bad_integer", "unknown_key", "not_utf8"],
  );
  assert.equal(Buffer.from(run.rejected[0].data).toString(), "seconds=x\n");
  assert.equal(run.records, 4);
});

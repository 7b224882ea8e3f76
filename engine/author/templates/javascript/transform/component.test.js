/** Run with `node --test`. Needs no engine. */
import assert from "node:assert/strict";
import test from "node:test";

import "./component.js";
import { Test } from "./engine-plugin-test.js";

const open = () => Test.open("transform", "{{name}}", { column: "caller" });

test("every way to write a number becomes the same", async () => {
  const run = await open();
  for (const written of ["030 / 123-456", "+49 30 123456", "0049 (30) 123456"]) {
    assert.deepEqual(await run.transform([{ caller: written }]), [{ caller: "+4930123456" }]);
  }
});

test("what is no number is refused and its neighbours go on", async () => {
  const run = await open();
  assert.deepEqual(await run.transform([{ caller: "unknown" }, { caller: null }]), [{ caller: null }]);
  assert.equal(run.rejected[0].code, "bad_number");
  assert.deepEqual(run.rejected[0].rows, [{ caller: "unknown" }]);
});

test("a column that is not there is a mistake of the configuration", async () => {
  const run = await open();
  await assert.rejects(run.transform([{ number: "1" }]), { kind: "config" });
});

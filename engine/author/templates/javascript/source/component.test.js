/** Run with `node --test`. Needs no engine. */
import assert from "node:assert/strict";
import test from "node:test";

import "./component.js";
import { Test } from "./engine-plugin-test.js";

test("every run goes on where the last one ended and the last one finds nothing", async () => {
  const run = await Test.open("source", "{{name}}", { to: 10, per_run: 7 });
  const first = await run.read();
  assert.deepEqual(
    first.rows.map((row) => row.n),
    [1, 2, 3, 4, 5, 6, 7],
  );
  const second = await run.read(first.upper);
  assert.deepEqual(
    second.rows.map((row) => row.n),
    [8, 9, 10],
  );
  assert.deepEqual(await run.read(second.upper), { rows: [], upper: 10 });
});

test("it stops when it is asked to", async () => {
  const run = await Test.open("source", "{{name}}", { to: 10 });
  run.cancel = true;
  await assert.rejects(run.read(), { kind: "cancelled" });
});

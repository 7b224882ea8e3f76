/** Run with `node --test`. Needs no engine. */
import assert from "node:assert/strict";
import * as fs from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import test from "node:test";

import "./component.js";
import { Test } from "./engine-plugin-test.js";

const place = () => fs.mkdtempSync(join(tmpdir(), "engine-"));

test("nothing is seen before commit and a second start finds it there", async () => {
  const folder = place();
  const published = join(folder, "s.calls.box.1.0000");
  const run = await Test.open("sink", "{{name}}", { folder: "." }, { folder });
  assert.equal(await run.write("s/calls/box/1/0000", "one,two\n"), true);
  assert.equal(fs.existsSync(published), false);
  assert.deepEqual(await run.commit(), { location: published, bytes: 8 });
  const again = await Test.open("sink", "{{name}}", { folder: "." }, { folder });
  assert.equal(await again.write("s/calls/box/1/0000", "one,two\n"), false);
  fs.rmSync(folder, { recursive: true });
});

test("an abort leaves nothing behind", async () => {
  const folder = place();
  const run = await Test.open("sink", "{{name}}", { folder: "." }, { folder });
  await run.write("s/calls/box/1/0000", "one");
  await run.abort();
  await run.abort();
  assert.deepEqual(fs.readdirSync(folder), []);
  fs.rmSync(folder, { recursive: true });
});

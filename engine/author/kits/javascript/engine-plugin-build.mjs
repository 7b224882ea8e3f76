/**
 * Makes the component: `node engine-plugin-build.mjs WORLD FILE`, such as
 * `transform-module build/core.wasm`. `engine plugins build` calls it. Not to be edited.
 */
import { writeFile } from "node:fs/promises";

import { componentize } from "@bytecodealliance/componentize-js";

const [worldName, file] = process.argv.slice(2);
const { component } = await componentize({
  sourcePath: "engine-plugin-main.js",
  witPath: "wit",
  worldName,
  // Nobody sends requests to a module.
  disableFeatures: ["fetch-event"],
});
await writeFile(file, component);

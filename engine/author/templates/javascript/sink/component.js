/** Puts every delivery into a folder, as a file of its own. */
import * as engine from "./engine-plugin.js";

const { files } = engine;

engine.sink("{{name}}", {
  summary: "Puts every delivery into a folder, as a file of its own",
  settings: {
    folder: engine.text("The folder, relative to the pipeline file. It must exist.", { format: "template" }),
  },
  examples: { "beside the pipeline file": { folder: "." } },
  takes: "files",
  promise: "idempotent",

  open(config) {
    this.folder = engine.path(config.folder);
  },

  paths({ key }) {
    // The key as a name, which no other delivery has. Readers ignore hidden files.
    const name = key.replaceAll("/", ".");
    return { published: `${this.folder}/${name}`, unfinished: `${this.folder}/.${name}.part` };
  },
  receipt(delivery) {
    const { published } = this.paths(delivery);
    const bytes = files.size(published);
    return bytes === undefined ? null : { location: published, bytes };
  },

  beginSplit(delivery) {
    const found = this.receipt(delivery);
    if (!found) this.abort(delivery);
    return found;
  },
  start(delivery) {
    this.file = files.create(this.paths(delivery).unfinished);
  },
  write(name, data) {
    this.file.write(data);
  },
  finish() {
    this.file.close();
  },
  commit(delivery) {
    const { published, unfinished } = this.paths(delivery);
    if (!this.receipt(delivery)) files.rename(unfinished, published);
    return this.receipt(delivery);
  },
  abort(delivery) {
    files.remove(this.paths(delivery).unfinished);
  },
});

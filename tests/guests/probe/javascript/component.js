/** Tries to reach what it was not granted, and tells how that ended. */
import * as engine from "./engine-plugin.js";

const tries = {
  async fetch(url) {
    const response = await engine.fetch(url);
    return `${response.status} ${response.url} ${(await response.text()).slice(0, 200)}`;
  },
  environment: (name) => engine.environment(name) ?? null,
  read: (path) => new TextDecoder().decode(engine.files.read(path)).slice(0, 200),
  write(path) {
    const file = engine.files.create(path);
    file.write(new TextEncoder().encode("hostile\n"));
    file.close();
    return "8";
  },
};

engine.source("probe", {
  summary: "Tries to reach what it was not granted",
  settings: {
    fetch: engine.text("An address to ask for.", { default: null }),
    environment: engine.text("A variable to read.", { default: null }),
    read: engine.text("A file to read.", { default: null }),
    write: engine.text("A file to write.", { default: null }),
  },
  examples: { "a variable": { environment: "HOME" } },
  columns: { tried: "text", found: "text" },

  open(config) {
    this.config = config;
  },
  plan: () => ({ splits: [{}] }),
  async *read() {
    for (const [what, target] of Object.entries(this.config)) {
      if (target !== null) yield { tried: `${what} ${target}`, found: await tries[what](target) };
    }
  },
});
